"""Who is shown what, when a label settles a request, and when too little is explored."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import pytest

from varv.kernel.clock import DAY, HOUR, Instant, instant
from varv.kernel.errors import FailedPrecondition, NotFound
from varv.labels import LabellingPolicy, LabelsView, rules
from varv.labels.model import (
    Chosen,
    ExplorationLow,
    ExplorationRestored,
    RequestReturned,
    RequestsChosen,
    RequestsLeased,
)
from varv.labels.views import HELD_FOR, Window

NOW = instant("2026-03-01T00:00:00Z")
M = "late"


class Queue:
    """The queue of one model, with requests a, b, c, of which c is labelled twice."""

    def __init__(self, **n_labels):
        self.view, self.now = LabelsView(), NOW
        chosen = tuple(
            Chosen(key=key, requested_at=Instant(NOW - 1), cause="random", probability=0.5, n_labels=n)
            for key, n in ({"a": 1, "b": 1, "c": 2} | n_labels).items()
        )
        self.apply(
            RequestsChosen(
                model=M,
                since=NOW - DAY,
                until=NOW,
                n_requests=9,
                n_all=9,
                n_explored=3,
                chosen=chosen,
            )
        )

    def apply(self, event):
        self.view.apply(SimpleNamespace(at=self.now), event)

    @property
    def labelled(self):
        return self.view.of(M)

    def show(self, by, n=9):
        return [item.key for item in rules.to_show(self.labelled, by, n, self.now)]

    def take(self, by, n=9):
        keys = tuple(self.show(by, n))
        self.apply(RequestsLeased(model=M, keys=keys, by=by, until=Instant(self.now + HOUR)))
        return list(keys)

    def label(self, key, by, value):
        made = rules.label(M, self.labelled, key, by, value, "", self.now)
        if made is not None:
            self.apply(made)
        return made


def test_a_request_is_with_one_labeller_until_the_lease_ends():
    queue = Queue()
    assert queue.take("ana", 2) == ["a", "b"]
    assert queue.show("bo") == ["c"]
    assert queue.show("ana", 1) == ["a"], "who comes again gets what they have"
    queue.now = Instant(NOW + 2 * HOUR)
    assert queue.show("bo") == ["a", "b", "c"]
    queue.take("bo")
    with pytest.raises(FailedPrecondition, match="is not leased to ana"):
        queue.label("a", "ana", 1)


def test_two_label_c_and_neither_sees_it_again():
    queue = Queue()
    queue.take("ana")
    assert queue.take("bo") == ["c"], "two may have it at a time"
    assert queue.show("cy") == []
    assert not queue.label("c", "ana", 1).settles
    assert "c" not in queue.show("ana")
    assert queue.label("c", "bo", True).settles


def test_where_two_differ_a_third_one_decides():
    queue = Queue()
    for by, value, settles in (("ana", 1, False), ("bo", 0, False), ("cy", 0, True)):
        assert "c" in queue.take(by)
        assert queue.label("c", by, value).settles is settles
    assert queue.labelled.items["c"].settled.by == "cy"
    assert "c" not in queue.take("di")


def test_no_outcome_is_a_label_like_others():
    queue = Queue()
    queue.take("ana")
    made = queue.label("a", "ana", None)
    assert (made.settles, made.said) == (True, "no outcome")
    assert queue.labelled.items["a"].settled.value is None


def test_the_same_label_again_changes_nothing_and_another_is_refused():
    queue = Queue()
    queue.take("ana")
    queue.label("a", "ana", 1)
    assert queue.label("a", "ana", 1.0) is None
    with pytest.raises(FailedPrecondition, match="was labelled 1 by ana"):
        queue.label("a", "ana", 0)
    with pytest.raises(NotFound, match="not in the queue"):
        queue.label("z", "ana", 0)
    with pytest.raises(FailedPrecondition, match="was labelled"):
        rules.require_open(M, queue.labelled, "a")


def test_what_is_given_back_is_shown_to_others_only():
    queue = Queue()
    queue.take("ana")
    queue.apply(RequestReturned(model=M, key="a", by="ana"))
    assert queue.show("ana") == ["b", "c"]
    assert "a" in queue.show("bo")


def test_windows_are_whole_ended_and_not_too_many():
    ended = rules.due_windows(Instant(0), Instant(NOW - 3 * DAY - 5), Instant(NOW + HOUR), DAY)
    assert [since for since, _ in ended] == [NOW - 4 * DAY, NOW - 3 * DAY, NOW - 2 * DAY, NOW - DAY]
    assert ended[-1][1] == NOW
    assert rules.due_windows(NOW, Instant(0), Instant(NOW + HOUR), DAY) == []
    assert len(rules.due_windows(Instant(0), Instant(0), NOW, DAY)) == rules.MOST_WINDOWS
    assert rules.due_windows(Instant(0), None, NOW, DAY) == []


def test_too_little_exploration_is_told_once_and_until_it_is_enough():
    queue, policy = Queue(), LabellingPolicy(budget=1, explored=0.1)

    def window(n_explored):
        return Window(NOW, Instant(NOW + DAY), NOW, 2000, 2000, n_explored)

    few = rules.exploration(M, queue.labelled, window(100), policy)
    assert isinstance(few, ExplorationLow)
    queue.apply(few)
    assert rules.exploration(M, queue.labelled, window(100), policy) is None
    assert rules.exploration(M, queue.labelled, window(180), policy) is None, "still below"
    enough = rules.exploration(M, queue.labelled, window(300), policy)
    assert isinstance(enough, ExplorationRestored)
    queue.apply(enough)
    assert rules.exploration(M, queue.labelled, window(180), policy) is None, "chance explains it"
    undeclared = LabellingPolicy(budget=1)
    assert rules.exploration(M, queue.labelled, window(0), undeclared) is None


def test_the_read_model_forgets_what_is_old_and_survives_a_snapshot():
    queue = Queue()
    queue.take("ana", 1)
    queue.label("a", "ana", 1)
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(queue.view), type=LabelsView)
    assert kept.of(M).items["a"].settled == queue.labelled.items["a"].settled
    queue.now = Instant(NOW + HELD_FOR + DAY)
    queue.apply(
        RequestsChosen(model=M, since=NOW, until=NOW + DAY, n_requests=0, n_all=0, n_explored=0, chosen=())
    )
    assert queue.labelled.items == {}
