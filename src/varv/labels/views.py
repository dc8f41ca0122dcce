"""Read model of labels: what was chosen, who has it, what was said of it, and what feedback came."""

from __future__ import annotations

import msgspec

from varv.kernel.clock import DAY, Duration, Instant
from varv.kernel.codec import Event
from varv.kernel.ledger import Entry
from varv.labels.model import (
    Cause,
    ExplorationLow,
    ExplorationRestored,
    FeedbackGiven,
    LabelGiven,
    LabelsErased,
    RequestReturned,
    RequestsChosen,
    RequestsLeased,
    Value,
)

HELD_FOR = Duration(90 * DAY)
"""Requests that are older wait for nobody, and their labels are only in the ledger."""


class Label(msgspec.Struct, frozen=True):
    """What one labeller said of a request; None is that it has no outcome."""

    by: str
    value: Value | None
    said: str
    at: Instant


class Item(msgspec.Struct):
    """A request that was chosen, and what became of it."""

    key: str
    requested_at: Instant
    cause: Cause
    probability: float
    n_labels: int
    part: str
    labels: list[Label] = []
    leases: dict[str, Instant] = {}
    """By labeller, until when it is theirs."""
    returned: set[str] = set()
    """Who gave it back."""
    settled: Label | None = None

    def leased(self, now: Instant) -> list[str]:
        """Return who has it at an instant."""
        return [by for by, until in self.leases.items() if until > now]


class Window(msgspec.Struct, frozen=True):
    """What a window held: all its requests, those without an outcome, and those seen by chance."""

    since: Instant
    until: Instant
    at: Instant
    """When it was chosen from: what became known later had been unknown."""
    n_all: int
    n_requests: int
    n_explored: int


class Said(msgspec.Struct, frozen=True):
    """What a source said of a prediction last."""

    source: str
    value: Value
    weight: float
    known_at: Instant


class Labelled(msgspec.Struct):
    """The labels of one model."""

    chosen_until: Instant = Instant(0)
    items: dict[str, Item] = {}
    """By key, in the order in which they are shown."""
    windows: list[Window] = []
    feedback: dict[str, Said] = {}
    low: ExplorationLow | None = None
    """The alarm on too little exploration, while it stands."""

    def choose(self, event: RequestsChosen, at: Instant) -> None:
        """Take in a window, and let go of what is too old."""
        since = at - HELD_FOR
        self.chosen_until = event.until
        self.items = {key: one for key, one in self.items.items() if one.requested_at >= since}
        self.feedback = {key: one for key, one in self.feedback.items() if one.known_at >= since}
        self.windows = [one for one in self.windows if one.until >= since]
        self.windows.append(
            Window(event.since, event.until, at, event.n_all, event.n_requests, event.n_explored)
        )
        for one in event.chosen:
            self.items.setdefault(
                one.key,
                Item(one.key, one.requested_at, one.cause, one.probability, one.n_labels, one.part),
            )


class LabelsView(msgspec.Struct):
    """By model, what is to be labelled and what was."""

    models: dict[str, Labelled] = {}

    def of(self, model: str) -> Labelled:
        """Return the labels of a model; none if there are none."""
        return self.models.get(model) or Labelled()

    def apply(self, entry: Entry, event: Event) -> None:
        """Fold one entry in."""
        at = Instant(entry.at)
        match event:
            case RequestsChosen():
                self._of(event.model).choose(event, at)
            case RequestsLeased():
                self._lease(event)
            case LabelGiven():
                self._give(event, at)
            case RequestReturned():
                if (item := self._of(event.model).items.get(event.key)) is not None:
                    item.leases.pop(event.by, None)
                    item.returned.add(event.by)
            case FeedbackGiven():
                said = self._of(event.model).feedback
                for one in event.remarks:
                    said[one.key] = Said(event.source, one.value, one.weight, event.known_at)
            case LabelsErased():
                self._erase(event)
            case ExplorationLow():
                self._of(event.model).low = event
            case ExplorationRestored():
                self._of(event.model).low = None
            case _:
                pass

    def _of(self, model: str) -> Labelled:
        return self.models.setdefault(model, Labelled())

    def _lease(self, event: RequestsLeased) -> None:
        items = self._of(event.model).items
        for key in event.keys:
            if key in items:
                items[key].leases[event.by] = event.until

    def _erase(self, event: LabelsErased) -> None:
        labelled, gone = self._of(event.model), set(event.keys)

        def stays(key: str) -> bool:
            return LabelsErased.digest_of(event.erasure, key) not in gone

        labelled.items = {key: one for key, one in labelled.items.items() if stays(key)}
        labelled.feedback = {key: one for key, one in labelled.feedback.items() if stays(key)}

    def _give(self, event: LabelGiven, at: Instant) -> None:
        item = self._of(event.model).items.get(event.key)
        if item is None:
            return
        label = Label(event.by, event.value, event.said, at)
        item.leases.pop(event.by, None)
        item.labels.append(label)
        if event.settles:
            item.settled = label
            item.leases.clear()
