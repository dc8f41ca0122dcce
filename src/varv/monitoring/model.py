"""Nouns and events of monitoring: what was measured in which window, and which alarms came of it.

Instants are microseconds UTC, losses are nats. A number that could not be computed is None, never NaN.
"""

from __future__ import annotations

import msgspec

from varv.kernel.clock import Instant
from varv.kernel.codec import Event, event
from varv.kernel.ids import ModelName, Version
from varv.monitoring.monitor import MonitorPlan


class Window(msgspec.Struct, frozen=True, order=True):
    """A span of request time, `end` excluded."""

    start: Instant
    end: Instant


class SignalBaseline(msgspec.Struct, frozen=True):
    """A daily value over the reference days: its mean and the long-run standard deviation of days."""

    mean: float
    sd: float
    n_days: int


class FeatureDrift(msgspec.Struct, frozen=True, kw_only=True):
    """How one feature of a window differs from the reference.

    `p_value` holds for a year of looks at this one feature. `harm` is the mean excess loss of the rows whose
    value lies in an over-represented bin, `harm_low` its 95 % day-clustered lower limit, `harm_p_value` the
    evidence for harm. `harmful` is decided with all drifted features together (Holm).
    """

    name: str
    psi: float
    ks: float | None
    """Largest gap of the distribution functions at the reference's deciles; None for categories."""
    p_value: float
    missing_share: float
    drifted: bool
    harm: float | None = None
    harm_low: float | None = None
    harm_p_value: float | None = None
    harm_share: float = 0.0
    """Share of the labelled rows that lie in over-represented bins."""
    harmful: bool = False


@event("monitoring.reference_set")
class ReferenceSet(Event, frozen=True, kw_only=True):
    """A version became the one to be watched: forget the sums of the version before it."""

    model: ModelName
    version: Version
    plan: MonitorPlan
    signals: dict[str, SignalBaseline]
    reference: str
    """Digest of the whole `Reference`."""
    at: Instant
    """Days that begin earlier do not count."""


@event("monitoring.performance_measured")
class PerformanceMeasured(Event, frozen=True, kw_only=True):
    """The matured predictions of one version in one window; limits are 95 %, clustered by the hour."""

    model: ModelName
    version: Version
    window: Window
    n_requests: int
    n: int
    """Requests with a score and an outcome."""
    missing_share: float | None
    """Share of requests whose outcome had not come when the window was measured."""
    log_loss: float | None = None
    log_loss_low: float | None = None
    log_loss_high: float | None = None
    excess_loss: float | None = None
    excess_loss_low: float | None = None
    excess_loss_high: float | None = None
    auc: float | None = None
    auc_low: float | None = None
    auc_high: float | None = None
    ece: float | None = None
    ece_by_chance: float | None = None
    base_rate: float | None = None
    mean_score: float | None = None

    def watched(self) -> dict[str, float]:
        """Return the numbers that a monitor can watch day by day, those that could be computed."""
        bias = None
        if self.base_rate is not None and self.mean_score is not None:
            bias = self.base_rate - self.mean_score
        found = {"excess_loss": self.excess_loss, "auc": self.auc, "bias": bias}
        return {name: value for name, value in found.items() if value is not None}


@event("monitoring.drift_measured")
class DriftMeasured(Event, frozen=True, kw_only=True):
    """The features of a trailing window against the reference of one version."""

    model: ModelName
    version: Version
    window: Window
    n: int
    n_days: int
    features: tuple[FeatureDrift, ...]
    share_drifted: float


@event("monitoring.alarm_raised")
class AlarmRaised(Event, frozen=True, kw_only=True):
    """Something about the watched version got worse, beyond the stated rate of false alarms."""

    model: ModelName
    version: Version
    kind: str
    """``"performance"``, ``"calibration"`` or ``"drift"``."""
    subject: str
    """The signal or the feature."""
    severity: str
    """``"critical"`` when predictions as a whole got worse, ``"warning"`` when those of a part did."""
    evidence: dict[str, float]
    window: Window


@event("monitoring.alarm_cleared")
class AlarmCleared(Event, frozen=True, kw_only=True):
    """An alarm no longer holds."""

    model: ModelName
    version: Version
    kind: str
    subject: str
    reason: str
    """``"recovered"`` or ``"new version"``."""
    window: Window
