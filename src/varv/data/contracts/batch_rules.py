"""Declared rules on batches: repeats, order, statistics, how fresh a batch is and how many rows it has.

Some say which rows break them, others only that the batch does. They need all rows of a batch at once, and
nothing as large as the batch: hashes of 64 bits, one column at a time. Single rows are in `row_rules`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.data.contracts.model import Expectation, HourlyRows
from varv.data.contracts.row_rules import ColumnsOf, outside, skipped
from varv.data.contracts.volumes import odd_hours
from varv.kernel.clock import SECOND, Instant, as_datetime, duration, spoken
from varv.kernel.expressions import read_expression

STRETCH = 250_000
"""Rows that are looked at together: what is computed of them takes some ten megabytes."""


class Batch(NamedTuple):
    """A batch, and what else rules on it need."""

    frame: pl.DataFrame
    columns: ColumnsOf
    now: Instant
    hourly: HourlyRows | None


class Broken(NamedTuple):
    """How a batch breaks a rule: by how many rows or hours, of how many, and which rows."""

    n: int
    n_about: int
    rows: pl.Series | None = None
    found: str = ""
    """What was found instead, where that gives away no value of a row."""


def look_at_batch(one: Expectation, batch: Batch) -> Broken | None:
    """Return how a batch breaks a rule on batches; None if it keeps it."""
    return _KINDS[one.kind](one, batch)


def _chosen(one: Expectation) -> pl.Expr:
    """Return which rows a rule is about."""
    about = ~skipped(one)
    if one.when_written:
        about = about & read_expression(one.when_written).fill_null(False)
    return about


def _unique(one: Expectation, batch: Batch) -> Broken | None:
    names, frame = list(one.columns), batch.frame
    about: list[pl.Series] = []
    hashes: list[npt.NDArray[np.uint64]] = []
    for stretch in frame.iter_slices(STRETCH):
        about.append(stretch.select(about=_chosen(one) & pl.lit(True)).to_series())
        hashes.append(stretch.select(names).hash_rows(seed=0).filter(about[-1]).to_numpy())
    ordered = np.sort(np.concatenate(hashes)) if hashes else np.empty(0, np.uint64)
    doubled = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(doubled):
        return None
    n_about, doubled = len(ordered), np.unique(doubled)
    del ordered
    suspects = []
    for chosen, stretch in zip(about, hashes, strict=True):
        places = np.minimum(np.searchsorted(doubled, stretch), len(doubled) - 1)
        suspects.append(pl.Series(np.flatnonzero(chosen.to_numpy())[doubled[places] == stretch]))
    rows = _numbered(suspects)
    # Two values may have one hash, so what repeats is told by the values.
    repeats = frame[rows].select(pl.struct(names).is_duplicated()).to_series()
    broken = np.zeros(frame.height, np.bool_)
    broken[rows.filter(repeats).to_numpy()] = True
    return _of_rows(pl.Series(broken), n_about)


def _numbered(suspects: list[pl.Series]) -> pl.Series:
    """Return numbers of rows within stretches as numbers within the batch."""
    starts = range(0, STRETCH * len(suspects), STRETCH)
    return pl.concat([found + start for found, start in zip(suspects, starts, strict=True)])


def _monotone(one: Expectation, batch: Batch) -> Broken | None:
    [name] = one.columns
    value = pl.when(_chosen(one)).then(batch.columns.column(name))
    before = value.forward_fill().shift(1)
    fell = value > before if one.given.get("decreasing") else value < before
    if one.given.get("strictly"):
        fell = fell | (value == before)
    return _of_rows(batch.frame.select(broken=fell.fill_null(False)).to_series(), _n_about(one, batch))


def _z_score(one: Expectation, batch: Batch) -> Broken | None:
    value = pl.when(_chosen(one)).then(batch.columns.column(one.columns[0]).cast(pl.Float64))
    score = (value - value.mean()) / value.std()
    score = score.abs() if one.given.get("both_sides", True) else score
    # Values that are all the same have no score.
    broken = (score >= one.given["below"]) & score.is_not_nan()
    return _of_rows(batch.frame.select(broken=broken.fill_null(False)).to_series(), _n_about(one, batch))


def _of_rows(broken: pl.Series, n_about: int) -> Broken | None:
    n = int(broken.sum())
    return Broken(n, n_about, broken) if n else None


def _n_about(one: Expectation, batch: Batch) -> int:
    return int(batch.frame.select(_chosen(one).sum()).item())


_STATISTICS: Mapping[str, Callable[[pl.Expr, float], pl.Expr]] = {
    "min": lambda value, q: value.min(),
    "max": lambda value, q: value.max(),
    "mean": lambda value, q: value.mean(),
    "median": lambda value, q: value.median(),
    "stdev": lambda value, q: value.std(),
    "sum": lambda value, q: value.sum(),
    "n_unique": lambda value, q: value.n_unique(),
    "unique_share": lambda value, q: value.n_unique() / value.len(),
    # Of two values that are as near NumPy takes the one at an even place; polars' own does not.
    "quantile": lambda value, q: value.sort().get(
        ((value.len() - 1) * q).round(mode="half_to_even").cast(pl.Int64), null_on_oob=True
    ),
}
_TELLING = frozenset({"min", "max", "median", "quantile"})
"""Statistics that are the value of one row, which stays out of reports."""


def _statistic(one: Expectation, batch: Batch) -> Broken | None:
    [name] = one.columns
    given, columns = one.given, batch.columns
    when = read_expression(one.when_written) if one.when_written else pl.lit(True)
    if given["of"] == "present_share":
        asked = columns.column(name).is_not_null().filter(when).mean()
    else:
        value = columns.column(name).filter(when & columns.column(name).is_not_null())
        value = value.cast(pl.Int64) if columns.dtype(name) == pl.Boolean else value
        asked = _STATISTICS[given["of"]](value, given.get("q", 0.0))
        # A column without values has no statistic, though a sum and a count would be 0.
        asked = pl.when(value.len() > 0).then(asked)
    low, high = columns.literals(name, [given.get("low"), given.get("high")])
    [found] = batch.frame.select(found=asked).to_series()
    if found is None:
        return None
    is_out = pl.select(outside(given, pl.lit(found), low, high)).item()
    if not is_out and found == found:
        return None
    told = "" if given["of"] in _TELLING or not isinstance(found, int | float) else f"{found:.6g}"
    return Broken(batch.frame.height, batch.frame.height, found=told)


def _contains(one: Expectation, batch: Batch) -> Broken | None:
    [name] = one.columns
    wanted = one.given["values"]
    values = batch.frame.filter(_chosen(one)).select(batch.columns.column(name)).to_series().unique()
    known = values.to_frame().select(batch.columns.is_among(name, wanted).sum()).item()
    if known == len({*wanted}) and not (one.given.get("exactly") and len(values) > known):
        return None
    return Broken(batch.frame.height, batch.frame.height, found=f"{known} of these, {len(values)} values")


def _most_common(one: Expectation, batch: Batch) -> Broken | None:
    [name] = one.columns
    values = batch.frame.filter(_chosen(one)).select(batch.columns.column(name))
    if values.is_empty():
        return None
    counts = values.group_by(name).len("@n")
    first = counts.filter(pl.col("@n") == pl.col("@n").max())
    among = int(first.select(batch.columns.is_among(name, one.given["values"]).sum()).item())
    if among and (one.given.get("ties") or first.height == 1):
        return None
    return Broken(batch.frame.height, batch.frame.height)


def _rows(one: Expectation, batch: Batch) -> Broken | None:
    n = batch.frame.height
    least, most = one.given.get("least", 0), one.given.get("most", n)
    return None if least <= n <= most else Broken(n, n, found=f"{n}")


def _fresh(one: Expectation, batch: Batch) -> Broken | None:
    latest: Any = batch.frame[one.columns[0]].max()
    if latest is None:
        return None
    age = (as_datetime(batch.now) - latest) // dt.timedelta(seconds=1) * SECOND
    if age <= duration(one.given["within"]):
        return None
    return Broken(batch.frame.height, batch.frame.height, found=spoken(age))


def _volume(one: Expectation, batch: Batch) -> Broken | None:
    if batch.hourly is None:
        return None
    odd = odd_hours(batch.frame[one.columns[0]], batch.hourly, one.given["deviations"])
    return Broken(odd.n_odd, odd.n_hours, found=odd.first) if odd.n_odd else None


_KINDS: Mapping[str, Callable[[Expectation, Batch], Broken | None]] = {
    "unique": _unique,
    "monotone": _monotone,
    "z_score": _z_score,
    "statistic": _statistic,
    "contains": _contains,
    "most_common": _most_common,
    "rows": _rows,
    "fresh": _fresh,
    "volume": _volume,
}
