"""Values of a view here held against Feast's: each value equal, or different for a reason that has a name.

Requests are made where joins go wrong: at the instants of rows, at the end of a ttl, around the time at
which a row was written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from varv.data.sources import in_kept_types
from varv.features.bulk import Mode, SourceTables, TrainingSetMaker, features_for, requests_of
from varv.features.feature_view import FeatureView
from varv.features.kinds import exported, kept_as
from varv.kernel.clock import HOUR, SECOND
from varv.kernel.columns import TIME

AT, ROW = "event_timestamp", "request_row"
"""The columns of requests: when each is made, and its number."""
Class = Literal["equal", "late", "tie", "dropped", "different"]
"""`late`: Feast goes by event times alone, here it matters when a row was written. `tie`: several rows have
one time, and Feast took another of them. `dropped`: Feast leaves out a request that repeats another, or of
which nothing is known.
"""
Flags = npt.NDArray[np.bool_]
Classes = npt.NDArray[np.object_]
_MOST_SAMPLED = 400
_MOST_SHOWN = 5
_OURS, _THEIRS = "ours", "theirs"


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """How the values of a view compare."""

    view: str
    n_requests: int
    counts: dict[Class, int]
    """Of values, one for each request and feature."""
    some: tuple[str, ...] = ()
    """Values that differ without a reason, in words."""

    @property
    def n_different(self) -> int:
        """How many values differ without a reason."""
        return self.counts["different"]


def requests_for(view: FeatureView) -> pl.DataFrame:
    """Return requests for a view, at instants where joins go wrong; the same ones for the same rows."""
    source = view.source
    times = [source.event_time, *([view.part] if view.part != source.event_time else [])]
    columns = list(dict.fromkeys((*view.entity, *times)))
    rows = pl.concat([in_kept_types(part.select(columns)) for part in source.source.batches(columns)])
    rows = rows.drop_nulls([*view.entity, source.event_time])
    chosen = rows.sample(min(_MOST_SAMPLED, rows.height), seed=0)
    event, known = pl.col(source.event_time), pl.col(times[-1])
    ttl = pl.duration(microseconds=int(view.ttl or HOUR))
    step = pl.duration(microseconds=int(SECOND))
    instants = [event, event - step, event + ttl, event + ttl + step, known - step, known]
    asked = pl.concat([chosen.select(*view.entity, one.alias(AT)) for one in instants])
    asked = asked.drop_nulls().unique(maintain_order=True)
    return asked.with_columns(pl.col(AT).cast(TIME)).with_row_index(ROW).cast({ROW: pl.Int64()})


def compared(
    view: FeatureView, requests: pl.DataFrame, theirs: pl.DataFrame, names: Sequence[str]
) -> Compared:
    """Return how the values of a view compare for requests.

    Parameters
    ----------
    requests
        With the entities of the view, `AT` and `ROW`.
    theirs
        Feast's values, with `ROW`.
    names
        What Feast calls the features of the view, in their order.
    """
    known, event = (_ours(view, requests, mode) for mode in ("known", "event"))
    found = requests.select(ROW).join(
        theirs.unique(ROW, keep="first").with_columns(pl.lit(value=True).alias("is there")),
        on=ROW,
        how="left",
        maintain_order="left",
    )
    is_there = found["is there"].fill_null(value=False).to_numpy()
    is_repeat = requests.select(*view.entity, AT).is_duplicated().to_numpy()
    counts: dict[Class, int] = dict.fromkeys(get_args(Class), 0)
    some: list[str] = []
    for feature, name in zip(view.kinds(), names, strict=True):
        column = exported(feature)
        values = _as_ours(found[name], known[column].dtype)
        classes = _classes(known[column], event[column], values, is_there, is_repeat)
        unsettled = np.flatnonzero((classes == "different") & is_there)
        tied = _tied(view, feature, requests[unsettled], values[unsettled])
        classes[unsettled[tied]] = "tie"
        for one, n in zip(*np.unique(classes, return_counts=True), strict=True):
            counts[one] += int(n)
        for place in np.flatnonzero(classes == "different")[: _MOST_SHOWN - len(some)]:
            where = ", ".join(f"{key}={value}" for key, value in requests.row(int(place), named=True).items())
            some.append(f"{name}: {event[column][int(place)]} here, {values[int(place)]} there; {where}")
    return Compared(view=view.name, n_requests=requests.height, counts=counts, some=tuple(some))


def _ours(view: FeatureView, requests: pl.DataFrame, mode: Mode) -> pl.DataFrame:
    checked = features_for([view], requests_of(requests.schema, AT))
    maker = TrainingSetMaker(checked, AT, SourceTables(), mode=mode)
    return pl.concat(list(maker.parts([requests])))


def _as_ours(values: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Return Feast's values as features are kept: in single precision, missing ones null."""
    if dtype == pl.String:
        return values.cast(pl.String)
    return values.cast(pl.Float64).cast(pl.Float32).fill_nan(None)


def _classes(
    known: pl.Series, event: pl.Series, theirs: pl.Series, is_there: Flags, is_repeat: Flags
) -> Classes:
    """Return the class of each value; ties are not told from what differs yet."""
    by_known = known.eq_missing(theirs).to_numpy()
    by_event = event.eq_missing(theirs).to_numpy()
    found = np.full(len(known), "different", dtype=object)
    found[by_event] = "late"
    found[by_known] = "equal"
    found[~is_there] = "different"
    found[~is_there & (event.is_null().to_numpy() | is_repeat)] = "dropped"
    return found


def _tied(view: FeatureView, feature: str, requests: pl.DataFrame, theirs: pl.Series) -> Flags:
    """Return which of Feast's values are of another row of the very time that wins."""
    if not requests.height:
        return np.zeros(0, bool)
    column, time, entity = feature.partition(".")[2], view.source.event_time, list(view.entity)
    kind = view.kinds()[feature]
    columns = list(dict.fromkeys((*entity, time, column)))
    parts = view.source.source.batches(columns)
    rows = pl.concat([in_kept_types(part.select(columns)) for part in parts]).drop_nulls([*entity, time])
    rows = rows.select(*entity, pl.col(time).alias("@won"), pl.col(column).cast(kept_as(kind)).alias(_OURS))
    rows = rows.with_columns(pl.col(_OURS).fill_nan(None)) if kind == "numeric" else rows
    asked = requests.with_columns(theirs.alias(_THEIRS), pl.col(AT).alias("@asked")).sort("@asked")
    times = rows.select(*entity, "@won", pl.col("@won").alias("@asked")).unique().sort("@asked")
    won = asked.join_asof(times, on="@asked", by=entity or None, check_sortedness=False)
    both = won.drop_nulls("@won").join(rows, on=[*entity, "@won"], how="inner")
    if view.ttl is not None:
        both = both.filter(pl.col("@asked") - pl.col("@won") <= pl.duration(microseconds=int(view.ttl)))
    is_one = pl.col(_OURS).eq_missing(pl.col(_THEIRS)).any() & (pl.len() > 1)
    hits = both.group_by(ROW).agg(is_one.alias("tied")).filter("tied")[ROW]
    return requests[ROW].is_in(hits.implode()).to_numpy()
