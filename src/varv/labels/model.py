"""What happens to requests that people are to label."""

from __future__ import annotations

from typing import Literal

import msgspec

from varv.kernel.clock import Instant, iso
from varv.kernel.codec import Digest, Event, digest_of, event
from varv.kernel.ids import ModelName
from varv.kernel.wording import count, percent

Value = bool | int | float | str
Cause = Literal["review", "unsure", "diverse", "random"]
"""Why a request is in the queue: its answer was held back, or it is unsure, unlike others, or drawn."""


def stream_of(model: str) -> str:
    """Return the stream of a model's labels."""
    return f"labels/{model}"


class Chosen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request that was chosen, with the probability that it had of being chosen."""

    key: str
    requested_at: Instant
    cause: Cause
    probability: float
    n_labels: int = 1
    """How many people are to label it."""
    part: str = ""
    """The declared slice that it is in; empty for none."""


@event("labels.chosen")
class RequestsChosen(Event, frozen=True, kw_only=True):
    """Of the requests made in [since, until) that had no outcome, these are to be labelled, in this order.

    `n_requests` is how many there were; of all requests of the window, `n_all`, the outcome of `n_explored`
    is seen by chance: they were drawn here, or answered by a candidate whose turn a coin decided.
    """

    model: ModelName
    since: Instant
    until: Instant
    n_requests: int
    n_all: int
    n_explored: int
    chosen: tuple[Chosen, ...]

    def line(self) -> str:
        """Return one line on what this event states."""
        return (
            f"{count(len(self.chosen))} of {count(self.n_requests)} requests of {iso(self.since)[:16]} to be "
            "labelled"
        )


@event("labels.leased")
class RequestsLeased(Event, frozen=True, kw_only=True):
    """Requests are shown to one labeller, and to nobody beyond those who are needed, until an instant."""

    model: ModelName
    keys: tuple[str, ...]
    by: str
    until: Instant

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{count(len(self.keys))} with {self.by} until {iso(self.until)[:16]}"


@event("labels.given")
class LabelGiven(Event, frozen=True, kw_only=True):
    """A labeller said what a request's outcome is, or that it has none and never will.

    `settles` is whether that decides it: then it is an outcome like any other.
    """

    model: ModelName
    key: str
    by: str
    value: Value | None = None
    """None where there is no outcome."""
    note: str = ""
    settles: bool

    @property
    def said(self) -> str:
        """What was said, as a text by which labels are compared."""
        return said(self.value)

    def line(self) -> str:
        """Return one line on what this event states."""
        note = f": {self.note}" if self.note else ""
        return f"{self.key} is {self.said}, by {self.by}{note}"


@event("labels.returned")
class RequestReturned(Event, frozen=True, kw_only=True):
    """A labeller gave a request back unlabelled; it is not shown to them again."""

    model: ModelName
    key: str
    by: str
    note: str = ""

    def line(self) -> str:
        """Return one line on what this event states."""
        note = f": {self.note}" if self.note else ""
        return f"{self.key} given back by {self.by}{note}"


class Remark(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a user said of one prediction, and what that counts for beside others."""

    key: str
    value: Value
    weight: float = 1.0


@event("labels.feedback_given")
class FeedbackGiven(Event, frozen=True, kw_only=True):
    """Users said what the outcome of predictions was; `revised` is whether it replaces what stood before."""

    model: ModelName
    source: str
    known_at: Instant
    remarks: tuple[Remark, ...]
    revised: bool = False

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{count(len(self.remarks))} outcomes from {self.source}"


@event("labels.exploration_low")
class ExplorationLow(Event, frozen=True, kw_only=True):
    """So few outcomes are seen by chance that chance does not explain it: what is learned of is what the
    champion chose.
    """

    model: ModelName
    since: Instant
    until: Instant
    share: float
    high: float
    declared: float

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{percent(self.share)} of requests explored, {percent(self.declared)} declared"


@event("labels.exploration_restored")
class ExplorationRestored(Event, frozen=True, kw_only=True):
    """As many outcomes are seen by chance as are declared, again."""

    model: ModelName
    until: Instant
    share: float

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{percent(self.share)} of requests explored"


@event("labels.erased")
class LabelsErased(Event, frozen=True, kw_only=True):
    """Requests of a subject are not to be labelled any more, and what was said of them does not count; `keys`
    are digests of their keys, which this entry does not name again.
    """

    model: ModelName
    erasure: str
    keys: tuple[Digest, ...]

    @staticmethod
    def digest_of(erasure: str, key: str) -> Digest:
        """Return the digest of a request's key."""
        return digest_of([erasure, key])

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{count(len(self.keys))} requests forgotten ({self.erasure})"


NO_OUTCOME = "no outcome"


def said(value: Value | None) -> str:
    """Return a label as a text by which labels are compared.

    Examples
    --------
    >>> said(True), said(1), said(1.0), said(None)
    ('1', '1', '1', 'no outcome')
    """
    if value is None:
        return NO_OUTCOME
    return value if isinstance(value, str) else f"{float(value):g}"
