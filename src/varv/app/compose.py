"""Composition: the only place that builds parts and joins them."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from varv.adapters.runtimes import installed_runtimes
from varv.data import Datasets
from varv.data.views import DatasetsView
from varv.features import FeatureEngine
from varv.kernel.blobs import Blobs, FolderBlobs
from varv.kernel.clock import Clock
from varv.kernel.codec import Digest
from varv.kernel.columns import FolderColumns
from varv.kernel.engine import Engine
from varv.kernel.errors import Corrupt
from varv.kernel.faults import Faults
from varv.kernel.ledger import Ledger
from varv.kernel.ledger_sqlite import Durability, SqliteLedger
from varv.kernel.merkle import Notary, SigningKey, read_checkpoints
from varv.kernel.secret import SECRET_FILE, Secret
from varv.kernel.segment_files import RESTORE
from varv.kernel.verify import require_sound
from varv.kernel.views import Views
from varv.loop.comparison import PoliciesCompared
from varv.loop.declaration import Model
from varv.loop.handlers import Handlers
from varv.loop.intake import outcomes_in
from varv.loop.live import HistoryTaken
from varv.loop.rules import LoopSaga
from varv.loop.telemetry import Stored, Telemetry
from varv.loop.views import LoopView
from varv.loop.world import Serving, World
from varv.monitoring.rules import MonitorSaga
from varv.monitoring.views import MonitoringView
from varv.registry import RegistryView, open_package
from varv.rollout.rules import RolloutSaga
from varv.rollout.views import RolloutsView
from varv.serving import DataPlane
from varv.serving.routing import RoutingTable
from varv.serving.views import RoutingView
from varv.training import StepCache

VIEWS = (RegistryView, RoutingView, RolloutsView, MonitoringView, LoopView, DatasetsView)
DRIVERS = (HistoryTaken, PoliciesCompared)
"""Events of drivers that no view folds: named here, so that whoever opens a ledger can read them."""


class LocalServing:
    """The serving port of a world that answers requests in its own process."""

    def __init__(self, dataplane: DataPlane, blobs: Blobs) -> None:
        self._dataplane = dataplane
        self._blobs = blobs

    def warm(self, version: int, package: Digest) -> None:
        """Bring a version into memory."""
        if version not in self._dataplane.warm_versions:
            self._dataplane.warm(version, open_package(self._blobs.get(package)))

    def apply(self, table: RoutingTable) -> int:
        """Put a table in force and return its epoch."""
        return self._dataplane.swap(table)

    def unload(self, version: int) -> None:
        """Let a version go."""
        self._dataplane.unload(version)


def open_ledger(
    folder: Path, *, durability: Durability = "full", faults: Faults | None = None, read_only: bool = False
) -> SqliteLedger:
    """Return the ledger of a home or of a policy's folder; its owner signs checkpoints beside it."""
    notary = None
    if not read_only:
        # A key that is gone is not replaced in silence: it vouched for what the ledger holds.
        key = SigningKey(folder / "signing.key", create=not (folder / "ledger.db").exists())
        notary = Notary(folder / "checkpoints.jsonl", key)
    return SqliteLedger(
        folder / "ledger.db", durability=durability, notary=notary, faults=faults, read_only=read_only
    )


def require_sound_ledger(folder: Path, ledger: Ledger) -> None:
    """Compare a ledger with its chain, its records and its last checkpoint, before anything is decided on it.

    Raises
    ------
    Corrupt
        If something is not what was written.
    """
    # The last checkpoint vouches for all before it; varv verify looks at every one.
    checkpoints = read_checkpoints(folder / "checkpoints.jsonl")[-1:]
    public = SigningKey(folder / "signing.key", create=False).public()
    require_sound(ledger, folder.name, checkpoints, public)


def open_views(ledger: Ledger) -> Views:
    """Return every read model of a ledger."""
    return Views(ledger, *VIEWS)


def open_world(
    folder: Path,
    model: Model,
    clock: Clock,
    *,
    durability: Durability = "full",
    faults: Faults | None = None,
    serving: Serving | None = None,
    ledger: SqliteLedger | None = None,
    views: Views | None = None,
    hold_all: bool = True,
) -> World:
    """Return a world in `folder`, made if it is not there, with the versions in force back in memory.

    Parameters
    ----------
    serving
        What answers requests; a data plane in this process by default.
    ledger, views
        Of this folder, if they are open already: a server shows its console before it has read a declaration.
    hold_all
        Whether all predictions are held in memory, as a replay wants them; else the latest only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ledger = ledger or open_ledger(folder, durability=durability, faults=faults)
    require_sound_ledger(folder, ledger)
    blobs = FolderBlobs(folder / "blobs", faults=faults)
    columns = FolderColumns(folder / "columns", durable=durability == "full", faults=faults)
    views = views or open_views(ledger)
    runtimes = installed_runtimes()
    dataplane = DataPlane(runtimes)
    handlers = Handlers()
    datasets = Datasets(
        ledger,
        columns,
        clock,
        views,
        Secret(folder / SECRET_FILE),
        binary={str(model.requests.name): model.outcome.column},
    )

    def outcomes() -> pl.DataFrame:
        return outcomes_in(model, datasets.read_part(model.requests, model.outcome.known_at))

    stored = None if hold_all else Stored(lambda: world.prediction_segments(), outcomes)
    engine = Engine(
        ledger, clock, (LoopSaga(), RolloutSaga(), MonitorSaga()), handlers.table(), faults=faults
    )
    world = World(
        model=model,
        folder=folder,
        clock=clock,
        ledger=ledger,
        engine=engine,
        views=views,
        blobs=blobs,
        columns=columns,
        cache=StepCache(folder / "cache", blobs),
        datasets=datasets,
        features=FeatureEngine(model.feature_set, model.requests),
        telemetry=Telemetry(columns, stored),
        runtimes=runtimes,
        dataplane=dataplane,
        serving=serving or LocalServing(dataplane, blobs),
    )
    handlers.bind(world)
    restore_serving(world)
    return world


def restore_serving(world: World) -> None:
    """Warm what the last routing table needs, and put it in force again."""
    with world.views.reading(RoutingView) as routing:
        table = routing.tables.get(world.model.name)
    if table is None:
        return
    for version in sorted(table.versions):
        with world.views.reading(RegistryView) as registry:
            registered = registry.version(world.model.name, version).registered
        for name in (registered.package, registered.reference):
            if not world.blobs.has(name):
                what = f"is missing; it belongs to {world.model.name} v{version}"
                raise Corrupt("file", f"blobs/{name[:2]}/{name[2:]}", what, hint=RESTORE)
            world.blobs.path(name)
        world.serving.warm(version, registered.package)
    world.serving.apply(table)
