"""The use cases of a home, each described once: requests, results, and the verbs that every front offers.

A `Desk` is what they work on: the ledger and its views always, the inbox and the quarantine while a server
runs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from varv.app.explaining import Explanation, explain
from varv.app.inspecting import StatusReport, status_report
from varv.app.quarantine import QuarantineDesk
from varv.app.verifying import VerifyReport, verify_report
from varv.data.inbox import Acceptance, Inbox, RefusedRow
from varv.kernel.blobs import FolderBlobs
from varv.kernel.clock import Clock, instant, wall_seconds
from varv.kernel.codec import Digest, Event
from varv.kernel.engine import Engine
from varv.kernel.errors import DeadlineExceeded, FailedPrecondition, InvalidInput, NotFound, Unavailable
from varv.kernel.ids import ModelName
from varv.kernel.ledger import Ledger
from varv.kernel.sagas import Fact, Message
from varv.kernel.verbs import OPERATE, READ, WRITE, verb
from varv.kernel.views import Views
from varv.loop.model import CancelAsked, LoopState, ModelOffered, Offer, RetrainAsked, RollbackAsked
from varv.loop.offers import content_of
from varv.loop.plan import loop_id
from varv.loop.printed import Printed, printed
from varv.loop.views import LoopView
from varv.registry import Imported, RegistryView

ROLLBACK_WITHIN_S = 30.0


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a model; the only one of the home if it is left out."""

    model: str = ""


class ActRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a model, and says who asks and why."""

    model: str
    reason: str = ""
    by: str = "operator"


class RegisterRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a model that was trained elsewhere, as `varv register` has put it into the home's blobs.

    Its rows end before ``fitted_until``, ISO 8601. ``categories`` are the texts whose codes it reads, in
    their order, by column; ``trust`` says whether a package of varv may run code that it brings.
    """

    model: str
    content: Digest
    fitted_until: str
    categories: dict[str, tuple[str, ...]] = {}
    trust: bool = False
    reason: str = ""
    by: str = "operator"


class LogsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a version of a model; the latest if it is left out, and the only model of the home."""

    model: str = ""
    version: int | None = None


class OutcomeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Outcomes of requests: rows with the key and the outcome, by the dataset's own column names."""

    model: str
    rows: list[dict[str, Any]]


class AppendRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a dataset, or of one of its later parts."""

    dataset: str
    rows: list[dict[str, Any]]
    part: str = ""


class WhyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to explain: a model, ``model/7``, a seq, a rollout, or the key of a prediction."""

    subject: str


class VerifyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Whether to check the ledger alone, and no other file."""

    quick: bool = False


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """So many rows are durable, and will be in the ledger within seconds; the others are named."""

    n_rows: int
    n_unknown: int = 0
    """Of these, outcomes of keys that no request has so far; they join it when it appears."""
    n_refused: int = 0
    refused: tuple[RefusedRow, ...] = ()
    """The first hundred of them."""


class RolledBack(msgspec.Struct, frozen=True, kw_only=True):
    """What a rollback did: either a candidate was given up, or the champion before came back."""

    model: str
    gave_up: int | None
    """The candidate whose rollout was open and has been given up; the champion stays."""
    returned_to: int | None
    """The champion before, which is champion again."""
    champion: int | None
    """The champion now."""
    replaced: int | None
    """The champion until now, if another took its place."""
    seq: int
    settled: bool
    """False where no server runs: the rollback is asked for, and carried out when one does."""


class CandidateOrdered(msgspec.Struct, frozen=True, kw_only=True):
    """What asking for a new candidate led to: its version, or that it waits."""

    model: str
    version: int | None
    waits: bool
    seq: int
    settled: bool


class TrainingCancelled(msgspec.Struct, frozen=True, kw_only=True):
    """A training that is to end: its version, and whether somebody is there to end it."""

    model: str
    version: int
    seq: int
    settled: bool
    """False where no server runs: the training fails as soon as one goes on with it."""


class Desk:
    """What the use cases work on.

    Parameters
    ----------
    home, ledger, views
        Of the home.
    engine
        With the sagas, to tell them what a person wants; None where the ledger is only read.
    running
        Whether somebody carries out what sagas decide.
    """

    def __init__(
        self, home: Path, ledger: Ledger, views: Views, clock: Clock, engine: Engine | None, *, running: bool
    ) -> None:
        self.home = home
        self.ledger = ledger
        self.views = views
        self.clock = clock
        self.engine = engine
        self.running = running
        self.inbox: Inbox | None = None
        self.quarantine: QuarantineDesk | None = None
        """None where the ledger is only read, and while the server starts."""
        self.state: Callable[[], str] = lambda: "not running"

    def model(self, name: str) -> str:
        """Return the name of a model that the ledger knows.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        with self.views.reading(RegistryView) as registry, self.views.reading(LoopView) as loops:
            # A loop whose first training failed has no version yet; a person may still ask for another.
            known = sorted({*registry.models, *loops.loops})
        if name in known:
            return name
        if not name and len(known) == 1:
            return known[0]
        raise NotFound(
            "model", name[:80], "is not registered", hint=f"registered are {', '.join(known) or 'none'}"
        )

    def loop(self, model: str) -> LoopState:
        """Return where the loop of a model is."""
        row = self.ledger.saga(f"loop/{model}")
        return LoopState() if row is None else msgspec.json.decode(row.state, type=LoopState)

    def require_quarantine(self) -> QuarantineDesk:
        """Return what acts on rows in quarantine.

        Raises
        ------
        Unavailable
            If the server is still starting.
        """
        if self.quarantine is None:
            raise Unavailable(
                "server", "", "is still starting", hint="try again in a moment; see varv status"
            )
        return self.quarantine

    def tell(self, model: str, event: RollbackAsked | RetrainAsked | ModelOffered) -> int:
        """Tell the loop of a model what a person wants; return the seq of that."""
        return self._engine().tell(Message(loop_id(model), event))[0].seq

    def state_fact(self, model: str, event: Event) -> int:
        """Put on record what a person wants of what is under way; return the seq of that."""
        return self._engine().tell(facts=[Fact(loop_id(model), event)])[0].seq

    def _engine(self) -> Engine:
        if self.engine is None:
            raise Unavailable(
                "server", "", "is still starting", hint="try again in a moment; see varv status"
            )
        return self.engine


@verb("model.rollback", needs=OPERATE)
def rollback(desk: Desk, request: ActRequest) -> RolledBack:
    """Go back to the champion before this one, or give up the rollout that is open.

    Raises
    ------
    FailedPrecondition
        If there is nothing to go back to.
    DeadlineExceeded
        If it has not settled in time; it still will.
    """
    model = desk.model(request.model)
    before = desk.loop(model)
    if before.phase != "rolling" and before.former is None:
        hint = "a rollback needs a champion before this one, or an open rollout"
        raise FailedPrecondition(
            "model", model, "has nothing to go back to", champion=before.champion, hint=hint
        )
    seq = desk.tell(model, RollbackAsked(by=request.by, reason=request.reason))
    after = _settled(desk, model) if desk.running else desk.loop(model)
    gave_up = before.candidate if before.phase == "rolling" else None
    returned_to = before.former if gave_up is None else None
    return RolledBack(
        model=model,
        champion=after.champion,
        replaced=before.champion if returned_to is not None else None,
        gave_up=gave_up,
        returned_to=returned_to,
        seq=seq,
        settled=desk.running,
    )


@verb("model.retrain", needs=OPERATE)
def retrain(desk: Desk, request: ActRequest) -> CandidateOrdered:
    """Ask for a new candidate; it is trained at once, or after what is under way and the cool-down."""
    model = desk.model(request.model)
    return _ordered(desk, model, RetrainAsked(by=request.by, reason=request.reason))


@verb("model.register", needs=OPERATE)
def register(desk: Desk, request: RegisterRequest) -> CandidateOrdered:
    """Bring a model that was trained elsewhere as a candidate: it is judged, rolled out and watched like any.

    Raises
    ------
    InvalidInput
        If its rows are said to end in the future.
    NotFound
        If the home's blobs hold nothing of that digest.
    """
    model = desk.model(request.model)
    fitted_until = instant(request.fitted_until)
    if fitted_until > desk.clock.now():
        hint = "say when the last request was made that it was fitted on"
        raise InvalidInput("time", request.fitted_until, "is in the future", hint=hint)
    content = content_of(FolderBlobs(desk.home / "blobs"), request.content, request.content[:12])
    offer = Offer(
        source=Imported(file=content.name, content=request.content, by=request.by, reason=request.reason),
        fitted_until=fitted_until,
        categories=request.categories,
        trust=request.trust,
    )
    return _ordered(desk, model, ModelOffered(offer=offer))


def _ordered(desk: Desk, model: str, event: RetrainAsked | ModelOffered) -> CandidateOrdered:
    before = desk.loop(model)
    seq = desk.tell(model, event)
    after = desk.loop(model)
    begun = after.phase == "training" and after.candidate != before.candidate
    version = after.candidate if begun else None
    return CandidateOrdered(model=model, version=version, waits=not begun, seq=seq, settled=desk.running)


@verb("model.cancel", needs=OPERATE)
def cancel(desk: Desk, request: ActRequest) -> TrainingCancelled:
    """End the training that is under way; it fails, saying who ended it and why, and is not tried again.

    Raises
    ------
    FailedPrecondition
        If none is under way.
    """
    model = desk.model(request.model)
    state = desk.loop(model)
    if state.phase != "training" or state.candidate is None:
        hint = "see varv status"
        raise FailedPrecondition("model", model, "is not being trained", phase=state.phase, hint=hint)
    asked = CancelAsked(version=state.candidate, by=request.by, reason=request.reason)
    seq = desk.state_fact(model, asked)
    return TrainingCancelled(model=model, version=state.candidate, seq=seq, settled=desk.running)


@verb("model.logs", needs=READ)
def logs(desk: Desk, request: LogsRequest) -> Printed:
    """Show what the training of a version printed, also while it runs."""
    model = desk.model(request.model)
    with desk.views.reading(LoopView) as loops:
        return printed(desk.home, loops, model, request.version)


def _settled(desk: Desk, model: str) -> LoopState:
    until = wall_seconds() + ROLLBACK_WITHIN_S
    while wall_seconds() < until:
        seen = desk.ledger.head().version
        state = desk.loop(model)
        if state.phase != "rolling":
            return state
        desk.ledger.wait(seen, until - wall_seconds())
    hint = "it goes on by itself; look with varv status"
    raise DeadlineExceeded("rollback", model, "has not settled yet", timeout_s=ROLLBACK_WITHIN_S, hint=hint)


@verb("outcome.record", needs=WRITE)
def record_outcomes(desk: Desk, request: OutcomeRequest) -> Accepted:
    """Make outcomes durable, but for those that do not fit; they are in the ledger within seconds."""
    model = desk.model(request.model)
    return _accepted(_inbox(desk).accept_outcomes(ModelName(model), request.rows))


@verb("dataset.append", needs=WRITE)
def append_rows(desk: Desk, request: AppendRequest) -> Accepted:
    """Make rows of a dataset durable, but for those that do not fit; features hold them within seconds."""
    return _accepted(_inbox(desk).accept(request.dataset, request.part, request.rows))


def _accepted(found: Acceptance) -> Accepted:
    return Accepted(
        n_rows=found.n_rows, n_unknown=found.n_unknown, n_refused=found.n_refused, refused=found.refused
    )


def _inbox(desk: Desk) -> Inbox:
    if desk.inbox is None:
        raise Unavailable("server", "", "is still starting", hint="try again in a moment; see varv status")
    return desk.inbox


@verb("model.status", needs=READ)
def status(desk: Desk, asked: ModelRequest) -> StatusReport:
    """Show models, versions, shares, rollouts and alarms."""
    return status_report(desk.views, desk.ledger, desk.clock.now(), model=asked.model, state=desk.state())


@verb("ledger.why", needs=READ)
def why(desk: Desk, asked: WhyRequest) -> Explanation:
    """Explain a decision, a version or a prediction to its root."""
    return explain(desk.home, desk.ledger, desk.views, asked.subject)


@verb("ledger.verify", needs=READ)
def verify(desk: Desk, asked: VerifyRequest) -> VerifyReport:
    """Compare what is stored with what was written."""
    return verify_report(desk.home, quick=asked.quick)
