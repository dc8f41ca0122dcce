"""The use cases of labelling: look at the queue, take requests, label them, give them back."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec
import polars as pl

from varv.home.labelling.desk import LabelledModel, Labelling
from varv.home.labelling.windows import HISTORY, candidates, feature_names, n_by_coin, shown
from varv.home.review.model import ReviewDecided
from varv.kernel.clock import Instant, iso
from varv.kernel.codec import Event
from varv.kernel.errors import InvalidInput
from varv.kernel.verbs import EXPORT, OPERATE, READ, verb
from varv.labels import LabelsView, rules
from varv.labels.choosing import choose
from varv.labels.model import LabelGiven, RequestReturned, RequestsChosen, RequestsLeased, Value, said
from varv.labels.views import Item, Window

MOST_TAKEN = 100
"""Requests that one labeller has at a time."""
LONGEST = 1000
"""Characters of a note."""
LONGEST_NAME = 80


class QueueRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a model; the only one of the home if it is left out."""

    model: str = ""


class TakeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Says who labels, and how many requests they want."""

    model: str = ""
    by: str
    n: int = 1


class GiveRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Says what the outcome of a request is, or, without a value, that it has none and never will."""

    model: str = ""
    key: str
    by: str
    value: Value | None = None
    no_outcome: bool = False
    note: str = ""


class ReturnRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a request that a labeller gives back unlabelled."""

    model: str = ""
    key: str
    by: str
    note: str = ""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A request of the queue: why it was chosen, with which probability, and where it is."""

    key: str
    requested_at: str
    cause: str
    part: str
    probability: float
    state: str
    """``"open"``, ``"leased"``, ``"labelled"`` or ``"no outcome"``."""
    labels: tuple[str, ...]
    """What was said of it and by whom; only of requests that are settled."""
    leased_to: tuple[str, ...]
    """Who has it."""


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """The queue of a model: how many requests are in which state, and the first of those that are open."""

    model: str
    policy: str
    chosen_until: str
    n_open: int
    n_leased: int
    n_labelled: int
    n_no_outcome: int
    by_cause: dict[str, int]
    """Of all requests in the queue."""
    alarm: str
    """Why too little is explored; empty if enough is, or none is declared."""
    items: tuple[Waiting, ...]


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A request that a labeller is asked about: its features, and until when it is theirs. What the model
    said of it is left out, since who sees that agrees with it too often.
    """

    model: str
    key: str
    requested_at: str
    asked: str
    """The outcome's name."""
    options: tuple[str, ...]
    """What an outcome can be; empty for any number."""
    features: dict[str, str]
    until: str


class Questions(msgspec.Struct, frozen=True, kw_only=True):
    """The requests that a labeller has, and how many more are open."""

    questions: tuple[Question, ...]
    n_open: int


class LabelTaken(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a label: whether it settles its request, and is its outcome."""

    model: str
    key: str
    said: str
    settled: bool
    n_needed: int
    """How many more people are to label it."""


MOST_LISTED = 200


@verb("labels.queue", needs=READ)
def queue(labelling: Labelling, asked: QueueRequest) -> Queue:
    """Show the queue of requests that people are to label."""
    of, now = labelling.model(asked.model), labelling.clock.now()
    with labelling.views.reading(LabelsView) as view:
        labelled = view.of(of.name)
        items = [_waiting(item, now) for item in labelled.items.values()]
        low, until = labelled.low, labelled.chosen_until
    states = [one.state for one in items]
    causes = [one.cause for one in items]
    ordered = sorted(items, key=lambda one: one.state not in ("open", "leased"))
    return Queue(
        model=of.name,
        policy=of.policy.line,
        chosen_until=iso(until) if until else "",
        n_open=states.count("open"),
        n_leased=states.count("leased"),
        n_labelled=states.count("labelled"),
        n_no_outcome=states.count("no outcome"),
        by_cause={cause: causes.count(cause) for cause in dict.fromkeys(causes)},
        alarm="" if low is None else low.line(),
        items=tuple(ordered[:MOST_LISTED]),
    )


def _waiting(item: Item, now: Instant) -> Waiting:
    leased = tuple(item.leased(now))
    settled = item.settled
    state = "leased" if leased else "open"
    if settled is not None:
        state = "no outcome" if settled.value is None else "labelled"
    return Waiting(
        key=item.key,
        requested_at=iso(item.requested_at),
        cause=item.cause,
        part=item.part,
        probability=item.probability,
        state=state,
        labels=tuple(f"{one.said} by {one.by}" for one in item.labels) if settled is not None else (),
        leased_to=leased,
    )


@verb("labels.take", needs=OPERATE)
def take(labelling: Labelling, asked: TakeRequest) -> Questions:
    """Lease requests to a labeller, and renew what they have already; windows that have ended are chosen from
    first.

    Raises
    ------
    InvalidInput
        If the labeller has no name, or wants no request or too many.
    """
    of, by = labelling.model(asked.model), labeller(asked.by)
    n = _number_of(asked)
    choose_due(labelling, of)
    now = labelling.clock.now()
    until = Instant(now + of.policy.lease)

    def lease() -> list[Event]:
        with labelling.views.reading(LabelsView) as view:
            items = rules.to_show(view.of(of.name), by, n, now)
            keys = tuple(item.key for item in items)
        return [RequestsLeased(model=of.name, keys=keys, by=by, until=until)] if keys else []

    made = labelling.record(of.name, lease)
    keys = made[0].keys if made and isinstance(made[0], RequestsLeased) else ()
    return Questions(
        questions=questions(labelling, of, keys, until),
        n_open=queue(labelling, QueueRequest(model=of.name)).n_open,
    )


@verb("labels.mine", needs=EXPORT)
def mine(labelling: Labelling, asked: TakeRequest) -> Questions:
    """Show the requests that a labeller has at present; nothing is leased by that."""
    of, by, now = labelling.model(asked.model), labeller(asked.by), labelling.clock.now()
    with labelling.views.reading(LabelsView) as view:
        held = [item for item in view.of(of.name).items.values() if by in item.leased(now)]
        leases = {item.key: item.leases[by] for item in held[: _number_of(asked)]}
    found = questions(labelling, of, list(leases), min(leases.values(), default=now))
    return Questions(questions=found, n_open=queue(labelling, QueueRequest(model=of.name)).n_open)


def questions(
    labelling: Labelling, of: LabelledModel, keys: Sequence[str], until: Instant
) -> tuple[Question, ...]:
    """Return what a labeller is asked about requests of the queue."""
    with labelling.views.reading(LabelsView) as view:
        items = view.of(of.name).items
        times = {key: items[key].requested_at for key in keys if key in items}
    rule = of.outcome.task.rule()
    found: list[Question] = []
    for key, at in times.items():
        rows = labelling.rows(of.name, at, at + 1).filter(pl.col("key") == key)
        features = (
            shown(rows.row(-1, named=True), feature_names(rows, of.outcome.task)) if rows.height else {}
        )
        found.append(
            Question(
                model=of.name,
                key=key,
                requested_at=iso(at),
                asked=of.outcome.column,
                options=tuple(map(said, rule.values or ())),
                features=features,
                until=iso(until),
            )
        )
    return tuple(found)


@verb("labels.give", needs=OPERATE)
def give(labelling: Labelling, asked: GiveRequest) -> LabelTaken:
    """Label a request; once it is settled, the label is its outcome.

    Raises
    ------
    NotFound
        If the request is not in the queue.
    FailedPrecondition
        If it is not leased to the labeller, or was labelled otherwise.
    InvalidInput
        If the label cannot be an outcome.
    Unavailable
        If no server runs, which takes outcomes in.
    """
    of, by = labelling.model(asked.model), labeller(asked.by)
    _require_one_thing(asked)
    now = labelling.clock.now()
    value = None if asked.value is None else labelling.stored(of, _plain(of, asked.value))

    def say() -> list[Event]:
        with labelling.views.reading(LabelsView) as view:
            labelled = view.of(of.name)
            made = rules.label(of.name, labelled, asked.key, by, value, asked.note, now)
            item = labelled.items[asked.key]
            at, cause = item.requested_at, item.cause
        if made is None:
            return []
        if made.settles and value is not None:
            # Before it is on record: a crash in between leaves a request that is labelled once more, and an
            # outcome that came once, never a label that became none.
            labelling.make_outcomes(of, [(asked.key, value)], now)
        decided = [] if cause != "review" or not made.settles else _decision(labelling, made, at)
        return [made, *decided]

    labelling.record(of.name, say)
    with labelling.views.reading(LabelsView) as view:
        item = view.of(of.name).items[asked.key]
        return LabelTaken(
            model=of.name,
            key=asked.key,
            said=said(value),
            settled=item.settled is not None,
            n_needed=rules.n_needed(item),
        )


def _number_of(asked: TakeRequest) -> int:
    if not 1 <= asked.n <= MOST_TAKEN:
        raise InvalidInput("field", "n", "is not allowed", given=asked.n, hint=f"take 1 to {MOST_TAKEN}")
    return asked.n


def _require_one_thing(asked: GiveRequest) -> None:
    if len(asked.note) > LONGEST:
        raise InvalidInput("field", "note", "is too long", hint=f"{LONGEST} characters at most")
    if (asked.value is None) != asked.no_outcome:
        hint = "give a value, or no_outcome, and not both"
        raise InvalidInput("field", "value", "says nothing, or two things", hint=hint)


def labeller(by: str) -> str:
    """Return who labels.

    Raises
    ------
    InvalidInput
        If it is no name.
    """
    name = by.strip()
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        hint = f"give a name of 1 to {LONGEST_NAME} characters: --by ana"
        raise InvalidInput("labeller", name[:80], "is no name", hint=hint)
    return name


def _plain(of: LabelledModel, value: Value) -> Value:
    """Return a label as its type, where it was sent as a text: forms and command lines know no other."""
    rule = of.outcome.task.rule()
    if not isinstance(value, str) or any(isinstance(one, str) for one in rule.values or ()):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return int(number) if number.is_integer() else number


def _decision(labelling: Labelling, made: LabelGiven, at: Instant) -> list[Event]:
    """Return the decision that a label is, of a request that waited for one."""
    if made.key in labelling.reviews.decided(made.model):
        return []
    return [
        ReviewDecided(
            model=made.model, key=made.key, requested_at=at, decision=made.said, by=made.by, note=made.note
        )
    ]


@verb("labels.return", needs=OPERATE)
def give_back(labelling: Labelling, asked: ReturnRequest) -> Queue:
    """Give a request back unlabelled; somebody else is asked about it."""
    of, by = labelling.model(asked.model), labeller(asked.by)
    event = RequestReturned(model=of.name, key=asked.key, by=by, note=asked.note[:LONGEST])

    def back() -> list[Event]:
        with labelling.views.reading(LabelsView) as view:
            rules.require_open(of.name, view.of(of.name), asked.key)
        return [event]

    labelling.record(of.name, back)
    return queue(labelling, QueueRequest(model=of.name))


def choose_due(labelling: Labelling, of: LabelledModel) -> None:
    """Choose from the windows that have ended since the last one that was chosen from."""
    now, every = labelling.clock.now(), of.policy.every
    with labelling.views.reading(LabelsView) as view:
        chosen_until = view.of(of.name).chosen_until
    first = labelling.tables.first_request(of.name)
    for since, until in rules.due_windows(chosen_until, first, now, every):
        labelling.record(of.name, partial(_chosen, labelling, of, since, until))


def _chosen(labelling: Labelling, of: LabelledModel, since: Instant, until: Instant) -> list[Event]:
    with labelling.views.reading(LabelsView) as view:
        if view.of(of.name).chosen_until >= until:
            return []
    rows = labelling.rows(of.name, since, until)
    if rows.is_empty():
        return []
    history = labelling.with_outcome(of, since - HISTORY, since, [one.column for one in of.policy.slices])
    waiting: list[str] = []
    if of.review:
        waiting = labelling.reviews.waiting(of.name, of.review)["key"].to_list()
    found = candidates(rows, history, of.outcome.task, of.policy, waiting)
    chosen = choose(found, of.policy, f"{of.name}/{since}")
    n_explored = n_by_coin(rows) + sum(one.cause == "random" for one in chosen)
    event = RequestsChosen(
        model=of.name,
        since=since,
        until=until,
        n_requests=len(found.keys),
        n_all=rows.height,
        n_explored=min(n_explored, rows.height),
        chosen=chosen,
    )
    window = Window(since, until, labelling.clock.now(), event.n_all, event.n_requests, event.n_explored)
    with labelling.views.reading(LabelsView) as view:
        labelled = view.of(of.name)
        alarm = rules.exploration(of.name, labelled, window, of.policy)
    return [event] if alarm is None else [event, alarm]
