"""The reference of a version: what its features and its daily quality were like when it was approved.

Made once from training and validation rows, kept as a blob, compared with every later window by
`monitoring.measure`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from varv.kernel.clock import Instant
from varv.kernel.codec import Digest, canonical, digest, digest_of
from varv.kernel.errors import Corrupt, InvalidInput
from varv.kernel.ids import ModelName, Version
from varv.monitoring.model import PerformanceMeasured, ReferenceSet, SignalBaseline, SignalDay
from varv.monitoring.monitor import MonitorPlan
from varv.monitoring.performance import measure_performance
from varv.monitoring.windows import cut, day_numbers, day_of, require
from varv.stats import drift, intervals

MOST_CATEGORIES = 50
"""More are one category, "other": a bin must be met on most days for its share to mean something."""

FEWEST_ROWS = 20
"""A day of fewer rows says nothing about what days are like."""

FEWEST_DAYS = 5

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


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """What later windows of `version` are compared with."""

    model: ModelName
    version: Version
    features: tuple[FeatureReference, ...]
    signals: dict[str, SignalBaseline]
    """Daily quality on the scored rows: ``excess_loss``, ``auc`` and ``bias``."""
    excess_correlation: float
    """Lag-one autocorrelation of the daily excess loss."""
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
        above.
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
    frame: pl.DataFrame, *, model: ModelName, version: Version, features: Sequence[str]
) -> Reference:
    """Return the reference of a version.

    Parameters
    ----------
    frame
        Training and validation rows: ``requested_at`` (Datetime us UTC), ``score`` and ``outcome`` and the
        features. Only rows with a score count for quality: leave the score of training rows null, since a
        model flatters them.
    features
        Columns of numbers or texts.

    Raises
    ------
    InvalidInput
        If a column is missing or of another type, or fewer than 5 days have 20 rows, or 20 scored rows.
    """
    require(frame, "requested_at", "score", "outcome", *features)
    ordered = frame.sort("requested_at")
    days = np.asarray(day_numbers(ordered), dtype=np.int64)
    scored = ordered.drop_nulls(["score", "outcome"])
    if scored.is_empty():
        raise InvalidInput("reference", model, "has no scored rows", hint="score the validation rows")
    # Every outcome of a reference is known by now; live windows are cut by when outcomes came.
    scored = scored.with_columns(known_at=pl.col("requested_at"))
    daily = [
        _measured(part, model, version)
        for _, part in scored.group_by(day_numbers(scored), maintain_order=True)
    ]
    series = tuple(SignalDay(one.window.start, one.watched()) for one in daily if one.n >= FEWEST_ROWS)
    signals = {name: _baseline(model, name, series) for name in ("bias", "excess_loss")}
    with contextlib.suppress(InvalidInput):  # rare outcomes: too few of them a day for an AUC of days
        signals["auc"] = _baseline(model, "auc", series)
    excess = [one.values["excess_loss"][0] for one in series]
    return Reference(
        model=model,
        version=version,
        features=tuple(_feature(ordered[name], days, model) for name in features),
        signals=signals,
        excess_correlation=drift.lag_one_correlation(excess),
        performance=_measured(scored, model, version),
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
        edges = tuple(drift.bin_edges(_numbers(column)).tolist())
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


def _baseline(model: ModelName, name: str, days: Sequence[SignalDay]) -> SignalBaseline:
    values = [day.values[name][0] for day in days if name in day.values]
    if len(values) < FEWEST_DAYS:
        hint = f"score at least {FEWEST_DAYS} days of {FEWEST_ROWS} rows with both outcomes"
        raise InvalidInput(
            "reference", model, f"has too few scored days for {name}", n_days=len(values), hint=hint
        )
    return SignalBaseline(float(np.mean(values)), float(np.std(values, ddof=1)), len(values))


def _measured(part: pl.DataFrame, model: ModelName, version: Version) -> PerformanceMeasured:
    start, end = (int(part["requested_at"].dt.epoch("us")[at]) for at in (0, -1))
    window = msgspec.structs.replace(day_of(start), end=day_of(end).end)
    return measure_performance(cut(part, window, known_by=window.end), window, model=model, version=version)


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
