"""How each feature of a model does: whether its values are there, distributed and correlated as they were,
how old its source is, and what skew says of it.

Drift is that of the model's monitor; correlations and missing values are of the days before now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from varv.data.views import DatasetsView
from varv.features import FeatureDefinition
from varv.features.skew import FeatureSkew
from varv.home.skew.desk import FeatureDesk
from varv.home.skew.reads import ShownReads, shown_reads
from varv.home.skew.views import SkewView
from varv.kernel.clock import DAY, Instant, iso, spoken
from varv.kernel.errors import FailedPrecondition
from varv.kernel.ids import ModelName
from varv.kernel.verbs import READ, verb
from varv.loop.declaring.model import Declared
from varv.loop.views import LoopView
from varv.monitoring.model import FeatureDrift
from varv.monitoring.views import MonitoringView
from varv.stats.correlation import Shift, correlation_shifts

RECENT_DAYS, EARLIER_DAYS = 7, 28
MOST_ROWS_A_DAY = 2_000
MOST_CORRELATED = 40
"""Features, the first that are declared."""
CHANGED = 0.05
"""The p-value of all pairs together up to which a correlation has changed."""


class HealthRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a model; the only one of the home if it is left out."""

    model: str = ""


class CorrelationChange(msgspec.Struct, frozen=True, kw_only=True):
    """The correlation with another feature, in the weeks before and in the last week; the p-value holds for
    all pairs of the model together.
    """

    feature: str
    before: float
    after: float
    p_value: float


class FeatureHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One feature: what it is, and how it does; what is not known is None."""

    name: str
    definition: str
    source: str
    """The dataset and the part that it is read from; the requests' own for what they bring."""
    newest: str | None = None
    """When the newest row of that part was known."""
    arrived: str | None = None
    """When its last rows came."""
    age: str = ""
    """How long before now the newest row was known."""
    missing: float | None = None
    """The share of requests without a value in the last week."""
    missing_before: float | None = None
    """The same in the weeks before."""
    drift: FeatureDrift | None = None
    """What the monitor measured last."""
    correlation: CorrelationChange | None = None
    """The surest change, if there is one."""
    skew: FeatureSkew | None = None
    """Served values by class, in the last week."""


class HealthReport(msgspec.Struct, frozen=True, kw_only=True):
    """The features of a model."""

    model: str
    now: str
    n_requests: int
    """That missing values and correlations of the last week are of."""
    features: tuple[FeatureHealth, ...]
    reads: tuple[ShownReads, ...] = ()
    """How fresh its views that declare an age were when they were read, by whichever model."""


@verb("features.health", needs=READ)
def health(desk: FeatureDesk, asked: HealthRequest) -> HealthReport:
    """Show how each feature does: missing values, drift, correlations, the age of its source, skew.

    Raises
    ------
    FailedPrecondition
        If nothing is on record of what the model reads.
    """
    model, now = desk.records.model(asked.model), desk.records.clock.now()
    declared = _declared(desk, model)
    names = [one.name for one in declared.features]
    recent = _days(desk, model, names, now, RECENT_DAYS, 0)
    earlier = _days(desk, model, names, now, EARLIER_DAYS, RECENT_DAYS)
    missing, before = _missing(recent, names), _missing(earlier, names)
    numeric = _numeric(declared)
    changes = _surest(numeric, _shifts(numeric, earlier, recent))
    drifts, skew = _on_record(desk, model, now)
    features = [
        msgspec.structs.replace(
            _sourced(desk, one, declared.requests, now),
            missing=missing.get(one.name),
            missing_before=before.get(one.name),
            drift=drifts.get(one.name),
            correlation=changes.get(one.name),
            skew=skew.get(one.name),
        )
        for one in declared.features
    ]
    n_requests = sum(day.height for day in recent)
    own = {one.view for one in declared.features}
    reads = tuple(one for one in shown_reads(desk.records.views, now) if one.view in own)
    return HealthReport(
        model=model, now=iso(now), n_requests=n_requests, features=tuple(features), reads=reads
    )


def changed_correlations(
    desk: FeatureDesk, model: ModelName, now: Instant
) -> dict[tuple[str, str], CorrelationChange]:
    """Return how the correlation of each pair of features has changed in the last week, by the pair.

    Raises
    ------
    FailedPrecondition
        If nothing is on record of what the model reads.
    """
    names = _numeric(_declared(desk, model))
    recent = _days(desk, model, names, now, RECENT_DAYS, 0)
    earlier = _days(desk, model, names, now, EARLIER_DAYS, RECENT_DAYS)
    return {
        (names[one.one], names[one.other]): _change(names[one.other], one)
        for one in _shifts(names, earlier, recent)
    }


def _declared(desk: FeatureDesk, model: ModelName) -> Declared:
    with desk.records.views.reading(LoopView) as loops:
        record = loops.loops.get(model)
        declared = None if record is None else record.declared
    if declared is None:
        hint = "run varv up once, which puts it on record"
        raise FailedPrecondition("model", model, "has no features on record", hint=hint)
    return declared


def _numeric(declared: Declared) -> list[str]:
    """Return the features whose correlations are looked at."""
    return [one.name for one in declared.features if one.kind == "numeric"][:MOST_CORRELATED]


def _on_record(
    desk: FeatureDesk, model: ModelName, now: Instant
) -> tuple[dict[str, FeatureDrift | None], dict[str, FeatureSkew]]:
    """Return what was measured of features last: their drift, and their skew in the last week."""
    views = desk.records.views
    with views.reading(MonitoringView) as monitoring, views.reading(SkewView) as skewed:
        matrix = monitoring.drift(model)
        drifts = {name: cells[-1] for name, cells in zip(matrix.features, matrix.cells, strict=True) if cells}
        return drifts, skewed.of(model).since(now - RECENT_DAYS * DAY)


def _sourced(desk: FeatureDesk, one: FeatureDefinition, requests: str, now: Instant) -> FeatureHealth:
    """Return a feature with how old its source is."""
    dataset = one.dataset or requests
    with desk.records.views.reading(DatasetsView) as view:
        registered = view.registered(dataset)
        part = one.part or ("" if registered is None else registered.event_time)
        every = view.catalogue(dataset, part).extents()
        newest = max((extent.last for extent in every if extent.last is not None), default=None)
        arrived = max((extent.at for extent in every), default=None)
    return FeatureHealth(
        name=one.name,
        definition=one.line(),
        source=f"{dataset}/{part}",
        newest=None if newest is None else iso(newest),
        arrived=None if arrived is None else iso(arrived),
        age="" if newest is None else spoken(max(0, now - newest) // 1_000_000 * 1_000_000),
    )


def _days(
    desk: FeatureDesk, model: ModelName, names: Sequence[str], now: Instant, n_days: int, ago: int
) -> list[pl.DataFrame]:
    """Return the features of the first requests of each of some days that ended so many days ago."""
    found = []
    for back in range(ago + n_days, ago, -1):
        start = Instant(now - back * DAY)
        table = desk.records.tables.predictions(model, start, Instant(start + DAY), limit=MOST_ROWS_A_DAY)
        if table.rows.height:
            found.append(table.rows.select([name for name in names if name in table.rows.columns]))
    return found


def _missing(days: Sequence[pl.DataFrame], names: Sequence[str]) -> dict[str, float]:
    """Return the share of requests without a value, of each feature that was computed for some."""
    found = {}
    for name in names:
        of = [day[name] for day in days if name in day.columns]
        if n := sum(map(len, of)):
            found[name] = sum(values.null_count() for values in of) / n
    return found


def _shifts(
    names: Sequence[str], before: Sequence[pl.DataFrame], after: Sequence[pl.DataFrame]
) -> list[Shift]:
    """Return how each pair of features is correlated, before and after."""
    days = [[_matrix(day, names) for day in side] for side in (before, after)]
    return correlation_shifts(*days)


def _surest(names: Sequence[str], shifts: Sequence[Shift]) -> Mapping[str, CorrelationChange]:
    """Return the surest change of each feature whose correlation with another one has changed."""
    found: dict[str, CorrelationChange] = {}
    for shift in shifts:
        if shift.p_value > CHANGED:
            break
        for own, other in ((shift.one, shift.other), (shift.other, shift.one)):
            found.setdefault(names[own], _change(names[other], shift))
    return found


def _change(other: str, shift: Shift) -> CorrelationChange:
    return CorrelationChange(feature=other, before=shift.before, after=shift.after, p_value=shift.p_value)


def _finite(values: pl.Series) -> npt.NDArray[np.float64]:
    numbers = values.cast(pl.Float64).to_numpy()
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _matrix(day: pl.DataFrame, names: Sequence[str]) -> npt.NDArray[np.float64]:
    columns = [_finite(day[name]) if name in day.columns else np.full(day.height, np.nan) for name in names]
    return np.column_stack(columns) if columns else np.zeros((day.height, 0))
