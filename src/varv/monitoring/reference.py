"""The reference of a version: what its features and its daily quality were like when it was approved.

Made once from training and validation rows, kept as a blob, compared with every later window by
`monitoring.measure`.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from varv.kernel.clock import Instant
from varv.kernel.codec import Digest, canonical, digest, digest_of
from varv.kernel.errors import Corrupt, InvalidInput
from varv.kernel.ids import ModelName, Version
from varv.monitoring.kinds import Monitor
from varv.monitoring.model import PerformanceMeasured, ReferenceSet, SignalBaseline, SignalDay, Window
from varv.monitoring.performance import measure_performance
from varv.monitoring.plan import MonitorPlan
from varv.monitoring.rows import Labelled, labelled_rows
from varv.monitoring.usual import UsualLosses, usual_losses
from varv.monitoring.windows import cut, day_numbers, day_of, require
from varv.serving.scores import score_columns
from varv.stats import drift, intervals
from varv.tasks import Task

MOST_CATEGORIES = 50
"""More are one category, "other": a bin must be met on most days for its share to mean something."""

FEWEST_ROWS = 20
"""A day of fewer rows says nothing about what days are like."""

FEWEST_DAYS = 5
_THREADS = 2

Codes = npt.NDArray[np.int64]


class FeatureReference(msgspec.Struct, frozen=True, kw_only=True):
    """One feature in the reference period: its bins and how their shares vary from day to day.

    Numeric features have `edges`, texts have `categories`, the most frequent first. The last two bins of
    texts are other texts and missing values; the last bin of numbers is missing values.
    """

    name: str
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] | None = None
    counts: tuple[int, ...]
    profile: drift.DayProfile
    losses: UsualLosses | None = None
    """What losses are usual in each bin; None where predictions promise their loss, or there is none."""


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """What later windows of `version` are compared with."""

    model: ModelName
    version: Version
    features: tuple[FeatureReference, ...]
    signals: dict[str, SignalBaseline]
    """Daily quality on the scored rows, by the task's signals."""
    excess_correlation: float
    """Lag-one autocorrelation of the daily excess loss, or of the loss where none is promised."""
    performance: PerformanceMeasured
    """Quality over all scored rows together."""
    n_days: int
    days: tuple[SignalDay, ...] = ()
    """The scored days one by one; none in a reference made before they were kept."""

    def to_bytes(self) -> bytes:
        """Return the canonical JSON; its digest names the reference."""
        return canonical(self)

    @staticmethod
    def from_bytes(data: bytes) -> Reference:
        """Return the reference that `to_bytes` wrote.

        Raises
        ------
        Corrupt
            If the bytes are something else.
        """
        try:
            return msgspec.json.decode(data, type=Reference)
        except msgspec.MsgspecError as error:
            raise Corrupt("reference", digest(data)[:12], "does not decode", why=str(error)) from None

    @property
    def digest(self) -> Digest:
        """The digest of its bytes."""
        return digest_of(self)

    @property
    def shown_excess(self) -> float:
        """The excess loss that the scored days show beyond doubt: 0, or the lower 95 % limit where that lies
        above. It is 0 where predictions promise no loss.
        """
        values = [day.values["excess_loss"][0] for day in self.days if "excess_loss" in day.values]
        if len(values) < FEWEST_DAYS:
            return 0.0
        return max(0.0, intervals.clustered_mean(values, np.arange(len(values))).low)

    def set_for(self, plan: MonitorPlan, *, at: Instant) -> ReferenceSet:
        """Return the event that makes the monitor watch this version; days that end by `at` do not count."""
        return ReferenceSet(
            model=self.model,
            version=self.version,
            plan=plan,
            signals=self.signals,
            reference=self.digest,
            at=at,
            days=self.days,
        )


def reference(
    frame: pl.DataFrame,
    *,
    task: Task,
    model: ModelName,
    version: Version,
    features: Sequence[str],
    monitors: Sequence[Monitor] = (),
) -> Reference:
    """Return the reference of a version.

    Parameters
    ----------
    frame
        Training and validation rows: ``requested_at`` (Datetime us UTC), the columns of the score and
        ``outcome``, the features, and ``group`` where the task ranks lists. Only rows with a score count for
        quality: leave the scores of training rows null, since a model flatters them.
    task
        What the model predicts.
    features
        Columns of numbers or texts.
    monitors
        What is watched: monitors of other packages measure numbers of their own.

    Raises
    ------
    InvalidInput
        If a column is missing or of another type, or fewer than 5 days have 20 rows, or 20 scored rows.
    """
    require(frame, "requested_at", *score_columns(task), "outcome", *features)
    ordered = frame if _is_in_order(frame["requested_at"]) else frame.sort("requested_at")
    days = np.asarray(day_numbers(ordered), dtype=np.int64)
    # Every outcome of a reference is known by now; live windows are cut by when outcomes came.
    known = ordered.with_columns(known_at=pl.col("requested_at"))
    rows = labelled_rows(known, task, model)
    if task.has_outcome and not rows.day.size:
        raise InvalidInput("reference", model, "has no scored rows", hint="score the validation rows")
    scored = rows.frame if task.has_outcome else known
    daily = [
        _measured(part, task, model, version, monitors)
        for _, part in scored.group_by(day_numbers(scored), maintain_order=True)
        if task.has_outcome
    ]
    series = tuple(SignalDay(one.window.start, one.watched()) for one in daily if one.n >= FEWEST_ROWS)
    signals = _baselines(task, model, series)
    # Quantiles and counts of long columns leave the interpreter to others.
    with ThreadPoolExecutor(_THREADS) as pool:
        waiting = [pool.submit(_feature, ordered[name], days, model) for name in features]
        found = [one.result() for one in waiting]
    return Reference(
        model=model,
        version=version,
        features=tuple(_with_losses(one, ordered[one.name], rows, task) for one in found),
        signals=signals,
        excess_correlation=drift.lag_one_correlation(_daily_cost(daily)) if series else 0.0,
        performance=_measured(scored, task, model, version, monitors),
        n_days=len(series),
        days=series,
    )


def codes(column: pl.Series, feature: FeatureReference) -> tuple[Codes, int]:
    """Return the bin of each value, shape (n,), and the number of bins.

    Raises
    ------
    InvalidInput
        If the column has changed between numbers and texts.
    """
    if feature.categories is None:
        return drift.bin_codes(_numbers(column), np.array(feature.edges)), len(feature.edges) + 2
    n_known = len(feature.categories)
    texts = _texts(column)
    positions = texts.cast(pl.Enum(feature.categories), strict=False).to_physical().cast(pl.Int64)
    found = positions.fill_null(n_known).to_numpy(writable=True)
    found[texts.is_null().to_numpy()] = n_known + 1
    return found, n_known + 2


def daily_counts(code: Codes, n_bins: int, days: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return how often each bin was met on each day, shape (days with at least 20 rows, `n_bins`), in order
    of time.
    """
    if not days.size:
        return np.zeros((0, n_bins), np.int64)
    since_first = days - days.min()
    n_days = int(since_first.max()) + 1
    table = np.bincount(since_first * n_bins + code, minlength=n_days * n_bins).reshape(n_days, n_bins)
    return table[table.sum(axis=1) >= FEWEST_ROWS]


def _feature(column: pl.Series, days: npt.NDArray[np.int64], model: ModelName) -> FeatureReference:
    edges: tuple[float, ...] = ()
    categories = None
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        # Once for edges and codes: of a year it takes as long as either.
        column = pl.Series(column.name, _numbers(column))
        edges = tuple(drift.bin_edges(column.to_numpy()).tolist())
    else:
        texts = _texts(column).drop_nulls()
        counted = (
            pl.DataFrame({"word": texts})
            .group_by("word")
            .len()
            .sort(["len", "word"], descending=[True, False])
        )
        categories = tuple(counted["word"].head(MOST_CATEGORIES).to_list())
    bare = FeatureReference(
        name=column.name,
        edges=edges,
        categories=categories,
        counts=(),
        profile=drift.DayProfile((), 0, 0.0, 1.0, 0.0),
    )
    code, n_bins = codes(column, bare)
    table = daily_counts(code, n_bins, days)
    if len(table) < FEWEST_DAYS:
        hint = f"give at least {FEWEST_DAYS} days of {FEWEST_ROWS} rows"
        raise InvalidInput("reference", model, "covers too few days", n_days=len(table), hint=hint)
    return msgspec.structs.replace(
        bare, counts=tuple(table.sum(axis=0).tolist()), profile=drift.day_profile(table)
    )


def _with_losses(
    feature: FeatureReference, column: pl.Series, rows: Labelled, task: Task
) -> FeatureReference:
    """Return the feature with the losses that are usual in its bins, where predictions do not promise
    them.
    """
    if task.loss is None or task.promised(rows.predicted) is not None:
        return feature
    code, n_bins = codes(column, feature)
    losses = task.loss.exact(rows.outcome, rows.predicted, rows.groups)
    usual = usual_losses(losses, code[rows.places], n_bins, rows.day)
    return msgspec.structs.replace(feature, losses=usual)


def _baselines(task: Task, model: ModelName, days: Sequence[SignalDay]) -> dict[str, SignalBaseline]:
    """Return the baseline of every signal that enough days have; the first signal has to be there.

    Others may be missing: where outcomes of a kind are rare, a day has too few of them for an AUC.
    """
    found: dict[str, SignalBaseline] = {}
    for number, signal in enumerate(task.signals):
        values = [day.values[signal.name][0] for day in days if signal.name in day.values]
        if len(values) >= FEWEST_DAYS:
            baseline = SignalBaseline(float(np.mean(values)), float(np.std(values, ddof=1)), len(values))
            found[signal.name] = baseline
        elif number == 0:
            hint = f"score at least {FEWEST_DAYS} days of {FEWEST_ROWS} rows"
            problem = f"has too few scored days for {signal.name}"
            raise InvalidInput("reference", model, problem, n_days=len(values), hint=hint)
    return found


def _daily_cost(daily: Sequence[PerformanceMeasured]) -> list[float]:
    """Return the excess loss of each day that has enough rows, or the loss where none is promised."""
    found: list[float] = []
    for one in daily:
        loss = one.numbers().get("excess_loss") or one.loss()
        if loss is not None and one.n >= FEWEST_ROWS:
            found.append(loss.value)
    return found


def _measured(
    part: pl.DataFrame, task: Task, model: ModelName, version: Version, monitors: Sequence[Monitor]
) -> PerformanceMeasured:
    start, end = (int(part["requested_at"].cast(pl.Int64)[at]) for at in (0, -1))
    window = Window(day_of(start).start, day_of(end).end)
    return measure_performance(
        cut(part, window, known_by=window.end),
        window,
        task=task,
        model=model,
        version=version,
        monitors=monitors,
    )


def _is_in_order(times: pl.Series) -> bool:
    """Return whether times are in order, as rows of a training are: to sort all columns would copy them."""
    return not times.null_count() and bool((np.diff(times.cast(pl.Int64).to_numpy()) >= 0).all())


def _numbers(column: pl.Series) -> npt.NDArray[np.float64]:
    if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        raise InvalidInput("column", column.name, "is not numeric any more", type=str(column.dtype))
    # Nulls become NaN.
    return column.cast(pl.Float64).to_numpy()


def _texts(column: pl.Series) -> pl.Series:
    if not isinstance(column.dtype, pl.String | pl.Categorical | pl.Enum | pl.Null):
        hint = "monitor numbers and texts; derive a number from a time"
        raise InvalidInput(
            "column", column.name, "is neither a number nor a text", type=str(column.dtype), hint=hint
        )
    return column.cast(pl.String)
