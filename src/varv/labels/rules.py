"""The rules of the queue: who is shown what, when a label settles a request, and when too little is explored.

Pure: what is on record and what is said come in, and what is to be put on record goes out.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence

from varv.kernel.clock import MINUTE, Duration, Instant, iso
from varv.kernel.codec import Event
from varv.kernel.errors import FailedPrecondition, NotFound
from varv.kernel.ids import ModelName
from varv.labels.model import (
    ExplorationLow,
    ExplorationRestored,
    LabelGiven,
    Value,
    said,
)
from varv.labels.policy import LabellingPolicy
from varv.labels.views import Item, Labelled, Window
from varv.stats.intervals import wilson

MOST_WINDOWS = 7
"""Windows that are chosen from after a while in which nobody labelled; earlier ones are passed over."""
GRACE = Duration(10 * MINUTE)
"""After its end a window is not chosen from for so long: what was asked last may still be on its way."""
EXPLORED_OVER = 30
"""Windows over which it is told how much is explored."""
CERTAINTY = 0.998
"""Of the interval of what is explored: one false alarm in a thousand windows that are just as declared."""


def due_windows(
    chosen_until: Instant, first: Instant | None, now: Instant, every: Duration
) -> list[tuple[Instant, Instant]]:
    """Return the windows, of whole multiples of `every` since 1970, that have ended and were not chosen from.

    Parameters
    ----------
    first
        The time of the first request ever; None if there was none.
    """
    if first is None:
        return []
    latest = now - GRACE
    end = latest - latest % every
    start = max(chosen_until, first - first % every, end - MOST_WINDOWS * every)
    start += -start % every
    return [(Instant(at), Instant(at + every)) for at in range(start, end, every)]


def n_needed(item: Item) -> int:
    """Return how many more labels a request needs: one beyond those there are, where they differ."""
    if item.settled is not None:
        return 0
    return max(1, item.n_labels - len(item.labels))


def to_show(labelled: Labelled, by: str, n: int, now: Instant) -> list[Item]:
    """Return the requests that a labeller is shown: what they have, then what needs a label and nobody has.

    A request is never shown to somebody who has labelled it, or given it back.
    """
    own = [item for item in _open(labelled) if by in item.leased(now)]
    free = [
        item
        for item in _open(labelled)
        if by not in item.leased(now)
        and by not in item.returned
        and all(label.by != by for label in item.labels)
        and len(item.leased(now)) < n_needed(item)
    ]
    return [*own, *free][:n]


def _open(labelled: Labelled) -> Iterator[Item]:
    return (item for item in labelled.items.values() if item.settled is None)


def label(
    model: ModelName, labelled: Labelled, key: str, by: str, value: Value | None, note: str, now: Instant
) -> LabelGiven | None:
    """Return the fact that a labeller labels a request; None if it is on record already.

    Two equal labels settle a request that two people label; of more that differ, the first value that two
    have said.

    Raises
    ------
    NotFound
        If the request is not in the queue.
    FailedPrecondition
        If it is not theirs to label: settled, labelled by them otherwise, or not leased to them any more.
    """
    item = _in_queue(model, labelled, key)
    own = [one for one in item.labels if one.by == by]
    if own and own[0].said == said(value):
        return None
    if own or item.settled is not None:
        before = own[0] if own else item.settled
        assert before is not None, "one of the two is there"
        hint = "a label stays; correct it by feedback.give, where revisions are declared"
        problem = f"was labelled {before.said} by {before.by} on {iso(before.at)[:10]}"
        raise FailedPrecondition("request", key[:80], problem, hint=hint)
    if by not in item.leased(now):
        hint = f"take it again: varv labels take {model} --by {by}"
        raise FailedPrecondition("request", key[:80], f"is not leased to {by}", hint=hint)
    votes = Counter(one.said for one in item.labels)
    settles = item.n_labels == 1 or votes[said(value)] >= 1
    return LabelGiven(model=model, key=key, by=by, value=value, note=note, settles=settles)


def require_open(model: ModelName, labelled: Labelled, key: str) -> None:
    """Check that a request waits for a label.

    Raises
    ------
    NotFound
        If it is not in the queue.
    FailedPrecondition
        If it is settled.
    """
    settled = _in_queue(model, labelled, key).settled
    if settled is not None:
        problem = f"was labelled {settled.said} by {settled.by} on {iso(settled.at)[:10]}"
        raise FailedPrecondition("request", key[:80], problem, hint="see varv labels ls for those that wait")


def _in_queue(model: ModelName, labelled: Labelled, key: str) -> Item:
    item = labelled.items.get(key)
    if item is None:
        raise NotFound("request", key[:80], "is not in the queue", hint=f"see varv labels ls {model}")
    return item


def chances(items: Sequence[Item], windows: Sequence[Window]) -> dict[str, float]:
    """Return, by key, the probability of having been chosen and labelled, of requests of the queue; 0 where
    that has not happened.

    Of the requests of a window that were chosen for one cause, those that are labelled are any of them, since
    they come in the order of their coins.
    """
    ends = [one.until for one in windows]
    strata = [(bisect_right(ends, item.requested_at), item.cause) for item in items]
    n_chosen = Counter(strata)
    n_settled = Counter(one for one, item in zip(strata, items, strict=True) if item.settled is not None)
    return {
        item.key: item.probability * n_settled[one] / n_chosen[one] if item.settled is not None else 0.0
        for one, item in zip(strata, items, strict=True)
    }


def explored(windows: Sequence[Window]) -> tuple[int, int]:
    """Return of how many of the latest requests the outcome is seen by chance, and of how many in all."""
    latest = windows[-EXPLORED_OVER:]
    return sum(one.n_explored for one in latest), sum(one.n_all for one in latest)


def exploration(
    model: ModelName, labelled: Labelled, window: Window, policy: LabellingPolicy
) -> Event | None:
    """Return the alarm that one more window raises or ends; None for neither."""
    windows = [*labelled.windows, window][-EXPLORED_OVER:]
    n_explored, n = explored(windows)
    if not policy.explored or not n:
        return None
    found = wilson(n_explored, n, confidence=CERTAINTY)
    if found.high < policy.explored and labelled.low is None:
        return ExplorationLow(
            model=model,
            since=windows[0].since,
            until=window.until,
            share=round(found.value, 6),
            high=round(found.high, 6),
            declared=policy.explored,
        )
    if found.value >= policy.explored and labelled.low is not None:
        return ExplorationRestored(model=model, until=window.until, share=round(found.value, 6))
    return None
