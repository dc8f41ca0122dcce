"""What the rows of a source say that a declaration of it has to know: columns, and times that go wrong.

A source is read once, column by column, by nobody but polars; a place that is no file here is not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import polars as pl

from varv.data.sources import Parquet
from varv.features.moving.model import FeastSource
from varv.features.observed import PATIENCE
from varv.kernel.columns import TIME
from varv.kernel.errors import NotFound

_KEY, _TIME, _CREATED = "key", "time", "created"


class SourceRows(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows of a source say.

    The counts are of rows without a column of the key or a time, written before they happened, written too
    long after it, and that repeat a key and time, and of those that repeat the time of writing too.
    """

    types: Mapping[str, pl.DataType]
    """By the names that Feast has for columns."""
    n_rows: int
    n_without_key: int = 0
    n_without_time: int = 0
    n_without_created: int = 0
    n_early: int = 0
    n_too_late: int = 0
    n_repeats: int = 0
    n_ties: int = 0


def place_of(source: FeastSource, folder: Path) -> str:
    """Return the path or address of a source's file; relative ones are in Feast's folder."""
    place = source.place.removeprefix("file://")
    return place if "://" in place or place.startswith("/") else str(folder / place)


def rows_of(source: FeastSource, folder: Path, keys: Sequence[str]) -> SourceRows | None:
    """Return what the rows of a file say; None if it is elsewhere.

    Raises
    ------
    NotFound
        If there is no such file, or it is not Parquet.
    """
    place = place_of(source, folder)
    if "://" in place:
        return None
    rows = pl.scan_parquet(place)
    types = Parquet(place).types()
    named = {source.mapping.get(name, name): name for name in types}
    missing = [one for one in (*keys, source.time, source.created) if one and one not in named]
    if missing or not source.time:
        problem = f"has no column {missing[0]!r}" if missing else "has no column of event times"
        raise NotFound("source", source.name, problem, place=place)
    times = {_TIME: source.time, _CREATED: source.created or source.time}
    strange = [one for one in times.values() if not _is_time(types[named[one]])]
    if strange:
        raise NotFound("source", source.name, f"holds no times in {strange[0]!r}", place=place)
    looked = rows.select(
        pl.struct([pl.col(named[one]) for one in keys] or pl.lit(0).alias("none")).alias(_KEY),
        pl.any_horizontal([pl.col(named[one]).is_null() for one in keys] or [pl.lit(False)]).alias("keyless"),
        *(_in_microseconds(pl.col(named[one])).alias(name) for name, one in times.items()),
    )
    counts = looked.select(_counts(has_created=bool(source.created))).collect(engine="streaming").row(0)
    names = ("n_rows", "n_without_key", "n_without_time", "n_without_created", "n_early", "n_too_late")
    found = dict(zip((*names, "n_repeats", "n_ties"), counts, strict=True))
    return SourceRows(types={name: types[one] for name, one in named.items()}, **found)


def _counts(*, has_created: bool) -> list[pl.Expr]:
    late = pl.col(_CREATED) - pl.col(_TIME)
    instants = [pl.col(_KEY), pl.col(_TIME)]
    return [
        pl.len(),
        pl.col("keyless").sum(),
        pl.col(_TIME).is_null().sum(),
        pl.col(_CREATED).is_null().sum() if has_created else pl.lit(0),
        (late < 0).sum().alias("early"),
        (late > PATIENCE).sum().alias("late"),
        (pl.len() - pl.struct(instants).n_unique()).alias("repeats"),
        (pl.len() - pl.struct([*instants, pl.col(_CREATED)]).n_unique()).alias("ties"),
    ]


def _is_time(dtype: pl.DataType) -> bool:
    return dtype == pl.Date or isinstance(dtype, pl.Datetime)


def _in_microseconds(column: pl.Expr) -> pl.Expr:
    return column.cast(pl.Datetime("us")).cast(pl.Int64)


def has_one_clock(types: Mapping[str, pl.DataType], source: FeastSource) -> bool:
    """Return whether both times of a source can be compared as they are."""
    return types[source.time] == types[source.created] or TIME == types[source.time] == types[source.created]
