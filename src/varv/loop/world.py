"""A world: the parts that the loop of one model works with, live or replayed. `app.compose` builds it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from varv.data import Datasets
from varv.features import FeatureEngine
from varv.kernel.blobs import Blobs
from varv.kernel.clock import Clock
from varv.kernel.codec import Digest
from varv.kernel.columns import Columns
from varv.kernel.engine import Engine
from varv.kernel.ledger import Ledger
from varv.kernel.views import Views
from varv.loop.declaration import Model
from varv.loop.model import LoopState
from varv.loop.telemetry import Telemetry
from varv.registry import Runtimes
from varv.serving import DataPlane
from varv.serving.routing import RoutingTable
from varv.serving.views import RoutingView
from varv.training import StepCache


class Serving(Protocol):
    """Port to whatever answers requests: a data plane in this process, or workers beside it."""

    def warm(self, version: int, package: Digest) -> None:
        """Bring a version into memory wherever requests are answered; return when it has answered its probe
        rows.
        """
        ...

    def apply(self, table: RoutingTable) -> int:
        """Put a table in force everywhere and return the epoch that all have confirmed."""
        ...

    def unload(self, version: int) -> None:
        """Let a version go once its last request has left."""
        ...


@dataclass(frozen=True, kw_only=True)
class World:
    """Everything that the loop of one model needs."""

    model: Model
    folder: Path
    clock: Clock
    ledger: Ledger
    engine: Engine
    views: Views
    blobs: Blobs
    columns: Columns
    cache: StepCache
    datasets: Datasets
    features: FeatureEngine
    telemetry: Telemetry
    runtimes: Runtimes
    dataplane: DataPlane
    serving: Serving

    @property
    def loop_id(self) -> str:
        """Id of the loop's saga."""
        return f"loop/{self.model.name}"

    def prediction_segments(self) -> dict[str, Digest]:
        """Return the segments of predictions that count, in the order in which they were taken in, each with
        the digest of its rows.
        """
        with self.views.reading(RoutingView) as routing:
            return dict(routing.segments.get(self.model.name, {}))

    def close(self) -> None:
        """Give the store back."""
        self.ledger.close()


def loop_state(world: World) -> LoopState:
    """Return where the loop of a world is."""
    row = world.ledger.saga(world.loop_id)
    return LoopState() if row is None else msgspec.json.decode(row.state, type=LoopState)
