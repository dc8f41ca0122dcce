"""`varv up`: the process that owns a home, serves its control plane, and drives its loop.

The console answers first; the declaration is read, history taken in and the first model trained behind it,
in a thread of its own, with what is going on to be seen. Answering predictions is left to worker processes.
On a signal the server stops accepting, lets everything under way finish, takes in what was captured, and
signs off.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, cast

from varv.adapters.apart import Apart
from varv.adapters.processes import Processes
from varv.adapters.runtimes import installed_runtimes
from varv.app.clients import changed_clients, load_clients
from varv.app.compose import MOST_HELD, open_home
from varv.app.fitting import ProcessFits
from varv.app.online import by_name, names_in, online_store, recorded_views
from varv.app.server.capturing import TrainingCaptures
from varv.app.server.fleet import Workers
from varv.app.server.labelling import keep_choosing
from varv.app.server.listening import address_of
from varv.app.server.measures import (
    of_alarms,
    of_certificate,
    of_online,
    of_processes,
    of_pulls,
    of_record,
    of_requests,
    of_skew,
    of_telemetry,
)
from varv.app.server.owned import OwnedHome
from varv.app.server.patience import Patience
from varv.app.server.present import Present
from varv.app.server.renewed import RenewedWorkers
from varv.app.server.server_file import announce, withdraw
from varv.app.server.telemetry import OwnerTelemetry, format_of, telemetry_of
from varv.app.server.tls import expires_at_s, tls_files_of
from varv.app.server.wire import Access, Models, Online
from varv.app.settings import FILE, Settings, variables
from varv.app.traffic import Traffic, TrafficReport
from varv.data import Quarantine
from varv.data.delta.verbs import PublicationDesk
from varv.data.inbox import Inbox
from varv.data.ingestion.pulling import Puller
from varv.data.ingestion.verbs import PullDesk
from varv.data.profiling.keeping import Profiles
from varv.data.profiling.rounds import BEAT_S as ROUND_S
from varv.data.profiling.rounds import WatchRounds
from varv.data.profiling.watching import Watch
from varv.data.tiers.rounds import BEAT_S as ARCHIVE_S
from varv.data.tiers.rounds import ArchiveRounds
from varv.data.tiers.verbs import TierDesk, tier_desk
from varv.data.verbs import QuarantineDesk
from varv.data.versioning.keeping import Versions
from varv.data.versioning.verbs import VersionsDesk
from varv.data.views import recall_types
from varv.features import FeatureView
from varv.features.online.materialising import Materialiser
from varv.features.online.verbs import OnlineDesk
from varv.fronts.access.door import Callers
from varv.fronts.gateway import allowed_hosts
from varv.home.change.carrying import Changes, last_change, require_accepted, require_settled
from varv.home.change.recorded import recorded_in
from varv.home.change.verbs import Applied, Declarations
from varv.home.erasure.carrying import Erasures
from varv.home.live import Live, Sealed
from varv.home.named_versions import named_versions
from varv.home.reached import reached
from varv.home.skew.watching import BEAT_S, SkewWatch
from varv.kernel.author_files import whole_place
from varv.kernel.clock import SECOND, HeldClock, SystemClock, wall_seconds
from varv.kernel.columns import segment_name
from varv.kernel.errors import FailedPrecondition, StorageFull, Unavailable, VarvError
from varv.kernel.executor import Limits
from varv.kernel.faults import Faults
from varv.kernel.ids import ModelName
from varv.kernel.metrics import Family
from varv.kernel.observe import log, start_logging
from varv.kernel.sagas import Fact
from varv.kernel.secret import SECRET_FILE, Secret
from varv.kernel.sizes import size_bytes
from varv.project import ModelPlan, datasets_of, forget_project, load_project
from varv.project.changes import plan_changes
from varv.project.planned import Retirement
from varv.registry import Surroundings
from varv.registry.ports import Device
from varv.serving import CaptureLog, Fleet
from varv.serving.capture import is_abandoned, remove_log

RUNNERS = 3
"""Threads that run commands: one may train and one may measure while the third still routes."""
IDLE_S = 0.5
"""How long a thread with nothing to do waits before it looks again."""
SEALS_EVERY_S = 5.0
"""How often runs are looked for whose metrics wait to be sealed."""
STOP_S = 20.0
_LOG = logging.getLogger(__name__)


def serve(
    file: str,
    settings: Settings,
    *,
    model: str = "",
    retire: Retirement | None = None,
    clients: Path = Path(FILE),
) -> int:
    """Own the home and serve until a signal comes; return the exit status.

    Parameters
    ----------
    file
        The project: a file or a folder.
    model
        The only model to serve; all of the project if it is empty.
    retire
        Which models may go that the project does not declare any more.
    clients
        The file that declares clients of the data plane; it is read again with each change.

    Raises
    ------
    FailedPrecondition
        If another process owns the home, a port is taken, or a change of the declaration is refused.
    """
    # A failure is told in one place, whichever thread it came from.
    start_logging(format_of(settings), sys.stderr, SystemClock())
    server = _Server(file, settings, model, retire or Retirement(), clients)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.told.put(None))
    try:
        server.run()
    finally:
        server.close()
    if server.failure is not None:
        raise server.failure
    return 1 if server.crashed else 0


class _Server:
    def __init__(self, file: str, settings: Settings, model: str, retire: Retirement, clients: Path) -> None:
        self._file = file
        self._place = Path(file.partition(":")[0]).absolute()
        self._model = model
        self._retire_at_start = retire
        self._settings = settings
        self._clients = clients
        self._system = SystemClock()
        self._since_s = self._system.now() // SECOND
        self._declared_clients = load_clients(clients)
        self._known = Callers(self._declared_clients, 1)
        self._clock = HeldClock(self._system)
        self._n_uncaptured = 0  # on record
        # Taken from the workers, and on record once the disk takes it.
        self._uncaptured: Counter[ModelName] = Counter()
        self._faults = Faults.parse(settings.fault)
        self.stop = threading.Event()
        # For signals: a handler that set an event could interrupt one that does, and wait for itself.
        self.told: SimpleQueue[None] = SimpleQueue()
        self._patience = Patience(self.stop)
        self.failure: VarvError | None = None
        self.crashed = False
        self._home = OwnedHome(settings, self._system, self._faults, predictions=True)
        self._ledger, self._views, self._tracking = self._home.ledger, self._home.views, self._home.tracking
        self._desk = self._home.desk
        self._desk.state = self._state
        self._live: Live | None = None
        self._present: Present | None = None
        self._applying = threading.Lock()
        self._desk.declarations = Declarations(self._apply)
        self._desk.traffic = Traffic(self._traffic)
        self._workers: Workers | None = None
        self._fits = Processes(
            variables(), nice=settings.training_nice, folder=_emptied(settings.home / "jobs")
        )
        self._telemetry = OwnerTelemetry(
            telemetry_of(settings), self._system, Secret(settings.home / SECRET_FILE), self._measures
        )
        self._features = online_store(settings.home, settings.online_store)
        self._online_names = names_in(settings.online_views)
        self._log: CaptureLog | None = None
        self._log_folder: Path | None = None
        self._threads: list[threading.Thread] = []

    def run(self) -> None:
        """Serve until told to stop, or until a thread has ended that must not."""
        self._home.show(self._health, self._measures, self._callers, self.stop.is_set)
        port, inference_port = self._home.ports.control.getsockname()[1], self._inference.getsockname()[1]
        announce(self._settings, port, inference_port, self._grpc_port)
        scheme = "http" if self._home.certificates is None else "https"
        log(_LOG, logging.INFO, "server.started", console=f"{scheme}://{self._settings.host}:{port}/")
        self._workers = Workers(
            self._settings.home,
            self._file,
            self._model,
            self._inference,
            self._system,
            grpc="" if self._home.ports.grpc is None else address_of(self._home.ports.grpc),
            hosts=allowed_hosts(self._settings.host, self._settings.allowed_hosts),
            access=self._access(),
            telemetry=telemetry_of(self._settings),
            log_format=format_of(self._settings),
            tls=tls_files_of(self._settings),
            n_workers=self._settings.workers,
            max_rows=self._settings.max_rows,
            capture_required=self._settings.capture == "required",
            capture_window_ms=self._settings.capture_window_ms,
            models=Models(
                device=cast("Device", self._settings.device),
                time_s=self._settings.model_time_s,
                memory_bytes=size_bytes(self._settings.model_memory),
                most_bytes=size_bytes(self._settings.models_memory) if self._settings.models_memory else None,
            ),
            online=Online(store=self._settings.online_store, views=self._online_names),
        )
        self._telemetry.start()
        self._thread("sealer", self._seal)
        captures = TrainingCaptures(
            self._tracking, self._ledger, self._place, self._settings.home, variables()
        )
        self._thread("captures", lambda: captures.follow(self.stop))
        self._thread("driver", self._drive)
        while not self._told_to_stop():
            if self._workers.failed.is_set():
                self.failure = FailedPrecondition(
                    "workers", "", "stop right after they start", hint="their output is above"
                )
                return

    def _callers(self) -> Callers:
        """Return who may read and write runs by now."""
        # Until workers are there, those of the file that this began with.
        declared = self._declared_clients if self._workers is None else self._workers.access.clients
        if declared != self._declared_clients:
            self._declared_clients, self._known = declared, Callers(declared, 1)
        return self._known

    def _access(self) -> Access:
        """Return who may ask by now."""
        return Access(
            clients=load_clients(self._clients),
            n_workers=self._settings.workers,
            allowed_origins=self._settings.allowed_origins,
            v1_deprecated_s=self._since_s if self._settings.deprecate_v1 else 0,
        )

    def _told_to_stop(self) -> bool:
        """Wait a moment, and return whether a signal came or a thread has ended that must not."""
        try:
            self.told.get(timeout=IDLE_S)
        except Empty:
            return False
        return True

    def close(self) -> None:
        """Stop accepting, let what is under way finish, take in what was captured, and give the home back."""
        log(_LOG, logging.INFO, "server.stopping")
        self.stop.set()
        if self._present is not None:
            self._present.ended.set()
        # Trainings are ended, without a failure on record: they run again after the next start.
        self._fits.close()
        self._home.hide()
        # Workers are still there to be counted.
        self._telemetry.close()
        if self._workers is not None:
            try:
                if self._live is not None and self._serves(self._live):
                    self._take_in_while_answering(self._live)
                    self._live.keeping.keep_features()
            finally:
                self._workers.stop()
        until = wall_seconds() + STOP_S
        for thread in self._threads:
            # What a command does beside its fits is not cut short; it runs again after the next start.
            thread.join(1 if thread.name.startswith("runner") else max(0.0, until - wall_seconds()))
        try:
            self._take_in_the_rest()
        except StorageFull as error:
            log(
                _LOG,
                logging.ERROR,
                "server.left_captures",
                why=str(error),
                next="the next start takes them in",
            )
        self._home.close()
        withdraw(self._settings)
        log(_LOG, logging.INFO, "server.stopped")

    def _take_in_while_answering(self, live: Live) -> None:
        """Take in what was captured so far, so that the feature state that is kept next holds it: what comes
        after that has to be read again by the next start.
        """
        intakes = [thread for thread in self._threads if thread.name == "intake"]
        for thread in intakes:
            thread.join(STOP_S)
        if not any(thread.is_alive() for thread in intakes):
            # Whatever hinders it hinders the last take too, which tells.
            with suppress(StorageFull, Unavailable):
                self._take_in_once(live)

    def _take_in_the_rest(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log_folder = None
        if self._live is not None and self._serves(self._live):
            self._live.ingest(self._leftovers())
            self._live.keeping.keep_own()

    def _serves(self, live: Live) -> bool:
        return live.state == "serving" and not self.crashed

    # The threads

    def _thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            finished = False
            try:
                work()
                finished = True
            except VarvError as error:
                # Closing the ledger ends whoever still uses it; that is no failure.
                finished = self.stop.is_set()
                self.failure = self.failure if finished else error
            finally:
                self.crashed |= not finished
                if not finished:
                    self.stop.set()
                    if self._present is not None:
                        self._present.ended.set()
                    self.told.put(None)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _seal(self) -> None:
        while not self.stop.wait(SEALS_EVERY_S):
            with suppress(StorageFull, Unavailable):
                self._tracking.tend()

    def _drive(self) -> None:
        """Bring the home to the present, then start what keeps it there."""
        present = self._patience.until_done(self._prepare)
        if present is None:
            return
        self._log_folder = self._settings.home / "capture" / f"{segment_name(self._system.now())}-api"
        self._log = CaptureLog(self._log_folder)
        self._patience.until_done(self._log.open)
        self._go_on_with(present)
        # Requests are answered meanwhile; nothing is decided by what lies before a snapshot.
        self._thread("checker", present.home.require_sound)
        log(_LOG, logging.INFO, "server.serving", models=", ".join(present.home.models))

    def _versions_desk(self, present: Present) -> VersionsDesk:
        home = present.home
        views, datasets = home.views, home.datasets
        versions = Versions(
            datasets, views, home.ledger, self._system, lambda dataset: named_versions(views, dataset)
        )
        rewrite = present.live.rewrite
        return VersionsDesk(
            home.folder, datasets, views, home.ledger, versions, rewrite, home.lock, flows=True
        )

    def _go_on_with(self, present: Present) -> None:
        """Let verbs act on a home in the present, and start what keeps it there."""
        assert self._log is not None, "the log comes first"
        home = present.home
        self._desk.engine = home.engine
        self._desk.quarantine = QuarantineDesk(
            home.views,
            Quarantine(home.datasets, home.views, self._system),
            present.live.settle,
            flows=True,
        )
        self._desk.versions = self._versions_desk(present)
        self._desk.publications = PublicationDesk(self._desk.versions, home.publications)
        tiers = self._desk.tiers = self._tier_desk(present, self._desk.versions)
        self._desk.online = self._online_desk(present)
        outcomes = {name: parts.plan.outcome for name, parts in home.models.items()}
        self._desk.inbox = Inbox(
            home.datasets,
            home.declared,
            outcomes,
            self._system,
            self._log.keep_rows,
            max_rows=self._settings.max_rows,
        )
        requests = frozenset(one.requests.name for one in outcomes.values())
        puller = Puller(
            home.datasets, home.views, self._system, present.live, requests=requests, faults=self._faults
        )
        declared = {str(dataset.name): dataset for dataset in home.declared}
        pulls = self._desk.pulls = PullDesk(puller, home.views, declared, flows=True)
        self._present, self._live = present, present.live
        present.threads = [
            self._thread("timers", lambda: self._fire(present)),
            self._thread("intake", lambda: self._take_in(present)),
            self._thread("puller", lambda: self._pull(present, pulls)),
            self._thread("labels", lambda: keep_choosing(lambda: self._desk.labelling, present.ended)),
            self._thread("online", lambda: self._follow(present)),
            self._thread("skew", lambda: self._watch_skew(present)),
            self._thread("data", lambda: self._watch_data(present)),
            self._thread("tiers", lambda: self._archive(present, tiers)),
        ]
        for number in range(RUNNERS):
            name = f"runner-{number}"
            self._thread(name, lambda name=name: self._run_commands(present, name))

    def _online_desk(self, present: Present) -> OnlineDesk:
        home = present.home

        def declared() -> list[FeatureView]:
            models = list(home.models.values())
            return by_name(view for parts in models for view in parts.features.features.views)

        def commit(facts: Sequence[Fact]) -> None:
            home.engine.tell(facts=facts)

        materialiser = Materialiser(
            home.datasets,
            home.views,
            self._features,
            self._system,
            commit,
            self._faults,
        )
        return OnlineDesk(home.views, home.datasets, self._system, self._features, declared, materialiser)

    def _follow(self, present: Present) -> None:
        """Keep features online up to what was ingested, and let go what no version reads any more."""
        desk = self._desk.require_online()
        unknown = self._online_names - {view.name for view in desk.declared()}
        if unknown:
            log(_LOG, logging.WARNING, "online.unknown_views", views=", ".join(sorted(unknown)))

        def tidy() -> None:
            # Where a feature cannot be built again from what is on record, nobody knows what may go.
            with suppress(FailedPrecondition):
                named = recorded_views(present.home.views, present.home.ledger)
                desk.act(lambda writer: writer.drop_unnamed(named))

        works: list[Callable[[], None]] = [tidy, lambda: desk.follow(self._online_names)]
        while not present.ended.is_set():
            try:
                for work in works:
                    self._patience.until_done(work)
                works = works[-1:]
            except VarvError as error:
                if self.stop.is_set():
                    return
                # Predictions that need no view of it are answered meanwhile.
                log(_LOG, logging.ERROR, "online.failed", why=str(error))
            present.ended.wait(self._settings.seal_every_s)

    def _prepare(self) -> Present:
        """Return a home in the present. What a try before this one had in memory is thrown away."""
        assert self._workers is not None, "workers come first"
        self._clock.release()
        self._finish_erasures()
        present = self._opened(self._declared(), self._workers, self._retire_at_start)
        self._live = present.live
        present.live.prepare()
        present.live.ingest(self._leftovers())
        present.live.go_on()
        return present

    def _finish_erasures(self) -> None:
        """Carry on with erasures that were cut short, before anybody reads a row; not while rows are captured
        that are not ingested, which is done first.
        """
        erasures = Erasures(self._settings.home, self._ledger, self._views, self._system, self._faults)
        try:
            left = [record for record in erasures.finish() if record.proven is None]
        except FailedPrecondition as error:
            log(_LOG, logging.WARNING, "erasure.waits", why=str(error))
            return
        for record in left:
            places = list(record.searched.left) if record.searched else []
            log(_LOG, logging.WARNING, "erasure.left", erasure=record.requested.erasure, places=places)

    def _declared(self) -> tuple[ModelPlan, ...]:
        """Return what the project declares by now."""
        project = load_project(self._file)
        project = project.only(self._model) if self._model else project
        recall_types(self._views, project.datasets)
        project.validate()
        return project.plans()

    def _opened(self, plans: Sequence[ModelPlan], fleet: Fleet, retire: Retirement) -> Present:
        limits = Limits(
            time_s=self._settings.training_time_s, memory_bytes=size_bytes(self._settings.training_memory)
        )
        # Whoever judges a model that runs code of its own must not end with it.
        apart = Apart(variables(), time_s=limits.time_s, memory_bytes=limits.memory_bytes)
        runtimes = installed_runtimes(Surroundings(variables=variables()), apart)
        place = whole_place(self._file)
        home = open_home(
            self._settings.home,
            plans,
            self._clock,
            faults=self._faults,
            fleet=fleet,
            fitter=ProcessFits(self._fits, place, self._settings.home, limits, runtimes),
            runtimes=runtimes,
            ledger=self._ledger,
            views=self._views,
            most_held=MOST_HELD,
            timer=wall_seconds,
            tracer=self._telemetry.tracer,
        )
        declarations = {name: parts.plan.digest() for name, parts in home.models.items()}
        changes = Changes(home, declarations, retire, whole=not self._model)
        assert self._workers is not None, "workers come first"
        return Present(home, Live(home, self._clock, declarations, changes, self._workers.keep))

    # A changed declaration

    def _apply(self, retire: Retirement, by: str) -> Applied:
        """Carry a changed declaration out while requests are answered."""
        if not self._applying.acquire(blocking=False):
            raise FailedPrecondition("change", "", "is being carried out already", hint="wait for its end")
        try:
            present = self._present
            if present is None or self._workers is None:
                raise Unavailable("server", "", "is still starting", hint="try again in a moment")
            forget_project(self._file)
            plans, access = self._declared(), self._access()
            recorded = recorded_in(self._views, self._ledger, self._system.now(), plans)
            plan = plan_changes(plans, recorded, retire=retire, whole=not self._model)
            require_accepted(plan)
            left = require_settled(self._views)
            lines = changed_clients(self._workers.access.clients, access.clients)
            is_same = plan.is_empty and not left
            if is_same and not lines:
                # Where rows come from is no change of what is on record.
                declared = {one.name: one for one in datasets_of(plans)}
                for dataset in present.home.declared:
                    dataset.pull_as(declared.get(dataset.name, dataset))
                return Applied(plan=plan, lines=(), number=None)
            log(_LOG, logging.INFO, "change.applied", by=by)
            self._exchange(present, plans, self._workers, retire, access)
            number = None if is_same else last_change(self._views)
            return Applied(plan=plan, lines=(*plan.lines(), *lines), number=number)
        finally:
            self._applying.release()

    def _exchange(
        self,
        present: Present,
        plans: Sequence[ModelPlan],
        workers: Workers,
        retire: Retirement,
        access: Access,
    ) -> None:
        """Put a home that works by `plans` in the place of the present one: new workers take over, and what
        the ones before have captured is ingested, before the change goes on.
        """
        pulls, self._desk.pulls = self._desk.pulls, None
        if pulls is not None:
            pulls.end()
        present.pause()
        # Nothing else may ingest until one of the two homes does: what comes meanwhile is asked for again.
        self._desk.quarantine = None
        following = present
        try:
            declarations = {plan.name: plan.digest() for plan in plans}
            made = self._opened(plans, RenewedWorkers(workers, declarations, access), retire)
            made.live.prepare()
            made.live.ingest(self._leftovers())
            made.live.go_on()
            following = made
        finally:
            # Whatever went wrong, requests are answered and captures ingested; the change stays open.
            self._go_on_with(following if following is not present else present.resumed())

    def _fire(self, present: Present) -> None:
        while not present.ended.is_set():
            self._patience.until_done(present.home.engine.fire_due)
            present.ended.wait(IDLE_S)

    def _pull(self, present: Present, pulls: PullDesk) -> None:
        while not present.ended.wait(IDLE_S):
            # Between two steps of a long pull it ends too; what is left comes with the next one.
            pulls.pull_due(self._system.now(), present.ended.is_set)

    def _watch_skew(self, present: Present) -> None:
        watch = SkewWatch(self._desk.measuring, present.home.engine, self._views, self._system)
        while not present.ended.wait(BEAT_S):
            self._patience.until_done(lambda: watch.beat(present.ended.is_set))

    def _watch_data(self, present: Present) -> None:
        home = present.home
        watch = Watch(home.datasets, Profiles(home.datasets, home.folder), home.ledger, home.folder)
        rounds = WatchRounds(
            watch, home.datasets, home.declared, self._system, lambda facts: home.engine.tell(facts=facts)
        )
        wait_s = BEAT_S
        while not present.ended.wait(wait_s):
            rounds.beat(present.ended.is_set)
            # The first look is soon, so that a server that is often started again looks at all.
            wait_s = ROUND_S

    def _tier_desk(self, present: Present, versions: VersionsDesk) -> TierDesk:
        home = present.home
        return tier_desk(
            versions,
            self._system,
            lambda dataset: reached(home.views, home.ledger, dataset),
            place=self._settings.archive,
            commit=lambda facts: home.engine.tell(facts=facts),
            faults=self._faults,
        )

    def _archive(self, present: Present, desk: TierDesk) -> None:
        rounds = ArchiveRounds(desk.tiers, present.home.declared, self._system)
        wait_s = BEAT_S
        while not present.ended.wait(wait_s):
            rounds.beat(present.ended.is_set)
            wait_s = ARCHIVE_S

    def _run_commands(self, present: Present, name: str) -> None:
        home = present.home
        while not (self.stop.is_set() or present.ended.is_set()):
            seen = home.ledger.head().version
            if not self._patience.until_done(lambda: home.engine.run_one(name)):
                home.ledger.wait(seen, IDLE_S)

    def _take_in(self, present: Present) -> None:
        while not present.ended.wait(self._settings.seal_every_s):
            self._patience.until_done(lambda: self._take_in_once(present.live))

    def _take_in_once(self, live: Live) -> None:
        assert self._workers is not None, "intake starts last"
        assert self._log is not None, "intake starts last"
        files = [*self._workers.seal(), *self._log.seal()]
        tracer = self._telemetry.tracer
        with (
            nullcontext()
            if tracer is None or not files
            else tracer.span("ingest", about={"varv.files": len(files)})
        ):
            live.ingest([_sealed(path) for path in sorted(files)])
        live.ingest(self._leftovers())
        self._uncaptured.update(self._workers.take_uncaptured())
        live.note_uncaptured(self._uncaptured)
        self._n_uncaptured += self._uncaptured.total()
        self._uncaptured.clear()

    def _leftovers(self) -> list[Sealed]:
        """Return the files of writers that are gone; their folders are removed once they are empty."""
        found: list[Sealed] = []
        capture = self._settings.home / "capture"
        ours = self._workers.capture_folders() if self._workers is not None else set()
        for folder in sorted(capture.iterdir()) if capture.is_dir() else []:
            if folder in ours or folder == self._log_folder or not is_abandoned(folder):
                continue
            files = sorted(folder.glob("[0-9]*.jsonl"))
            found += [_sealed(path) for path in files]
            if not files:
                remove_log(folder)
        return found

    # The control plane

    def _traffic(self) -> TrafficReport:
        workers = self._workers
        if workers is None:
            return TrafficReport(models={}, workers=())
        return TrafficReport(models=workers.counts(), workers=tuple(workers.pids))

    def _measures(self) -> Iterator[Family]:
        workers = self._workers
        pids = {"owner": os.getpid()}
        if workers is not None:
            yield from of_requests(workers.counts(), workers.refusals)
            yield from of_telemetry(workers.telemetry.plus(self._telemetry.counts))
            pids |= {f"worker-{number}": pid for number, pid in enumerate(workers.pids)}
        yield from of_record(self._views, self._ledger)
        yield from of_pulls(self._views, self._system.now())
        if self._desk.online is not None:
            yield from of_online(self._desk.online.shown())
        yield from of_skew(self._views)
        yield of_alarms(self._views)
        yield from of_processes(pids)
        if self._home.certificates is not None:
            yield of_certificate(expires_at_s(self._home.certificates.pem))

    def _health(self) -> dict[str, Any]:
        return {
            "status": "waiting" if self._patience.problem else "ok",
            "problem": self._patience.problem,
            "n_uncaptured": self._n_uncaptured + self._waiting_uncaptured(),
            "state": self._state(),
            "pid": os.getpid(),
            "inference_port": self._inference.getsockname()[1],
            "grpc_port": self._grpc_port,
            "workers": [] if self._workers is None else self._workers.pids,
            "n_entries": self._ledger.head().version,
        }

    @property
    def _inference(self) -> socket.socket:
        assert self._home.ports.inference is not None, "it was opened for predictions"
        return self._home.ports.inference

    @property
    def _grpc_port(self) -> int:
        grpc = self._home.ports.grpc
        return -1 if grpc is None else grpc.getsockname()[1]

    def _waiting_uncaptured(self) -> int:
        """Return how many answers were given without capture and are not on record yet."""
        return self._uncaptured.total() + (0 if self._workers is None else self._workers.n_uncaptured)

    def _state(self) -> str:
        if self.stop.is_set():
            return "stopping"
        if self._live is None:
            return "reading the declaration"
        # Predictions are answered before; what is sent to the control port is taken from here on.
        is_open = self._live.state != "serving" or self._desk.inbox is not None
        return self._live.state if is_open else "taking in what was captured"


def _emptied(folder: Path) -> Path:
    """Return a folder without what the jobs of a killed owner left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _sealed(path: Path) -> Sealed:
    return Sealed(f"{path.parent.name}-{path.stem}", path)
