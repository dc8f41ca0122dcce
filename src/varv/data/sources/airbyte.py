"""What Airbyte puts into the files of a stream: records, what it says of each, and generations of them.

A generation is what one full refresh gives, or all syncs between two. A record of change data capture may say
that its row was deleted.

Source: Airbyte's documentation of its S3 and file destinations (names, ``_airbyte_*`` columns), of refreshes,
and of change data capture (``_ab_cdc_*``).
"""

from __future__ import annotations

import re

import polars as pl

from varv.kernel.columns import TIME

FILE = re.compile(r"\d{4}_\d{2}_\d{2}_(\d+)_(\d+)\.")
_DATA, _META, _CHANGES = "_airbyte_data", "_airbyte_meta", "changes"
GENERATION, DELETED_AT = "_airbyte_generation_id", "_ab_cdc_deleted_at"
BEFORE_1 = {"_airbyte_ab_id": "_airbyte_raw_id", "_airbyte_emitted_at": "_airbyte_extracted_at"}
_EXTRACTED = "_airbyte_extracted_at"
_CDC = ("lsn", "cursor", "log_file", "log_pos", "event_serial_no", "updated_at")
TECHNICAL = ("_airbyte_raw_id", _EXTRACTED, GENERATION, DELETED_AT, *(f"_ab_cdc_{name}" for name in _CDC))
SAID = (_DATA, _META, GENERATION, DELETED_AT, *BEFORE_1)
"""Columns that are read though no dataset names them."""


def airbyte_rows(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series | None]:
    """Return records of Airbyte with their own columns, and which of them it says it has changed."""
    rows = rows.rename(
        {old: new for old, new in BEFORE_1.items() if old in rows.columns and new not in rows.columns}
    )
    if _DATA in rows.columns and rows[_DATA].count():
        rows = _opened(rows)
    rows = rows.drop(_DATA, strict=False)
    if _EXTRACTED in rows.columns and rows.schema[_EXTRACTED] != TIME:
        rows = rows.with_columns(_extracted_at(rows.schema[_EXTRACTED]))
    broken = None
    if _META in rows.columns:
        meta = rows[_META]
        texts = (
            meta
            if meta.dtype == pl.String
            else meta.struct.json_encode()
            if meta.dtype == pl.Struct
            else None
        )
        if texts is not None:
            broken = texts.str.json_path_match(f"$.{_CHANGES}[0]").is_not_null()
        rows = rows.drop(_META)
    return rows, broken


def deletions(rows: pl.DataFrame) -> pl.Series | None:
    """Return which records say that a row was deleted; None if none can."""
    if DELETED_AT not in rows.columns:
        return None
    said = rows[DELETED_AT]
    is_set = said.is_not_null() & (said != "") if said.dtype == pl.String else said.is_not_null()
    return is_set if is_set.any() else None


def generation_of(first: pl.LazyFrame) -> int:
    """Return the generation that a file is of; 0 if its records name none."""
    if GENERATION not in first.collect_schema():
        return 0
    numbers = first.select(pl.col(GENERATION).cast(pl.Int64, strict=False)).head(1).collect()[GENERATION]
    return int(numbers[0] or 0) if len(numbers) else 0


def _opened(rows: pl.DataFrame) -> pl.DataFrame:
    data = rows[_DATA]
    if data.dtype == pl.String:
        data = data.str.json_decode(infer_schema_length=None) if data.count() else data
    own = data.struct.unnest()
    nested = [name for name, dtype in own.schema.items() if isinstance(dtype, pl.Struct | pl.List)]
    own = own.drop(nested)
    return rows.drop(_DATA, *(name for name in own.columns if name in rows.columns)).hstack(own)


def _extracted_at(dtype: pl.DataType) -> pl.Expr:
    at = pl.col(_EXTRACTED)
    if isinstance(dtype, pl.Datetime):
        return (at if dtype.time_zone else at.dt.replace_time_zone("UTC")).cast(TIME)
    # Milliseconds since 1970, as a number or as its text.
    epoch = (
        pl.from_epoch(at.cast(pl.Int64, strict=False), time_unit="ms").dt.replace_time_zone("UTC").cast(TIME)
    )
    if dtype != pl.String:
        return epoch.alias(_EXTRACTED)
    return pl.coalesce(epoch, at.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False))


def is_named(name: str) -> bool:
    """Return whether Airbyte gives such names to its files."""
    return FILE.match(name.rpartition("/")[2]) is not None


def written(name: str) -> tuple[int, int, str]:
    """Return by what files are in the order in which they were written."""
    last = name.rpartition("/")[2]
    found = FILE.match(last)
    assert found is not None, "others are left out"
    return int(found[1]), int(found[2]), last
