"""The use cases of a loop: what a person may want of it, and what came of that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from varv.kernel.blobs import FolderBlobs
from varv.kernel.clock import Clock, instant, iso, wall_seconds
from varv.kernel.codec import Digest, Event
from varv.kernel.engine import Engine
from varv.kernel.errors import DeadlineExceeded, FailedPrecondition, InvalidInput, NotFound, Unavailable
from varv.kernel.ledger import Ledger
from varv.kernel.sagas import Fact, Message
from varv.kernel.verbs import OPERATE, READ, verb
from varv.kernel.views import Views
from varv.loop.model import CancelAsked, LoopState, ModelOffered, Offer, RetrainAsked, RollbackAsked
from varv.loop.offers import content_of
from varv.loop.plan import loop_id, loop_state
from varv.loop.printed import Printed, printed
from varv.loop.views import LoopView
from varv.registry import Imported, RegistryView

ROLLBACK_WITHIN_S = 30.0


class ActRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a model, and says who asks and why."""

    model: str
    reason: str = ""
    by: str = "operator"


class RegisterRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a model that was trained elsewhere, as `varv register` has put it into the home's blobs.

    Its rows end before ``fitted_until``, ISO 8601. ``categories`` are the texts whose codes it reads, in
    their order, by column; ``trust`` says whether a package of varv may run code that it brings. ``source``
    is what was logged here that it was taken from, and ``root`` the digest of the files there.
    """

    model: str
    content: Digest
    fitted_until: str
    categories: dict[str, tuple[str, ...]] = {}
    trust: bool = False
    source: str = ""
    root: str = ""
    reason: str = ""
    by: str = "operator"


class LogsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a version of a model; the latest if it is left out, and the only model of the home."""

    model: str = ""
    version: int | None = None


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


@dataclass(frozen=True, kw_only=True)
class Loops:
    """The loops of a home, as a person acts on them.

    Parameters
    ----------
    home, ledger, views
        Of the home.
    engine
        Tells the loops; None while a server starts, and where the ledger is only read.
    running
        Whether somebody carries out what they decide.
    """

    home: Path
    ledger: Ledger
    views: Views
    clock: Clock
    engine: Engine | None
    running: bool

    def model(self, name: str) -> str:
        """Return the name of a model that the ledger knows.

        Raises
        ------
        NotFound
            If there is none of that name.
        FailedPrecondition
            If it was retired.
        """
        with self.views.reading(RegistryView) as registry, self.views.reading(LoopView) as loops:
            # A loop whose first training failed has no version yet; a person may still ask for another.
            known = sorted({*registry.models, *loops.loops})
            record = loops.loops.get(name)
        if record is not None and record.retired_at is not None:
            problem = f"was retired on {iso(record.retired_at)[:10]}"
            raise FailedPrecondition("model", name, problem, hint="declare it again, and run varv up")
        if name in known:
            return name
        if not name and len(known) == 1:
            return known[0]
        raise NotFound(
            "model", name[:80], "is not registered", hint=f"registered are {', '.join(known) or 'none'}"
        )

    def loop(self, model: str) -> LoopState:
        """Return where the loop of a model is."""
        return loop_state(self.ledger, model)

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
def rollback(loops: Loops, request: ActRequest) -> RolledBack:
    """Go back to the champion before this one, or give up the rollout that is open.

    Raises
    ------
    FailedPrecondition
        If there is nothing to go back to.
    DeadlineExceeded
        If it has not settled in time; it still will.
    """
    model = loops.model(request.model)
    before = loops.loop(model)
    if before.phase != "rolling" and before.former is None:
        hint = "a rollback needs a champion before this one, or an open rollout"
        raise FailedPrecondition(
            "model", model, "has nothing to go back to", champion=before.champion, hint=hint
        )
    seq = loops.tell(model, RollbackAsked(by=request.by, reason=request.reason))
    after = _settled(loops, model) if loops.running else loops.loop(model)
    gave_up = before.candidate if before.phase == "rolling" else None
    returned_to = before.former if gave_up is None else None
    return RolledBack(
        model=model,
        champion=after.champion,
        replaced=before.champion if returned_to is not None else None,
        gave_up=gave_up,
        returned_to=returned_to,
        seq=seq,
        settled=loops.running,
    )


@verb("model.retrain", needs=OPERATE)
def retrain(loops: Loops, request: ActRequest) -> CandidateOrdered:
    """Ask for a new candidate; it is trained at once, or after what is under way and the cool-down."""
    model = loops.model(request.model)
    return _ordered(loops, model, RetrainAsked(by=request.by, reason=request.reason))


@verb("model.register", needs=OPERATE)
def register(loops: Loops, request: RegisterRequest) -> CandidateOrdered:
    """Bring a model that was trained elsewhere as a candidate: it is judged, rolled out and watched like any.

    Raises
    ------
    InvalidInput
        If its rows are said to end in the future.
    NotFound
        If the home's blobs hold nothing of that digest.
    """
    model = loops.model(request.model)
    fitted_until = instant(request.fitted_until)
    if fitted_until > loops.clock.now():
        hint = "say when the last request was made that it was fitted on"
        raise InvalidInput("time", request.fitted_until, "is in the future", hint=hint)
    content = content_of(FolderBlobs(loops.home / "blobs"), request.content, request.content[:12])
    offer = Offer(
        source=Imported(
            file=content.name,
            content=request.content,
            by=request.by,
            reason=request.reason,
            source=request.source,
            root=request.root,
        ),
        fitted_until=fitted_until,
        categories=request.categories,
        trust=request.trust,
    )
    return _ordered(loops, model, ModelOffered(offer=offer))


def _ordered(loops: Loops, model: str, event: RetrainAsked | ModelOffered) -> CandidateOrdered:
    before = loops.loop(model)
    seq = loops.tell(model, event)
    after = loops.loop(model)
    begun = after.phase == "training" and after.candidate != before.candidate
    version = after.candidate if begun else None
    return CandidateOrdered(model=model, version=version, waits=not begun, seq=seq, settled=loops.running)


@verb("model.cancel", needs=OPERATE)
def cancel(loops: Loops, request: ActRequest) -> TrainingCancelled:
    """End the training that is under way; it fails, saying who ended it and why, and is not tried again.

    Raises
    ------
    FailedPrecondition
        If none is under way.
    """
    model = loops.model(request.model)
    state = loops.loop(model)
    if state.phase != "training" or state.candidate is None:
        hint = "see varv status"
        raise FailedPrecondition("model", model, "is not being trained", phase=state.phase, hint=hint)
    asked = CancelAsked(version=state.candidate, by=request.by, reason=request.reason)
    seq = loops.state_fact(model, asked)
    return TrainingCancelled(model=model, version=state.candidate, seq=seq, settled=loops.running)


@verb("model.logs", needs=READ)
def logs(loops: Loops, request: LogsRequest) -> Printed:
    """Show what the training of a version printed, also while it runs."""
    model = loops.model(request.model)
    with loops.views.reading(LoopView) as view:
        return printed(loops.home, view, model, request.version)


def _settled(loops: Loops, model: str) -> LoopState:
    until = wall_seconds() + ROLLBACK_WITHIN_S
    while wall_seconds() < until:
        seen = loops.ledger.head().version
        state = loops.loop(model)
        if state.phase != "rolling":
            return state
        loops.ledger.wait(seen, until - wall_seconds())
    hint = "it goes on by itself; look with varv status"
    raise DeadlineExceeded("rollback", model, "has not settled yet", timeout_s=ROLLBACK_WITHIN_S, hint=hint)
