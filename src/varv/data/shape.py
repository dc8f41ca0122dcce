"""The shape of a dataset: keys, times and types, and how it may change.

A dataset may gain columns: they are null in all rows that were stored before. Everything else about it stays
as it was registered, since stored rows are read by it.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from varv.data.dataset import Dataset
from varv.data.model import DatasetRegistered, DatasetWidened
from varv.data.sources import in_kept_types
from varv.kernel.clock import Instant


def shape_of(dataset: Dataset) -> DatasetRegistered:
    """Return a dataset's shape as the ledger keeps it."""
    return DatasetRegistered(
        dataset=dataset.name,
        key=dataset.key,
        event_time=dataset.event_time,
        known_at=dict(dataset.known_at),
        types={name: str(dtype) for name, dtype in dataset.types().items()},
        pii={column: str(how) for column, how in dataset.pii.items()},
    )


def widening(before: DatasetRegistered, dataset: Dataset) -> DatasetWidened | None:
    """Return the event that a dataset has the columns that it declares from now on; None if it gains none."""
    after = shape_of(dataset)
    gained = {name: dtype for name, dtype in after.types.items() if name not in before.types}
    if not gained:
        return None
    return DatasetWidened(
        dataset=dataset.name, known_at=after.known_at, types=after.types, gained=tuple(gained)
    )


def misfit(before: DatasetRegistered, dataset: Dataset) -> str:
    """Return why what is stored of a dataset does not fit its declaration, or nothing."""
    types = {name: str(dtype) for name, dtype in dataset.types().items()}
    if before.key != dataset.key:
        return f"has another key: {', '.join(before.key)} -> {', '.join(dataset.key)}"
    if before.event_time != dataset.event_time:
        return f"has another event time: {before.event_time} -> {dataset.event_time}"
    lost = [name for name in before.types if name not in types]
    if lost:
        return f"has lost the column {lost[0]}, which is stored"
    retyped = [name for name, dtype in before.types.items() if types[name] != dtype]
    if retyped:
        name = retyped[0]
        return f"has another type in {name}: {before.types[name]} -> {types[name]}"
    for name in before.types:
        known = (time for time, names in before.known_at.items() if name in (time, *names))
        at = next(known, before.event_time)
        if dataset.known_when(name) != at:
            return f"knows {name} at another time: {at} -> {dataset.known_when(name)}"
    return ""


def in_shape(frame: pl.DataFrame, types: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Return `frame` with the columns `types`, null where it was stored before it had them."""
    if all(name in frame.columns for name in types):
        return frame
    missing = [
        pl.Series(name, [None], dtype=dtype).new_from_index(0, frame.height)
        for name, dtype in types.items()
        if name not in frame.columns
    ]
    return frame.hstack(missing)


def conformed(frame: pl.DataFrame, dataset: Dataset, part: str) -> pl.DataFrame:
    """Return the rows of a part as they are stored: its columns in their types.

    Raises
    ------
    pl.exceptions.PolarsError
        If a column is missing, or a value does not fit.
    """
    types = dataset.part_types(part)
    rows = in_kept_types(frame)
    if rows.columns != list(types):
        rows = rows.select(list(types))
    return rows if rows.schema == types else rows.cast(types, strict=True)  # type: ignore[arg-type]


def span_of(rows: pl.DataFrame, part: str) -> tuple[Instant | None, Instant | None]:
    """Return the first and the last time of rows of a part; None if there are none."""
    times = rows[part].cast(pl.Int64)
    first, last = times.min(), times.max()
    return (
        Instant(first) if isinstance(first, int) else None,
        Instant(last) if isinstance(last, int) else None,
    )
