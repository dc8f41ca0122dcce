"""A small live home in this process: history lived through, models trained, requests answered from memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.loop.synthetic import declared

from varv.app.compose import open_home
from varv.data.inbox import Acceptance, Inbox
from varv.data.intake import Batch
from varv.home.change.carrying import Changes
from varv.home.live import Live, Sealed
from varv.kernel.clock import DAY, HeldClock, VirtualClock, instant
from varv.kernel.codec import Digest
from varv.kernel.faults import Faults
from varv.kernel.ids import DatasetName, ModelName, Version
from varv.kernel.snapshots import Position
from varv.loop.verbs import Loops
from varv.project import Model, project_of
from varv.project.planned import Retirement
from varv.serving import Answering, CaptureLog

NOW = instant("2024-05-02T09:30:00Z")
REQUEST = {"load": [0.5], "heat": [0.0], "route": ["north"]}


class LiveHome:
    """Everything of a live home, at `NOW` or at what its ledger has reached.

    Parameters
    ----------
    models
        Those that it serves; the parcels' by default.
    declaration
        The digest of every model's declaration.
    retire
        Which models may go.
    """

    def __init__(
        self,
        folder: Path,
        *models: Model,
        faults: Faults | None = None,
        capture: str = "one",
        prepare: bool = True,
        declaration: str = "0" * 64,
        retire: Retirement | None = None,
    ) -> None:
        project = project_of("test", models or (declared().models[0],))
        project.validate()
        self.clock = VirtualClock(NOW)
        self.wall = HeldClock(self.clock)
        self.home = open_home(folder, project.plans(), self.wall, durability="process", faults=faults)
        if n := self.home.ledger.head().version:
            self.clock.move_to(max(NOW, self.home.ledger.read(n - 1)[0].at))
        self.sent: list[Batch] = []
        self.kept: list[tuple[Position, Mapping[DatasetName, Version]]] = []
        """As of what those that answer were told to keep their features."""
        declarations = dict.fromkeys(self.home.models, Digest(declaration))
        self.live = Live(
            self.home, self.wall, declarations, Changes(self.home, declarations, retire), self._keep
        )
        self.live._intake.listen(self)
        self.log = CaptureLog(folder / "capture" / capture)
        self.answering_of = {name: self._answering(name) for name in self.home.models}
        self.answering = next(iter(self.answering_of.values()))
        self.parts = next(iter(self.home.models.values()))
        outcomes = {name: parts.plan.outcome for name, parts in self.home.models.items()}
        self.inbox = Inbox(
            self.home.datasets, self.home.declared, outcomes, self.clock, self.log.keep_rows, max_rows=100
        )
        if prepare:
            self.live.prepare()

    @property
    def loops(self) -> Loops:
        """The loops, as a person acts on them where no server runs."""
        home = self.home
        return Loops(
            home=home.folder,
            ledger=home.ledger,
            views=home.views,
            clock=self.clock,
            engine=home.engine,
            running=False,
        )

    def rows_known(self, batch: Batch) -> None:
        """Note what was sent to those that answer."""
        self.sent.append(batch)

    def _keep(self, position: Position, versions: Mapping[DatasetName, Version]) -> None:
        self.kept.append((position, versions))

    def ingest(self) -> int:
        """Seal what was captured and ingest it."""
        return self.live.ingest(sealed(self.log))

    def accept_outcomes(self, rows: Sequence[Mapping[str, Any]]) -> Acceptance:
        """Send outcomes of the first model's requests."""
        return self.inbox.accept_outcomes(self.parts.name, rows)

    def later(self, days: float) -> None:
        """Let time pass, and everything that is due by then be done."""
        self.clock.move_to(self.clock.now() + round(days * DAY))
        self.home.engine.settle()

    def close(self) -> None:
        """Give everything back."""
        self.log.close()
        self.home.close()

    def _answering(self, name: ModelName) -> Answering:
        parts = self.home.models[name]
        return Answering(
            parts.schema,
            parts.features,
            parts.plane,
            self.log,
            self.clock,
            nullable=frozenset({"heat"}),
            max_rows=100,
        )


def sealed(log: CaptureLog) -> list[Sealed]:
    """Return the complete files of a log."""
    return [Sealed(f"{path.parent.name}-{path.stem}", path) for path in log.seal()]
