"""Nouns and events of monitoring: what was measured in which window, and which alarms came of it.

Instants are microseconds UTC, losses are in the unit of the task. A number that could not be computed is
None, never NaN.
"""

from __future__ import annotations

import msgspec

from varv.kernel.clock import Instant, as_datetime
from varv.kernel.codec import Event, event
from varv.kernel.ids import ModelName, Version
from varv.kernel.wording import count, limits, number
from varv.monitoring.evidence import Number, evidence_line
from varv.monitoring.kinds import Measured
from varv.monitoring.plan import MonitorPlan
from varv.tasks import TaskSpec, task_of


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

    `p_value` holds for a year of looks at this one feature. `harm` is the mean loss beyond what is usual of
    the rows whose value lies in an over-represented bin, `harm_low` its 95 % day-clustered lower limit,
    `harm_p_value` the evidence for harm. `harmful` is decided with all drifted features together (Holm).
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
    """Requests with a score and an outcome; with a score, where there is no outcome."""
    missing_share: float | None
    """Share of requests whose outcome had not come when the window was measured; None where none ever
    comes.
    """
    role: str = CHAMPION
    """``"champion"``, or ``"candidate"`` for what a rollout let a new version answer."""
    task: TaskSpec = TaskSpec()
    """What the model predicts; binary in what was written before there were others."""
    measured: dict[str, Measured] = msgspec.field(default_factory=dict)
    """Every number of the task by its name: losses, metrics and signals, and what monitors of other packages
    measure; none in what was written before there were other tasks.
    """
    # From here on, the numbers of the binary task under the names that they always had.
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

    def numbers(self) -> dict[str, Measured]:
        """Return every number by its name, whenever it was written."""
        return self.measured or _of_binary_fields(self)

    def watched(self) -> dict[str, tuple[float, float]]:
        """Return the numbers that a monitor can watch day by day: value and standard error from rows alone.

        What could not be computed is left out. What was written before errors were kept counts as exact.
        """
        return {name: (one.value, one.error) for name, one in self.numbers().items() if one.error is not None}

    def loss(self) -> Measured | None:
        """Return the default loss of the task; None where there is none, or no outcome came."""
        return self.numbers().get(task_of(self.task).default_loss or "")

    def line(self) -> str:
        """Return one line on what this event states."""
        task, loss = task_of(self.task), self.loss()
        role = " as candidate" if self.role == CANDIDATE else ""
        subject = f"v{self.version}{role} {as_datetime(self.window.start):%Y-%m-%d}"
        if task.loss is None:
            return f"{subject}: n {count(self.n)}"
        value, low, high = (None, None, None) if loss is None else (loss.value, loss.low, loss.high)
        return f"{subject}: {task.loss.label} {limits(value, low, high, task.loss.digits)}, n {count(self.n)}"


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
    judged: bool = True
    """Whether harm could be judged: without outcomes drift is a notice, never an alarm."""

    def line(self) -> str:
        """Return one line on what this event states."""
        n_drifted = sum(feature.drifted for feature in self.features)
        n_harmful = sum(feature.harmful for feature in self.features)
        of = f"{n_drifted} of {len(self.features)} features drifted"
        if not self.judged:
            return f"{of}, n {count(self.n)}; a notice, since no outcome can show harm"
        return f"{of}, {n_harmful} harmful, n {count(self.n)}"


@event("monitoring.alarm_raised")
class AlarmRaised(Event, frozen=True, kw_only=True):
    """Something about the watched version got worse, beyond the stated rate of false alarms."""

    model: ModelName
    version: Version
    kind: str
    """``"performance"``, ``"calibration"`` or ``"drift"``, or what a monitor of another package calls it."""
    subject: str
    """The signal or the feature."""
    severity: str
    """``"critical"`` when predictions as a whole got worse, ``"warning"`` when those of a part did."""
    evidence: dict[str, float]
    """What decided: for a signal the mean over the run of `days`, with 95 % limits `low` and `high`."""
    window: Window
    number: Number = Number()

    def line(self) -> str:
        """Return one line on what this event states."""
        alarm = f"{self.severity} {self.kind} alarm on {self.subject} of v{self.version}"
        return f"{alarm}: {self.evidence_line()}"

    def evidence_line(self) -> str:
        """Return the evidence in words, the numbers that decided first."""
        return evidence_line(self.evidence, self.subject, self.number)


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


def _of_binary_fields(one: PerformanceMeasured) -> dict[str, Measured]:
    """Return the numbers of a measurement of before every number had a name of its own."""
    bias = one.bias
    if bias is None and one.base_rate is not None and one.mean_score is not None:
        bias = one.base_rate - one.mean_score
    # What was written before errors were kept counts as exact.
    exact = 0.0 if one.scored is None else None
    fields = {
        "log_loss": (one.log_loss, one.log_loss_low, one.log_loss_high, None),
        "auc": (one.auc, one.auc_low, one.auc_high, one.auc_error if one.auc_error is not None else exact),
        "ece": (one.ece, None, None, None),
        "base_rate": (one.base_rate, None, None, None),
        "excess_loss": (
            one.excess_loss,
            one.excess_loss_low,
            one.excess_loss_high,
            one.excess_loss_error if one.excess_loss_error is not None else exact,
        ),
        "bias": (
            bias,
            one.bias_low,
            one.bias_high,
            one.bias_error if one.bias_error is not None else exact,
        ),
    }
    return {
        name: Measured(value, low, high, error)
        for name, (value, low, high, error) in fields.items()
        if value is not None
    }
