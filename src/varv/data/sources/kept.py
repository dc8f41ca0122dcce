"""The few types in which values are kept, and how others are brought to them."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from varv.kernel.columns import TIME

KEPT: tuple[pl.DataType, ...] = (
    *(pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64(), pl.UInt8(), pl.UInt16(), pl.UInt32(), pl.UInt64()),
    *(pl.Float32(), pl.Float64(), pl.Boolean(), pl.String(), TIME),
)
"""Every type in which values are kept, but for some rare widths of numbers."""
Types = dict[str, pl.DataType]
_TRUE, _FALSE = ("true", "t", "1", "yes"), ("false", "f", "0", "no")
_WITH_ZONE = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z")
_IN_UTC = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M")


def kept_type(dtype: pl.DataType) -> pl.DataType | None:
    """Return the type in which values of `dtype` are kept, or None if they cannot be.

    Examples
    --------
    >>> kept_type(pl.Date()), kept_type(pl.Int16()), kept_type(pl.List(pl.Int16))
    (Datetime(time_unit='us', time_zone='UTC'), Int16, None)
    """
    if dtype.is_integer() or dtype.is_float() or dtype == pl.Boolean:
        return dtype
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        return TIME
    if dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum):
        return pl.String()
    return None


def in_kept_types(frame: pl.DataFrame) -> pl.DataFrame:
    """Return `frame` with times in UTC microseconds (times without a zone are UTC) and categories as
    texts.
    """
    changed = []
    for name, dtype in frame.schema.items():
        if isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
            changed.append(pl.col(name).dt.replace_time_zone("UTC").cast(TIME))
        elif (kept := kept_type(dtype)) is not None and kept != dtype:
            time = pl.col(name).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
            changed.append(time if dtype == pl.Date else pl.col(name).cast(kept))
    return frame.with_columns(changed) if changed else frame


def fitted(
    frame: pl.DataFrame, types: Mapping[str, pl.DataType]
) -> tuple[pl.DataFrame, dict[str, pl.Series]]:
    """Return rows with texts read as the types that their columns have, and whole numbers as Booleans; and of
    each column that holds what cannot be so read, in which rows.

    Parameters
    ----------
    types
        Those that are wanted. A column without one is as it was; texts that are wanted as texts too.

    Examples
    --------
    >>> rows, wrong = fitted(pl.DataFrame({"n": ["1", "one", None]}), {"n": pl.Int64()})
    >>> rows["n"].to_list(), wrong["n"].to_list()
    ([1, None, None], [False, True, False])
    """
    read: dict[str, pl.Series] = {}
    wrong: dict[str, pl.Series] = {}
    for name, dtype in types.items():
        came = frame.schema.get(name)
        if came == pl.Null:
            read[name] = frame[name].cast(dtype)
        # Some databases have no Booleans, and others no times.
        is_flag = came is not None and came.is_integer() and dtype == pl.Boolean
        if not is_flag and (came != pl.String or dtype == pl.String):
            continue
        texts = frame[name].cast(pl.String).str.strip_chars()
        values = frame.select(_read(texts, dtype).alias(name)).to_series()
        unread = texts.is_not_null() & values.is_null()
        read[name] = values
        if unread.any():
            wrong[name] = unread
    return frame.with_columns(**read) if read else frame, wrong


def _read(texts: pl.Series, dtype: pl.DataType) -> pl.Expr:
    given = pl.lit(texts)
    if dtype == pl.Boolean:
        small = given.str.to_lowercase()
        return pl.when(small.is_in(_TRUE)).then(True).when(small.is_in(_FALSE)).then(False)
    if isinstance(dtype, pl.Datetime):
        # "Z" is a zone too, which the pattern for offsets reads.
        zoned = (
            given.str.to_datetime(one, time_unit="us", time_zone="UTC", strict=False) for one in _WITH_ZONE
        )
        plain = (given.str.to_datetime(one, time_unit="us", strict=False) for one in _IN_UTC)
        day = given.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
        return pl.coalesce(*zoned, *(one.dt.replace_time_zone("UTC") for one in (*plain, day)))
    return given.cast(dtype, strict=False)
