"""Composition: the only place that builds parts and joins them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from varv.adapters.runtimes import installed_runtimes
from varv.adapters.webhooks import WebhookCaller
from varv.data import Datasets, DatasetsView
from varv.data.alarms import DataAlarmsView
from varv.data.delta.publishing import Publications
from varv.data.ingestion.views import PullsView
from varv.data.profiling.trained import keep_training
from varv.features import FeatureStore
from varv.features.online.model import OnlineView
from varv.home.change.handlers import ChangeHandlers
from varv.home.change.recorded import effective_plans
from varv.home.change.rules import ChangeSaga
from varv.home.change.views import ChangesView
from varv.home.erasure.views import ErasuresView
from varv.home.home import CHECKED, Home, ModelParts
from varv.home.review.views import ReviewsView
from varv.home.skew.reads import ReadsView
from varv.home.skew.views import SkewView
from varv.home.tracking.desk import TrackingDesk
from varv.home.tracking.hooks import Hooks
from varv.home.tracking.looking import RunDesk
from varv.home.tracking.scanning import Scans
from varv.home.tracking.trainings import Trainings
from varv.home.views import HomeView
from varv.kernel.blobs import FolderBlobs
from varv.kernel.clock import Clock, SystemClock
from varv.kernel.engine import Engine
from varv.kernel.faults import Faults
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ids import ModelName
from varv.kernel.ledger import Ledger
from varv.kernel.ledger_sqlite import Durability, SqliteLedger
from varv.kernel.merkle import Notary, SigningKey
from varv.kernel.recorder import Recorder
from varv.kernel.secret import SECRET_FILE, Secret
from varv.kernel.snapshots import SNAPSHOTS, Snapshots, code_in, fingerprint
from varv.kernel.table_reading import TableReader
from varv.kernel.tracing import Tracer
from varv.kernel.verify import Checked, require_sound_folder
from varv.kernel.views import Views
from varv.labels import LabelsView
from varv.labels.counting import counted
from varv.loop.candidates import Candidates
from varv.loop.handlers import LoopHandlers
from varv.loop.leak_report import LeakReport
from varv.loop.numbers import LoopNumbers
from varv.loop.rules import LoopSaga
from varv.loop.views import LoopView
from varv.monitoring.rules import MonitorSaga
from varv.monitoring.views import MonitoringView
from varv.pipelines import StepCache
from varv.project import ModelPlan, datasets_of
from varv.registry import Models, RegistryTables, RegistryView, Runtimes
from varv.registry.imports import RegistryImports
from varv.registry.webhooks import Webhooks, WebhookTables
from varv.rollout import RolloutSaga, RolloutsView
from varv.rollout.handlers import RolloutHandlers
from varv.runs import ArtifactIndex, RunSearch, RunTables, Series, Tracking, ensure_default
from varv.runs.imports import Imports, ImportTables
from varv.runs.logged import LoggedModels, LoggedTables
from varv.runs.traces import Traces, TraceTables
from varv.runs.uploads import Uploads
from varv.serving import DataPlanes, Fleet, LocalFleet
from varv.serving.views import RoutingView
from varv.training import DirectFits, Fitter

VIEWS = (
    RegistryView,
    RoutingView,
    RolloutsView,
    MonitoringView,
    LoopView,
    DatasetsView,
    PullsView,
    DataAlarmsView,
    OnlineView,
    HomeView,
    ChangesView,
    ReviewsView,
    ErasuresView,
    LabelsView,
    SkewView,
    ReadsView,
)
TRACKING = "tracking.db"
UPLOADS = "uploads"
MOST_HELD = 100_000
"""Predictions of a model that a live home holds in memory."""
MOST_HELD_IN_REPLAY = 400_000
"""A replay asks for months at a time, again and again."""


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


def open_snapshots(folder: Path, *, durable: bool = True, faults: Faults | None = None) -> Snapshots:
    """Return the snapshots of a home, of which only those count that this very code has made."""
    made_by = fingerprint(code_in(Path(__file__).parents[1]))
    secret = Secret(folder / SECRET_FILE)
    return Snapshots(folder / SNAPSHOTS, secret, made_by, durable=durable, faults=faults)


def open_views(ledger: Ledger, folder: Path | None = None) -> Views:
    """Return every read model of a ledger; of one in a home's folder they go on from its snapshot."""
    return Views(ledger, *VIEWS, snapshots=None if folder is None else open_snapshots(folder))


def open_tracking(
    folder: Path,
    ledger: Ledger,
    clock: Clock,
    *,
    durability: Durability = "full",
    faults: Faults | None = None,
    webhooks_inside: bool = False,
) -> TrackingDesk:
    """Return what writes the runs and the registry of a home, whose ledger its caller owns; it is closed
    before the ledger.

    Parameters
    ----------
    webhooks_inside
        Whether webhooks may call addresses that are not public, and by plain HTTP.
    """
    blobs = FolderBlobs(folder / "blobs", faults=faults)
    tables, series = RunTables(blobs), Series()
    registry = (LoggedTables(blobs), RegistryTables(blobs), WebhookTables(blobs))
    scans, others = Scans(blobs), (ArtifactIndex(), TraceTables(blobs), ImportTables())
    folds = (tables, series, *others, *registry, Trainings(tables, series, registry[0]), scans)
    recorder = Recorder(folder / TRACKING, ledger, clock, folds, durability=durability, faults=faults)
    # Loops give the numbers under their names; for that they need nobody who acts.
    loops = LoopNumbers(ledger, open_engine(ledger, clock))
    caller = WebhookCaller(inside=webhooks_inside)
    desk = TrackingDesk(
        recorder=recorder,
        runs=Tracking(recorder, tables, series, blobs),
        logged=LoggedModels(recorder, blobs),
        traces=Traces(recorder, blobs),
        models=Models(recorder, blobs, loops),
        webhooks=Webhooks(recorder, blobs, caller.require),
        hooks=Hooks(ledger, recorder, blobs, caller, clock),
        scans=scans,
        search=RunSearch(recorder, series),
        imports=Imports(recorder, tables, series, blobs),
        registry_imports=RegistryImports(recorder, blobs, loops),
        uploads=Uploads(folder / UPLOADS, blobs, clock),
    )
    recorder.do(ensure_default())
    desk.hooks.start()
    scans.start(recorder, desk.logged)
    return desk


def open_runs(folder: Path) -> RunDesk:
    """Return the runs of a home that is only read, also while its server writes them."""
    return RunDesk(RunSearch(TableReader(folder / TRACKING), None), FolderBlobs(folder / "blobs"))


@contextmanager
def owned_tracking(folder: Path, *, faults: Faults | None = None) -> Generator[TrackingDesk]:
    """Give what writes the runs of a home that nobody serves, made if it is not there; this process owns it
    meanwhile.

    Raises
    ------
    FailedPrecondition
        If another process owns it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (
        closing(open_ledger(folder, faults=faults)) as ledger,
        closing(open_tracking(folder, ledger, SystemClock(), faults=faults)) as desk,
    ):
        yield desk


def open_engine(ledger: Ledger, clock: Clock) -> Engine:
    """Return an engine that decides and does nothing, for a home that nobody serves."""
    return Engine(ledger, clock, _sagas())


def open_home(
    folder: Path,
    plans: Sequence[ModelPlan],
    clock: Clock,
    *,
    durability: Durability = "full",
    faults: Faults | None = None,
    fleet: Fleet | None = None,
    fitter: Fitter | None = None,
    runtimes: Runtimes | None = None,
    ledger: SqliteLedger | None = None,
    views: Views | None = None,
    most_held: int = MOST_HELD_IN_REPLAY,
    timer: Callable[[], float] | None = None,
    tracer: Tracer | None = None,
) -> Home:
    """Return the home in `folder`, made if it is not there, with the versions in force back in memory.

    Parameters
    ----------
    plans
        Its models.
    fleet
        What answers requests; data planes in this process by default.
    fitter
        What runs training functions; this process by default.
    runtimes
        Bring packages into memory, to be judged; those that are installed, in this process, by default.
    ledger, views
        Of this folder, if they are open already: a server shows its console before it has read a declaration.
    most_held
        How many predictions of a model are held in memory.
    timer
        Reads seconds, for gates on time; None for a replay, whose ledger must not depend on the machine.
    tracer
        Keeps a span of each command that ran; None for none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ledger = ledger or open_ledger(folder, durability=durability, faults=faults)
    snapshots = open_snapshots(folder, durable=durability == "full", faults=faults)
    before = snapshots.newest(CHECKED, Checked, ledger)
    checked = require_sound_folder(folder, ledger, None if before is None else before.state)
    blobs = FolderBlobs(folder / "blobs", faults=faults)
    columns = FolderColumns(folder / "columns", durable=durability == "full", faults=faults)
    views = views or open_views(ledger, folder)
    secret = Secret(folder / SECRET_FILE)
    datasets = Datasets(ledger, columns, clock, views, secret, snapshots)
    plans = effective_plans(plans, views, ledger)
    for dataset in datasets_of(plans):
        dataset.bind(secret.purposes)
    features = FeatureStore()
    runtimes = runtimes or installed_runtimes()
    planes = DataPlanes(runtimes, blobs)
    fleet = fleet or LocalFleet(planes, features, datasets, datasets_of(plans))
    cache = StepCache(folder / "cache", blobs)
    candidates = Candidates(
        datasets,
        blobs,
        cache,
        runtimes,
        fitter or DirectFits(runtimes),
        timer,
        lambda dataset, version: home.publish_used(dataset, version),
        partial(keep_training, folder),
        partial(counted, ledger),
    )
    leaks = LeakReport(candidates, datasets, views)
    models: dict[ModelName, ModelParts] = {}
    handlers = {
        **LoopHandlers(models, candidates, leaks, views, blobs).table(),
        **RolloutHandlers(models, fleet, views).table(),
        **ChangeHandlers(
            models, datasets, columns, views, ledger, runtimes, lambda model: home.read_again(model)
        ).table(),
    }
    home = Home(
        folder=folder,
        clock=clock,
        ledger=ledger,
        engine=Engine(ledger, clock, _sagas(), handlers, faults=faults, tracer=tracer),
        views=views,
        blobs=blobs,
        columns=columns,
        datasets=datasets,
        publications=Publications(datasets, columns, views, ledger, clock, faults),
        features=features,
        planes=planes,
        fleet=fleet,
        leaks=leaks,
        snapshots=snapshots,
        checked=checked,
        models=models,
    )
    for plan in plans:
        home.add(plan, most_held=most_held)
    return home


def _sagas() -> tuple[LoopSaga, RolloutSaga, MonitorSaga, ChangeSaga]:
    return LoopSaga(), RolloutSaga(), MonitorSaga(), ChangeSaga()
