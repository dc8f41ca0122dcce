"""Nouns and events of monitoring: what was measured in which window, and which alarms came of it.

Instants are microseconds UTC, losses are nats. A number that could not be computed is None, never NaN.
"""

from __future__ import annotations

import msgspec

from varv.kernel.clock import Instant, as_datetime
from varv.kernel.codec import Event, event
from varv.kernel.ids import ModelName, Version
from varv.kernel.wording import count, limits, number
from varv.monitoring.evidence import evidence_line
from varv.monitoring.monitor import MonitorPlan


def monitor_id(model: ModelName | str) -> str:
    """Return the id of the saga that is the monitor of a model, which is also the stream of its events."""
    return f"monitor/{model}"


class Window(msgspec.Struct, frozen=True, order=True):
    """A span of request time, `end` excluded."""

    start: Instant
    end: Instant


class SignalBaseline(msgspec.Struct, frozen=True):
    """A daily value over the reference days: its mean and its standard deviation."""

    mean: float
    sd: float
    n_days: int


class SignalDay(msgspec.Struct, frozen=True):
    """The watched numbers of one reference day: value, and standard error from its rows alone, by name."""

    start: Instant
    values: dict[str, tuple[float, float]]


class ScoreCounts(msgspec.Struct, frozen=True):
    """How often each score came with either outcome, in the cells of `stats.ranking.score_cells`.

    Counts of several windows add up, so the AUC of a month follows from its days. `first` is the first cell
    counted.
    """

    first: int
    positives: tuple[int, ...]
    negatives: tuple[int, ...]


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
    """From here on the version answers as champion: days that end earlier do not count."""
    days: tuple[SignalDay, ...] = ()
    """The reference days one by one; none in what was written before they were kept."""


CHAMPION, CANDIDATE = "champion", "candidate"
"""In which role a version answered."""


@event("monitoring.offset_allowed")
class OffsetAllowed(Event, frozen=True, kw_only=True):
    """A version was shown to be off when it was approved: the monitor knows, and watches for more of it."""

    model: ModelName
    version: Version
    kind: str
    """The kind of alarm that it does not raise for this: ``"performance"`` or ``"calibration"``."""
    subject: str
    allowed: float
    """How far off, in the unit of the signal, always positive."""
    n_days: int
    at: Instant

    def line(self) -> str:
        """Return one line on what this event states."""
        off = f"{self.subject} by {number(self.allowed)} over {count(self.n_days)} days"
        return f"v{self.version} was off when it was approved: {off}; watched for more"


@event("monitoring.performance_measured")
class PerformanceMeasured(Event, frozen=True, kw_only=True):
    """The matured predictions of one version in one window; limits are 95 %, clustered by the hour.

    A version that was champion on a day is measured on every request of its time as champion, another one on
    the requests that it answered.
    """

    model: ModelName
    version: Version
    window: Window
    n_requests: int
    n: int
    """Requests with a score and an outcome."""
    missing_share: float | None
    """Share of requests whose outcome had not come when the window was measured."""
    role: str = CHAMPION
    """``"champion"``, or ``"candidate"`` for what a rollout let a new version answer."""
    log_loss: float | None = None
    log_loss_low: float | None = None
    log_loss_high: float | None = None
    excess_loss: float | None = None
    """Log-loss less what the scores themselves promise; its mean is zero for a calibrated model."""
    excess_loss_low: float | None = None
    excess_loss_high: float | None = None
    excess_loss_error: float | None = None
    """Standard error of the excess loss if the scores are right: from the rows alone, as all `_error`."""
    bias: float | None = None
    """Outcome rate less mean score; its mean is zero for a calibrated model."""
    bias_low: float | None = None
    bias_high: float | None = None
    bias_error: float | None = None
    auc: float | None = None
    """Over the rows of this window; of one day, it is the AUC within that day."""
    auc_low: float | None = None
    auc_high: float | None = None
    auc_error: float | None = None
    ece: float | None = None
    ece_by_chance: float | None = None
    base_rate: float | None = None
    mean_score: float | None = None
    scored: ScoreCounts | None = None

    def watched(self) -> dict[str, tuple[float, float]]:
        """Return the numbers that a monitor can watch day by day: value and standard error from rows alone.

        What could not be computed is left out. What was written before errors were kept counts as exact.
        """
        bias = self.bias
        if bias is None and self.base_rate is not None and self.mean_score is not None:
            bias = self.base_rate - self.mean_score
        found = {
            "excess_loss": (self.excess_loss, self.excess_loss_error),
            "auc": (self.auc, self.auc_error),
            "bias": (bias, self.bias_error),
        }
        errors_are_kept = self.scored is not None
        return {
            name: (value, error or 0.0)
            for name, (value, error) in found.items()
            if value is not None and (error is not None or not errors_are_kept)
        }

    def line(self) -> str:
        """Return one line on what this event states."""
        loss = limits(self.log_loss, self.log_loss_low, self.log_loss_high)
        role = " as candidate" if self.role == CANDIDATE else ""
        day = f"{as_datetime(self.window.start):%Y-%m-%d}"
        return f"v{self.version}{role} {day}: log-loss {loss}, n {count(self.n)}"


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

    def line(self) -> str:
        """Return one line on what this event states."""
        n_drifted = sum(feature.drifted for feature in self.features)
        n_harmful = sum(feature.harmful for feature in self.features)
        of = f"{n_drifted} of {len(self.features)} features"
        return f"{of} drifted, {n_harmful} harmful, n {count(self.n)}"


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
    """What decided: for a signal the mean over the run of `days`, with 95 % limits `low` and `high`."""
    window: Window

    def line(self) -> str:
        """Return one line on what this event states."""
        alarm = f"{self.severity} {self.kind} alarm on {self.subject} of v{self.version}"
        return f"{alarm}: {self.evidence_line()}"

    def evidence_line(self) -> str:
        """Return the evidence in words, the numbers that decided first."""
        return evidence_line(self.evidence, self.subject)


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

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{self.kind} alarm on {self.subject} of v{self.version} cleared: {self.reason}"
