"""A small model that lives in this process: history taken in, a model trained, requests answered from
memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.loop.synthetic import declared

from varv.app.compose import open_world
from varv.kernel.clock import DAY, VirtualClock, instant
from varv.kernel.codec import Digest
from varv.kernel.faults import Faults
from varv.loop.answering import Answering
from varv.loop.declaration import Model
from varv.loop.inbox import Inbox
from varv.loop.live import Live, LiveClock, Sealed
from varv.loop.world import World
from varv.serving import CaptureLog

NOW = instant("2024-05-02T09:30:00Z")
REQUEST = {"load": [0.5], "heat": [0.0], "route": ["north"]}


class Here:
    """Answers in this process: the world's own features and data plane."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.observed: list[tuple[str, str, str]] = []

    def restore(self) -> None:
        """Read what the datasets hold."""
        for dataset in self._world.model.datasets:
            for part in dataset.parts:
                self._world.features.observe(dataset, part, self._world.datasets.read_part(dataset, part))

    def observe(self, dataset: str, part: str, segment: str) -> None:
        """Observe what became known."""
        self.observed.append((dataset, part, segment))
        held = next(data for data in self._world.model.datasets if data.name == dataset)
        rows = self._world.columns.scan(f"data/{dataset}/{part}", [segment]).collect()
        self._world.features.observe(held, part, rows)


@dataclass
class Living:
    """Everything of one live model."""

    world: World
    clock: VirtualClock
    live: Live
    here: Here
    log: CaptureLog
    answering: Answering
    inbox: Inbox

    def take_in(self) -> int:
        """Seal what was captured and take it in."""
        return self.live.take_in(sealed(self.log))

    def later(self, days: float) -> None:
        """Let time pass, and everything that is due by then be done."""
        self.clock.move_to(self.clock.now() + round(days * DAY))
        self.world.engine.settle()

    def close(self) -> None:
        """Give everything back."""
        self.log.close()
        self.world.close()


def sealed(log: CaptureLog) -> list[Sealed]:
    """Return the complete files of a log."""
    return [Sealed(f"{path.parent.name}-{path.stem}", path) for path in log.seal()]


def living(
    home: Path,
    *,
    faults: Faults | None = None,
    capture: str = "one",
    prepare: bool = True,
    model: Model | None = None,
    declaration: str = "0" * 64,
) -> Living:
    """Return a live model in `home`, at `NOW` or at what its ledger has reached."""
    model = model or declared().model
    model.validate()
    clock = VirtualClock(NOW)
    live_clock = LiveClock(clock)
    world = open_world(home, model, live_clock, durability="process", faults=faults)
    if world.ledger.head().version:
        clock.move_to(max(NOW, world.ledger.read(world.ledger.head().version - 1)[0].at))
    here = Here(world)
    live = Live(world, live_clock, Digest(declaration), here)
    log = CaptureLog(home / "capture" / capture)

    answering = Answering(
        model,
        world.features,
        world.dataplane,
        log,
        clock,
        nullable=frozenset({"heat"}),
        max_rows=100,
    )
    made = Living(world, clock, live, here, log, answering, Inbox(world, clock, log.keep, max_rows=100))
    if prepare:
        live.prepare()
    return made
