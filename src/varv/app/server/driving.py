"""Bringing the home of a server to the present, keeping it there, and putting another in its place when its
declaration changes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from varv.app.clients import changed_clients
from varv.app.online import names_in
from varv.app.server.captured import Captured
from varv.app.server.desks import let_act
from varv.app.server.erasing import LiveErasures
from varv.app.server.fleet import Workers
from varv.app.server.opening import Opening
from varv.app.server.owned import OwnedHome
from varv.app.server.present import Present
from varv.app.server.renewed import RenewedWorkers
from varv.app.server.rounds import Rounds
from varv.app.server.threads import Threads
from varv.app.server.wire import Access
from varv.app.settings import Settings
from varv.features.online.ports import KeyValue
from varv.features.reads import Reads, added
from varv.home.change.carrying import last_change, require_accepted, require_settled
from varv.home.change.recorded import recorded_in
from varv.home.change.verbs import Applied
from varv.home.erasure.carrying import Erasures
from varv.home.erasure.verbs import ErasureDesk
from varv.home.live import Live
from varv.kernel.clock import Clock
from varv.kernel.errors import FailedPrecondition, Unavailable
from varv.kernel.faults import Faults
from varv.kernel.observe import log
from varv.project import ModelPlan, datasets_of
from varv.project.changes import plan_changes
from varv.project.planned import Retirement

RUNNERS = 3
"""Threads that run commands: one may train and one may measure while the third still routes."""
_LOG = logging.getLogger(__name__)


class Driver:
    """Drives the home of a server.

    Parameters
    ----------
    owned
        The home, which is shown already.
    opening
        Reads what is declared.
    workers
        Answer predictions.
    features
        The online store.
    """

    def __init__(
        self,
        settings: Settings,
        owned: OwnedHome,
        opening: Opening,
        workers: Workers,
        captured: Captured,
        threads: Threads,
        features: KeyValue,
        clock: Clock,
        faults: Faults,
    ) -> None:
        self._settings = settings
        self._owned = owned
        self._opening = opening
        self._workers = workers
        self._captured = captured
        self._threads = threads
        self._features = features
        self._clock = clock
        self._faults = faults
        self._applying = threading.Lock()
        self._erasing = LiveErasures(self._erasures, self.exchange, captured.take)
        self._waits = False  # an erasure, for what is captured
        self.live: Live | None = None
        """What drives the home; None until the declaration is read."""
        self.present: Present | None = None
        """None until the home is in the present."""

    def drive(self, retire: Retirement) -> None:
        """Bring the home to the present, then start what keeps it there.

        Parameters
        ----------
        retire
            Which models may go that the project does not declare any more.
        """
        patience = self._threads.patience
        present = patience.until_done(lambda: self._prepare(retire))
        if present is None:
            return
        patience.until_done(self._captured.make_log(self._clock.now()).open)
        self._go_on_with(present)
        if self._waits:
            self._threads.start("erasures", self._go_on_erasing)
        # Requests are answered meanwhile; nothing is decided by what lies before a snapshot.
        self._threads.start("checker", present.home.require_sound)
        log(_LOG, logging.INFO, "server.serving", models=", ".join(present.home.models))

    def reads(self) -> dict[str, Reads]:
        """Return how fresh views were when they were read, since the server started."""
        return added([self._workers.reads, self._owned.desk.reads.totals()])

    def _prepare(self, retire: Retirement) -> Present:
        """Return a home in the present. What a try before this one had in memory is thrown away."""
        self._opening.clock.release()
        self._finish_erasures()
        present = self._opening.opened(self._opening.plans(), self._workers, retire, self._workers.keep)
        self.live = present.live
        self._bring(present.live)
        return present

    def _bring(self, live: Live) -> None:
        live.prepare()
        live.ingest(self._captured.leftovers())
        live.go_on()

    def _finish_erasures(self) -> None:
        """Carry on with erasures that were cut short, before anybody reads a row; those wait while rows are
        captured that are not ingested, which comes first.
        """
        try:
            left = [record for record in self._erasures().finish() if record.proven is None]
        except FailedPrecondition as error:
            self._waits = True
            log(_LOG, logging.INFO, "erasure.waits", why=str(error))
            return
        for record in left:
            places = list(record.searched.left) if record.searched else []
            log(_LOG, logging.WARNING, "erasure.left", erasure=record.requested.erasure, places=places)

    def _go_on_erasing(self) -> None:
        self._erasing.go_on()

    def _erasures(self) -> Erasures:
        owned, features = self._owned, self._features
        return Erasures(self._settings.home, owned.ledger, owned.views, self._clock, self._faults, features)

    def _go_on_with(self, present: Present) -> None:
        """Let verbs act on a home in the present, and start what keeps it there."""
        settings, desk = self._settings, self._owned.desk
        let_act(
            desk,
            present,
            self._captured,
            self._features,
            self._clock,
            self._faults,
            max_rows=settings.max_rows,
            archive=settings.archive,
        )
        rounds = Rounds(
            present,
            desk,
            self._captured,
            self._clock,
            self._threads.patience,
            stop=self._threads.stop,
            online_names=names_in(settings.online_views),
            every_s=settings.seal_every_s,
            reads=self.reads,
        )
        desk.erasing = ErasureDesk(self._erasing.erase, self._erasing.go_on)
        self.present, self.live = present, present.live
        present.threads = [self._threads.start(name, work) for name, work in rounds.by_name().items()]
        for number in range(RUNNERS):
            name = f"runner-{number}"
            self._threads.start(name, lambda name=name: rounds.run_commands(name))

    # A changed declaration

    def apply(self, retire: Retirement, by: str) -> Applied:
        """Carry a changed declaration out while requests are answered.

        Raises
        ------
        FailedPrecondition
            If another change is being carried out, or this one is refused.
        Unavailable
            If the home is not yet in the present.
        """
        with self._alone() as present:
            return self._apply(present, retire, by)

    @contextmanager
    def _alone(self) -> Iterator[Present]:
        """Give the home in the present to one at a time."""
        if not self._applying.acquire(blocking=False):
            problem = "or an erasure is being carried out already"
            raise FailedPrecondition("change", "", problem, hint="wait for its end")
        try:
            if self.present is None:
                raise Unavailable("server", "", "is still starting", hint="try again in a moment")
            yield self.present
        finally:
            self._applying.release()

    def _apply(self, present: Present, retire: Retirement, by: str) -> Applied:
        self._opening.forget()
        plans, access = self._opening.plans(), self._opening.access()
        views, ledger = self._owned.views, self._owned.ledger
        recorded = recorded_in(views, ledger, self._clock.now(), plans)
        plan = plan_changes(plans, recorded, retire=retire, whole=self._opening.is_whole)
        require_accepted(plan)
        left = require_settled(views)
        lines = changed_clients(self._workers.access.clients, access.clients)
        is_same = plan.is_empty and not left
        if is_same and not lines:
            # Where rows come from is no change of what is on record.
            declared = {one.name: one for one in datasets_of(plans)}
            for dataset in present.home.declared:
                dataset.pull_as(declared.get(dataset.name, dataset))
            return Applied(plan=plan, lines=(), number=None)
        log(_LOG, logging.INFO, "change.applied", by=by)
        self._exchange(present, plans, retire, access)
        number = None if is_same else last_change(views)
        return Applied(plan=plan, lines=(*plan.lines(), *lines), number=number)

    def exchange(self, between: Callable[[Live], None]) -> None:
        """Put the same home, opened anew, in the place of the present one.

        Parameters
        ----------
        between
            Is done while neither ingests, decides or writes rows.

        Raises
        ------
        FailedPrecondition
            If a change is being carried out.
        Unavailable
            If the home is not yet in the present.
        """
        with self._alone() as present:
            plans, access = self._opening.plans(), self._workers.access
            self._exchange(present, plans, Retirement(), access, between)

    def _exchange(
        self,
        present: Present,
        plans: Sequence[ModelPlan],
        retire: Retirement,
        access: Access,
        between: Callable[[Live], None] | None = None,
    ) -> None:
        """Put a home that works by `plans` in the place of the present one: new workers take over, and what
        the ones before have captured is ingested, before the change goes on.
        """
        desk = self._owned.desk
        pulls, desk.pulls = desk.pulls, None
        if pulls is not None:
            pulls.end()
        present.pause()
        # Nothing else may ingest until one of the two homes does: what comes meanwhile is asked for again.
        desk.quarantine = None
        following = present
        try:
            if between is not None:
                desk.versions = desk.publications = desk.online = None
                with present.home.lock:
                    between(present.live)
            declarations = {plan.name: plan.digest() for plan in plans}
            renewed = RenewedWorkers(self._workers, declarations, access)
            made = self._opening.opened(plans, renewed, retire, self._workers.keep)
            self._bring(made.live)
            following = made
        finally:
            # Whatever went wrong, requests are answered and captures ingested; the change stays open.
            self._go_on_with(following if following is not present else present.resumed())
