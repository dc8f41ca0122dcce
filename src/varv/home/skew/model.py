"""What is on record of skew: an hour of a model's requests, compared."""

from __future__ import annotations

import msgspec

from varv.features.reads import Reads
from varv.features.skew import SKEW, FeatureSkew
from varv.kernel.clock import HOUR, Duration, spoken
from varv.kernel.codec import Event, event
from varv.kernel.ids import ModelName
from varv.kernel.wording import count
from varv.monitoring.model import Window

CORRELATION = "correlation"
"""The kind of the alarm on two features that no longer go together as they did."""
OF_FEATURES = frozenset({SKEW, CORRELATION})
"""The kinds of alarms on features that are served."""
EVERY = HOUR
SETTLES = HOUR
"""How long after its end an hour is compared, so that rows that come late have come."""
TOLERANCE = 0.001
"""The share of wrong values that is let pass."""
FALSE_ALARM_EVERY = Duration(3650 * 24 * HOUR)
"""Mean time between false alarms of a model, in hours with requests, while no more than that are wrong."""
CLEARS_AFTER = 24
"""Hours with requests, none of them with a wrong value, after which an alarm is cleared."""


def stream_of(model: str) -> str:
    """Return the stream of what is put on record of a model's skew."""
    return f"skew/{model}"


@event("features.skew_measured")
class SkewMeasured(Event, frozen=True, kw_only=True):
    """A sample of the requests of an hour was compared with what the ledger says of the same instants.

    ``left_out`` are features that could not be compared, each with the reason.
    """

    model: ModelName
    window: Window
    n_requests: int
    n_compared: int
    features: tuple[FeatureSkew, ...]
    left_out: dict[str, str] = msgspec.field(default_factory=dict)

    def line(self) -> str:
        """Return one line on what this event states."""
        apart = [f"{one.name} {one.said()}" for one in self.features if one.equal < one.n]
        of = f"{count(self.n_compared)} of {count(self.n_requests)} requests compared"
        return f"{of}: {'; '.join(apart) or 'all features equal'}"


@event("features.reads_counted")
class ReadsCounted(Event, frozen=True, kw_only=True):
    """Views that declare an age were read by models and online: how often, and how often as fresh as that."""

    window: Window
    views: dict[str, Reads]

    def line(self) -> str:
        """Return one line on what this event states."""
        shares = [
            f"{name} {one.share:.1%} of {count(one.n)} within {spoken(one.fresh)}"
            for name, one in self.views.items()
        ]
        return f"features as fresh as declared: {'; '.join(shares)}"
