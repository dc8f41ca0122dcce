"""The requests of a training set that no home keeps: dataframes, files, and what sources of datasets give."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from varv.data import Dataset, Frame, Parquet
from varv.data.sources import in_kept_types, kept_type
from varv.data.sources.pointers import resolved
from varv.features.bulk import requests_of
from varv.home.training_sets import Asked
from varv.kernel.codec import digest_of
from varv.kernel.content import rows_digest
from varv.kernel.errors import InvalidDeclaration, InvalidInput


def without_home(requests: object, at: str | None) -> Asked:
    """Return requests of a dataframe, of files, or of the source of a dataset.

    Raises
    ------
    InvalidInput
        If they are none of these, or lack the column of their times.
    """
    if isinstance(requests, Dataset):
        names = list(requests.types())
        rows = (in_kept_types(part).select(names) for part in requests.source.batches())
        return Asked(requests, at or requests.event_time, pl.Schema(requests.types()), rows)
    if isinstance(requests, str | Path):
        source = Parquet(str(requests))
        return _plain(pl.Schema(source.types()), source.batches(), at)
    try:
        frame = Frame(requests).load()
    except InvalidDeclaration:
        hint = "give a dataframe, an Arrow table, the path of a Parquet file or a varv.Dataset"
        raise InvalidInput("requests", type(requests).__name__, "hold no rows", hint=hint) from None
    return _plain(frame.schema, [frame], at)


def _plain(columns: pl.Schema, rows: Iterable[pl.DataFrame], at: str | None) -> Asked:
    dataset = requests_of(columns, at or "")
    return Asked(dataset, dataset.event_time, columns, rows)


def digest_of_requests(requests: object, asked: Asked) -> str:
    """Return what tells requests that no home keeps from all others."""
    if not isinstance(requests, str | Path):
        kept = [name for name, dtype in asked.columns.items() if kept_type(dtype) is not None]
        return f"rows:{digest_of([rows_digest(in_kept_types(part.select(kept))) for part in asked.rows])}"
    found = hashlib.sha256()
    for path in _files(str(requests)):
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return f"files:{found.hexdigest()}"


def _files(pattern: str) -> list[Path]:
    """Return the files that a pattern stands for, in their order."""
    if (pointed := resolved(pattern)) is not None:
        return pointed
    path = Path(pattern)
    if path.is_dir():
        return sorted(one for one in path.rglob("*") if one.is_file())
    return sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
