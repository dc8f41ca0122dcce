"""One watched number of a model: its level, how its days spread, and its CUSUM.

Pure functions of a `Signal`; `monitoring.rules` feeds it days and turns what it shows into alarms. What
predictions promise has a level that is known: an excess loss is zero for a calibrated model, and so is its
bias. How much their days vary is learned from every version of the model together, so a version that was
approved in a storm is not alarming when the sun comes out. An AUC or the loss of a regression has no such
level: it is learned from the version's reference days and its quiet days.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache

import msgspec

from varv.kernel.clock import DAY, Instant
from varv.monitoring.evidence import Number
from varv.monitoring.model import SignalBaseline, SignalDay
from varv.monitoring.plan import MonitorPlan
from varv.stats import change
from varv.stats.change import DaySums
from varv.tasks import SignalSpec, task_of

FEWEST_LEVEL_DAYS = 5
"""A level that has to be learned is watched once so many days are known."""

_NORMAL, _CERTAIN = 1.96, 3.3
"""Standard errors of a 95 % interval, and those from which a version is taken as biased."""


class Signal(msgspec.Struct, frozen=True):
    """One watched number. Sums of days are taken about `centre`, so are `allowed` and `previous`.

    A day joins `run` until the chart is back at zero; then the run was quiet and joins `own`. So a change
    does not widen the spread that it is judged by.
    """

    kind: str
    source: str
    """The number's name in what was measured: ``"excess_loss"``, ``"loss"``, ``"bias"``..."""
    direction: int
    """1 when more is worse, -1 when less is."""
    tolerance: float
    run_length_days: float
    centre: float = 0.0
    allowed: float = 0.0
    """How much worse than zero the version was at approval, where that is beyond doubt: known, no change."""
    pool: DaySums = DaySums()
    """Quiet days of earlier versions, each about its own level."""
    own: DaySums = DaySums()
    """Quiet days of this version, reference days included that no earlier version was counted on."""
    level_days: float = 0.0
    level_sum: float = 0.0
    """All reference and quiet days of this version: the level, where it has to be learned."""
    run: DaySums = DaySums()
    """Days since the chart was last at zero."""
    run_days: int = 0
    run_rows: int = 0
    run_variance: float = 0.0
    """Sum of the variances that the days of the run were judged by."""
    previous: float | None = None
    total: float = 0.0
    baseline: SignalBaseline | None = None
    """Only in states of before days were kept one by one; `advanced` makes days of it."""
    learned: bool | None = None
    """Whether what is normal has to be learned from days; None in states of before there were other tasks
    than binary ones, whose signals then say it, as they do of `margin`.
    """
    margin: float | None = None
    """The chart aims at a run length so many times the declared one: bad days lie further out than good
    ones.
    """
    number: Number = Number()
    """How the number reads in an alarm."""

    @property
    def learns_level(self) -> bool:
        """Whether the level has to be learned: an AUC has none that is right for every model."""
        return _of_binary(self.source).learns_level if self.learned is None else self.learned

    @property
    def aim(self) -> float:
        """Days between false alarms that the chart is made for."""
        margin = _of_binary(self.source).margin if self.margin is None else self.margin
        return margin * self.run_length_days

    @property
    def threshold(self) -> float:
        """The total at which an alarm is due."""
        return change.cusum_threshold(self.aim)

    @property
    def level(self) -> float:
        """What a day should show, less the centre: zero, or what was learned."""
        return self.level_sum / self.level_days if self.learns_level and self.level_days else 0.0

    @property
    def own_mean_is_certain(self) -> bool:
        """Whether the version's own days are off the centre beyond doubt: then they spread about their mean.

        Else a bias that everybody knows of would pass for a spread that hides any other.
        """
        return _is_certain(self.pool, self.own, self.aim)


def signals_of(plan: MonitorPlan) -> dict[str, Signal]:
    """Return the signals that `plan` watches, by subject, as yet without a reference."""
    return {
        watch.subject: Signal(
            watch.kind,
            watch.source,
            watch.direction,
            watch.tolerance,
            run_length_days,
            learned=watch.learns_level,
            margin=watch.margin,
            number=Number(watch.label, watch.unit, watch.digits),
        )
        for watch, run_length_days in plan.watches()
    }


def approved(
    signal: Signal,
    days: Sequence[SignalDay],
    baselines: Mapping[str, SignalBaseline],
    *,
    former: Signal | None,
    former_alarmed: bool,
    counted_through: Instant,
) -> Signal:
    """Return the signal as it starts for a newly approved version.

    Parameters
    ----------
    days
        The version's reference days, in order of time.
    baselines
        What is known of them where `days` were not kept.
    former
        The same signal of the version before, whose days say how days spread; None where there was none.
    former_alarmed
        Whether its run is one of an alarm, in which the level moved.
    counted_through
        Days of earlier versions are counted up to here; a reference day before it would count twice.
    """
    pool = DaySums() if former is None else _handed_over(former, alarmed=former_alarmed)
    known = [(day.start, *day.values[signal.source]) for day in days if signal.source in day.values]
    if not known:
        baseline = baselines.get(signal.source)
        bare = msgspec.structs.replace(signal, pool=pool)
        return bare if baseline is None else _old(bare, baseline)
    mean = math.fsum(value for _, value, _ in known) / len(known)
    new = [day for day in known if former is None or day[0] >= counted_through]
    centre, allowed = (mean, 0.0) if signal.learns_level else (0.0, max(0.0, signal.direction * mean))
    if allowed and not _is_certain(pool, _summed(known, 0.0), signal.aim):
        allowed = 0.0
    return msgspec.structs.replace(
        signal,
        pool=pool,
        own=_summed(new, centre),
        centre=centre,
        allowed=allowed,
        level_days=float(len(known)),
    )


def advanced(signal: Signal, value: float, error: float, n_rows: int, *, follows: bool) -> Signal:
    """Return the signal after one more day of `n_rows` labelled rows.

    Parameters
    ----------
    value, error
        The day's value and its standard error from rows alone.
    follows
        Whether the day before was counted too.
    """
    if signal.baseline is not None:
        signal = _old(msgspec.structs.replace(signal, baseline=None, total=0.0), signal.baseline)
    x = value - signal.centre
    if signal.learns_level and signal.level_days < FEWEST_LEVEL_DAYS:
        return _quiet(signal, change.with_day(DaySums(), x, error), x)
    variance = _variance(signal, error)
    worse = signal.direction * (x - signal.level) - signal.allowed - signal.tolerance
    total = change.cusum_step(signal.total, worse / math.sqrt(variance))
    # A capped sum lets an alarm clear within days of the recovery, however long it was open.
    total = min(total, 2 * signal.threshold)
    run = change.with_day(signal.run, x, error, previous=signal.previous if follows else None)
    return msgspec.structs.replace(
        signal,
        run=run,
        run_days=signal.run_days + 1,
        run_rows=signal.run_rows + n_rows,
        run_variance=signal.run_variance + variance,
        previous=x,
        total=total,
    )


def settled(signal: Signal, *, alarmed: bool) -> Signal:
    """Return the signal with its run put away where the chart is back at zero.

    A quiet run tells of the level and the spread. In one of an alarm the level moved, so only its steps from
    day to day count.
    """
    if signal.total > 0.0 or not signal.run_days:
        return signal
    if alarmed:
        own = change.joined(signal.own, change.by_steps(signal.run))
        return msgspec.structs.replace(_without_run(signal), own=own)
    return _quiet(_without_run(signal), signal.run, signal.previous)


def with_former_day(signal: Signal, value: float, error: float) -> Signal:
    """Return the signal with a day of an earlier version that matured after it was replaced."""
    if signal.learns_level:
        return signal
    return msgspec.structs.replace(signal, pool=change.with_day(signal.pool, value, error))


def alarm_evidence(signal: Signal) -> dict[str, float] | None:
    """Return what supports an alarm now; None where there is none.

    The chart must have reached its threshold, and the mean over the run of days must lie beyond what is
    allowed with its whole 95 % interval: an alarm never rests on an interval that says "as it should be".
    """
    threshold = signal.threshold
    if signal.total < threshold:
        return None
    mean = _mean_of_run(signal)
    variance = signal.run_variance / signal.run_days**2
    level_error = _variance(signal, 0.0) / _level_days(signal)
    half = _NORMAL * math.sqrt(variance + level_error)
    beyond = signal.direction * (mean - signal.level) - half
    if beyond <= signal.allowed + signal.tolerance:
        return None
    known = change.spread(_known_days(signal))
    found = {
        "cusum": signal.total,
        "threshold": threshold,
        "days": float(signal.run_days),
        "n": float(signal.run_rows),
        "mean": signal.centre + mean,
        "low": signal.centre + mean - half,
        "high": signal.centre + mean + half,
        "reference": signal.centre + signal.level,
        "sd_of_days": math.sqrt(signal.run_variance / signal.run_days),
        "correlation_of_days": known.correlation,
        "days_known": _known_days(signal).n_days,
        "days_between_false_alarms": signal.run_length_days,
    }
    if signal.allowed + signal.tolerance > 0:
        found["allowed"] = signal.allowed + signal.tolerance
    return found


def _variance(signal: Signal, error: float) -> float:
    """The variance that a day of this standard error is judged by."""
    known = change.spread(_known_days(signal))
    factor = change.widening(signal.aim, freedom=known.freedom, level_days=_level_days(signal))
    # Rows of a size that was never seen before are no reason to divide by nothing.
    return factor**2 * max(error**2 + known.extra, 1e-12)


def _level_days(signal: Signal) -> float:
    """From how many days the level is known that days are compared with; zero is known without any."""
    return signal.level_days if signal.learns_level or signal.allowed else math.inf


def _known_days(signal: Signal) -> DaySums:
    about_mean = signal.learns_level or signal.own_mean_is_certain
    days = change.joined(signal.pool, change.about_mean(signal.own) if about_mean else signal.own)
    # Where nothing is known of days yet, nothing that they show is an alarm.
    return days if days.n_days >= 1 else DaySums(n_days=1.0, square=1.0)


def _summed(days: Sequence[tuple[Instant, float, float]], centre: float) -> DaySums:
    found, previous, before = DaySums(), None, None
    for start, value, error in days:
        follows = before is not None and start - before == DAY
        found = change.with_day(found, value - centre, error, previous=previous if follows else None)
        previous, before = value - centre, start
    return found


def _is_certain(pool: DaySums, own: DaySums, run_length_days: float) -> bool:
    """Whether the mean of `own` is off zero by more than storms do: they last, and look like a bias."""
    about_mean = change.about_mean(own)
    if about_mean.n_days < FEWEST_LEVEL_DAYS - 1:
        return False
    known = change.spread(change.joined(pool, about_mean))
    factor = change.widening(run_length_days, freedom=known.freedom)
    error = factor * math.sqrt(max(known.noise + known.extra, 1e-12) / own.n_days)
    return abs(own.value / own.n_days) > _CERTAIN * error


def _handed_over(signal: Signal, *, alarmed: bool) -> DaySums:
    run = change.by_steps(signal.run) if alarmed else signal.run
    own = change.joined(signal.own, run)
    about_mean = signal.learns_level or signal.own_mean_is_certain
    return change.joined(signal.pool, change.about_mean(own) if about_mean else own)


def _old(signal: Signal, baseline: SignalBaseline) -> Signal:
    """A reference of before its days were kept: as if each day were one deviation off."""
    own = DaySums(n_days=float(baseline.n_days), square=baseline.n_days * baseline.sd**2)
    centre = baseline.mean if signal.learns_level else 0.0
    return msgspec.structs.replace(signal, centre=centre, own=own, level_days=float(baseline.n_days))


def _quiet(signal: Signal, days: DaySums, previous: float | None) -> Signal:
    quiet = msgspec.structs.replace(signal, own=change.joined(signal.own, days), previous=previous)
    if not signal.learns_level:
        return quiet
    n, total = signal.level_days + days.n_days, signal.level_sum + days.value
    return msgspec.structs.replace(quiet, level_days=n, level_sum=total)


def _without_run(signal: Signal) -> Signal:
    return msgspec.structs.replace(signal, run=DaySums(), run_days=0, run_rows=0, run_variance=0.0)


def _mean_of_run(signal: Signal) -> float:
    return signal.run.value / signal.run.n_days


@cache
def _of_binary(name: str) -> SignalSpec:
    return next(signal for signal in task_of("binary").signals if signal.name == name)
