"""The use cases of reviews: what waits, what a person decides, and what was decided of a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import polars as pl

from varv.home.declared_models import declared_model
from varv.home.paging import Table, page_of
from varv.home.review.model import ReviewDecided, stream_of
from varv.home.review.views import WAITS_FOR, Decided, ReviewsView
from varv.home.tables import Tables
from varv.kernel.clock import Clock, Instant, iso
from varv.kernel.engine import Engine
from varv.kernel.errors import FailedPrecondition, InvalidInput, NotFound, Unavailable
from varv.kernel.ids import ModelName
from varv.kernel.sagas import Fact
from varv.kernel.verbs import EXPORT, OPERATE, READ, verb
from varv.kernel.views import Views

LONGEST = 1000
"""Characters of a decision, and of a note."""


class WaitingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a model; the only one of the home if it is left out."""

    model: str = ""
    after: str = ""
    limit: int = 0


class DecideRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Says what the request of a key is to be answered, who decides it, and why."""

    model: str = ""
    key: str
    decision: str
    by: str = "operator"
    note: str = ""


class DecisionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names the request of a key."""

    model: str = ""
    key: str


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """Where the review of a request is."""

    model: str
    key: str
    state: str
    """``"waiting"`` or ``"decided"``."""
    answered_by: str = ""
    """How it was answered meanwhile."""
    decision: str = ""
    by: str = ""
    note: str = ""
    at: str = ""
    """When it was decided, ISO 8601."""


@dataclass(frozen=True, kw_only=True)
class Reviews:
    """The reviews of a home, as a person acts on them.

    Parameters
    ----------
    tables, views
        Of the home.
    engine
        Puts decisions on record; None while a server starts, and where the ledger is only read.
    """

    tables: Tables
    views: Views
    clock: Clock
    engine: Engine | None

    def model(self, name: str) -> tuple[ModelName, tuple[str, ...]]:
        """Return a model, and which of its answers wait for a person.

        Raises
        ------
        NotFound
            If there is none of that name.
        FailedPrecondition
            If none of its answers wait for anybody.
        """
        declared = declared_model(self.views, name)
        if not declared.serving.review:
            hint = 'declare it: varv.Serving(..., review=["abstained"])'
            raise FailedPrecondition("model", declared.model, "lets no answer wait for a person", hint=hint)
        return declared.model, declared.serving.review

    def waiting(self, model: ModelName, marks: Sequence[str]) -> pl.DataFrame:
        """Return the requests of a model that wait, in their order, with the columns of a prediction."""
        now = self.clock.now()
        rows = self.tables.marked(model, Instant(now - WAITS_FOR), Instant(now + 1), marks)
        decided = list(self.decided(model))
        return rows.filter(~pl.col("key").is_in(decided)) if decided else rows

    def decided(self, model: ModelName) -> dict[str, Decided]:
        """Return what was decided of a model's requests, by key."""
        with self.views.reading(ReviewsView) as view:
            return dict(view.decided.get(model, {}))

    def put_on_record(self, fact: Fact) -> None:
        """Put a decision on record.

        Raises
        ------
        Unavailable
            If a server is starting.
        """
        if self.engine is None:
            hint = "try again in a moment; see varv status"
            raise Unavailable("server", "", "is still starting", hint=hint)
        self.engine.tell(facts=[fact])


@verb("review.waiting", needs=EXPORT)
def waiting(reviews: Reviews, asked: WaitingRequest) -> Table:
    """Read the requests that wait for a person to decide, with what they brought."""
    model, marks = reviews.model(asked.model)
    limit = reviews.tables.limit(asked.limit)
    return page_of(reviews.waiting(model, marks), after=asked.after, limit=limit)


@verb("review.decide", needs=OPERATE)
def decide(reviews: Reviews, asked: DecideRequest) -> Review:
    """Decide what a request that waits is to be answered; who asks for its review is told.

    Raises
    ------
    NotFound
        If no request of that key waits.
    FailedPrecondition
        If it was decided otherwise before.
    """
    model, marks = reviews.model(asked.model)
    decision = asked.decision.strip()
    if not decision or max(len(decision), len(asked.note), len(asked.by)) > LONGEST:
        hint = f"say it in 1 to {LONGEST} characters"
        raise InvalidInput("field", "decision", "says nothing, or too much", hint=hint)
    before = reviews.decided(model).get(asked.key)
    if before is not None:
        if before.decision != decision:
            problem = f"was decided by {before.by} on {iso(before.at)[:10]}: {before.decision}"
            raise FailedPrecondition("request", asked.key[:80], problem, hint="it stays as it was decided")
        return _review(model, asked.key, before, "")
    rows = reviews.waiting(model, marks).filter(pl.col("key") == asked.key)
    if rows.is_empty():
        hint = f"see what waits: varv review list {model}"
        raise NotFound("request", asked.key[:80], "does not wait for a person", hint=hint)
    last = rows.tail(1)
    at = Instant(int(last["requested_at"].to_physical()[0]))
    event = ReviewDecided(
        model=model, key=asked.key, requested_at=at, decision=decision, by=asked.by, note=asked.note
    )
    reviews.put_on_record(Fact(stream_of(model), event))
    made = Decided(at, decision, asked.by, asked.note, reviews.clock.now())
    return _review(model, asked.key, made, last["answered_by"][0] or "")


@verb("review.state", needs=READ)
def state(reviews: Reviews, asked: DecisionRequest) -> Review:
    """Say whether a request still waits, and what was decided.

    Raises
    ------
    NotFound
        If it never waited, or longer ago than requests do.
    """
    model, marks = reviews.model(asked.model)
    before = reviews.decided(model).get(asked.key)
    if before is not None:
        return _review(model, asked.key, before, "")
    rows = reviews.waiting(model, marks).filter(pl.col("key") == asked.key)
    if rows.is_empty():
        raise NotFound("request", asked.key[:80], "does not wait for a person", hint="it may be too long ago")
    return Review(model=model, key=asked.key, state="waiting", answered_by=rows["answered_by"][-1] or "")


def _review(model: ModelName, key: str, one: Decided, answered_by: str) -> Review:
    return Review(
        model=model,
        key=key,
        state="decided",
        answered_by=answered_by,
        decision=one.decision,
        by=one.by,
        note=one.note,
        at=iso(one.at),
    )
