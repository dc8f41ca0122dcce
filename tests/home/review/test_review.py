"""What waits for a person: until it is decided, once, and not for ever."""

from __future__ import annotations

from types import SimpleNamespace

import polars as pl
import pytest
from tests.project.test_declaration import model

import varv
from varv.home.paging import Table
from varv.home.review.model import ReviewDecided
from varv.home.review.verbs import (
    DecideRequest,
    DecisionRequest,
    Reviews,
    WaitingRequest,
    decide,
    state,
    waiting,
)
from varv.home.review.views import WAITS_FOR, ReviewsView
from varv.kernel.clock import DAY, VirtualClock, instant
from varv.kernel.errors import FailedPrecondition, InvalidInput, NotFound, Unavailable
from varv.project import plan_of
from varv.project.declared import declared_fact

NOW = instant("2026-03-01T00:00:00Z")
NAME = "late-arrival"
TIME = pl.Datetime("us", "UTC")


class World:
    """A home with predictions that were marked, as reviews see it."""

    def __init__(self, review=("abstained",), *, engine=True):
        plan = plan_of(model(serving=varv.Serving(abstain_below=0.6, review=review)))
        self.declared = {NAME: declared_fact(plan, plan.digest()).event}
        self.view = ReviewsView()
        self.rows = pl.DataFrame(
            {
                "key": ["a", "b", "c"],
                "requested_at": [NOW - DAY, NOW - 2, NOW - 1],
                "answered_by": ["abstained", "default", "abstained"],
            },
            schema_overrides={"requested_at": TIME},
        )
        self.told = []
        self.reviews = Reviews(
            tables=self, views=self, clock=VirtualClock(NOW), engine=self if engine else None
        )

    def reading(self, kind):
        seen = self.view if kind is ReviewsView else SimpleNamespace(declared=self.declared)
        return _Open(seen)

    def marked(self, name, since, until, marks):
        assert (since, until) == (NOW - WAITS_FOR, NOW + 1)
        return self.rows.filter(pl.col("answered_by").is_in(list(marks)))

    def limit(self, asked):
        return asked or None

    def listed(self, rows, *, after="", limit=None):
        return Table(rows=rows.head(limit or rows.height))

    def tell(self, *, facts):
        for fact in facts:
            self.told.append(fact)
            self.view.apply(SimpleNamespace(at=NOW), fact.event)


class _Open:
    def __init__(self, seen):
        self._seen = seen

    def __enter__(self):
        return self._seen

    def __exit__(self, *_):
        return None


def test_what_is_declared_waits_until_it_is_decided():
    world = World()
    assert waiting(world.reviews, WaitingRequest()).rows["key"].to_list() == ["a", "c"]
    assert state(world.reviews, DecisionRequest(key="a")).state == "waiting"
    made = decide(world.reviews, DecideRequest(key="a", decision=" late ", by="ana", note="seen it"))
    assert (made.state, made.decision, made.answered_by) == ("decided", "late", "abstained")
    assert world.told[0].stream == f"reviews/{NAME}"
    assert world.told[0].event.line() == "a is late, by ana: seen it"
    assert waiting(world.reviews, WaitingRequest()).rows["key"].to_list() == ["c"]
    assert state(world.reviews, DecisionRequest(key="a")).by == "ana"


def test_the_same_decision_again_changes_nothing_and_another_one_is_refused():
    world = World()
    for _ in range(2):
        assert decide(world.reviews, DecideRequest(key="c", decision="late")).decision == "late"
    assert len(world.told) == 1
    with pytest.raises(FailedPrecondition, match="was decided by operator"):
        decide(world.reviews, DecideRequest(key="c", decision="early"))


@pytest.mark.parametrize(
    ("world", "asked", "error"),
    [
        (World(), DecideRequest(key="b", decision="x"), NotFound),
        (World(), DecideRequest(key="a", decision="  "), InvalidInput),
        (World(), DecideRequest(key="a", decision="x" * 1001), InvalidInput),
        (World(), DecideRequest(model="other", key="a", decision="x"), NotFound),
        (World(review=()), DecideRequest(key="a", decision="x"), FailedPrecondition),
        (World(engine=False), DecideRequest(key="a", decision="x"), Unavailable),
    ],
)
def test_what_cannot_be_decided_is_told(world, asked, error):
    with pytest.raises(error):
        decide(world.reviews, asked)
    assert not world.told


def test_what_is_too_old_to_wait_is_forgotten():
    view = ReviewsView()
    for number in range(1000):
        at = NOW - (WAITS_FOR + DAY if number < 600 else DAY)
        event = ReviewDecided(model=NAME, key=f"k{number}", requested_at=at, decision="x", by="ana")
        view.apply(SimpleNamespace(at=NOW), event)
    assert len(view.decided[NAME]) == 400
