"""Parquet of strangers as plain values: ``python -m varv.kernel.parquet_reading``, which may die of it.

Parsers of Parquet are native code, and a file of some kilobytes can ask them for gigabytes. So a file that
somebody sent is read here, in a process with bounds, and comes back as lists of plain values. Whoever starts
it writes a head and a file to its standard input and reads a head and an answer from its standard output,
again and again; the process ends with its input, when nobody has asked for a while, or with whatever it does
not survive.
"""

from __future__ import annotations

import os
import resource
import select
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

ASKED = struct.Struct("<II")
"""The head of a request: how many rows it may have, and how many bytes follow."""
TOLD = struct.Struct("<BI")
"""The head of an answer: what it is, and how many bytes follow."""
READ, TOO_MUCH, REFUSED = range(3)
"""The columns, by their names, in MessagePack; too many rows, columns or bytes; no such file. What is wrong
follows as a text.
"""
MOST_VALUES = 4_000_000
"""Rows times columns."""
MOST_COLUMNS = 10_000
MOST_ANSWER_BYTES = 32 << 20
MOST_DATA_BYTES = 512 << 20
"""Of memory that this process may have for what it reads, the libraries' own included."""
IDLE_S = 60
_TO_KEEP_BYTES = 256 << 20
"""A process that holds more after a file does not stay for the next."""
_MOST_WHY = 200


class TooMuch(Exception):
    """A file holds more than one request may."""


def columns_of(data: bytes, most_rows: int) -> Mapping[str, list[Any]]:
    """Return the columns of a file as plain values: times as ISO 8601 texts, NaN as null.

    Raises
    ------
    TooMuch
        If there is more of it than allowed.
    ValueError, polars.exceptions.PolarsError
        If it is no Parquet, or has columns of another kind than plain ones.
    """
    import polars as pl

    schema = pl.read_parquet_schema(BytesIO(data))
    if len(schema) > MOST_COLUMNS:
        raise TooMuch(f"has {len(schema)} columns; {MOST_COLUMNS} at most")
    n_rows = pl.scan_parquet(BytesIO(data)).select(pl.len()).collect().item()
    if n_rows > most_rows:
        raise TooMuch(f"has {n_rows} rows; {most_rows} at most")
    if n_rows * len(schema) > MOST_VALUES:
        raise TooMuch(f"has {n_rows} rows of {len(schema)} columns; {MOST_VALUES} values at most")
    frame = pl.read_parquet(BytesIO(data), n_rows=most_rows)
    # pandas writes a row's number in its frame so; reading with pandas gives no column of it either.
    series = [one for one in frame if not one.name.startswith("__index_level_")]
    plain = [_plain(one) for one in series]
    n_bytes = sum(one.str.len_bytes().sum() for one in plain if one.dtype == pl.String)
    if n_bytes > MOST_ANSWER_BYTES:
        raise TooMuch(f"has {n_bytes} bytes of text; {MOST_ANSWER_BYTES} at most")
    return {one.name: one.to_list() for one in plain}


def _plain(series: Any) -> Any:
    """Return a column as one of texts, numbers or truth values."""
    import polars as pl

    dtype = series.dtype
    if dtype in (pl.String, pl.Boolean, pl.Null) or dtype.is_integer():
        return series
    if dtype.is_float():
        return series.fill_nan(None)
    if dtype.is_decimal():
        return series.cast(pl.Float64)
    if dtype == pl.Date:
        return series.dt.to_string("iso")
    if isinstance(dtype, pl.Datetime):
        in_utc = series.dt.convert_time_zone("UTC") if dtype.time_zone else series
        return in_utc.dt.cast_time_unit("us").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    if dtype in (pl.Binary, pl.Categorical, pl.Enum):
        # Some writers do not say of their texts that they are any.
        return series.cast(pl.String)
    raise ValueError(f"column {series.name[:80]!r} is of type {str(dtype)[:80]}")


def answer_to(data: bytes, most_rows: int) -> tuple[int, bytes]:
    """Return what is said of a file: what it is, and the bytes."""
    import msgspec
    import polars as pl

    try:
        told = msgspec.msgpack.encode(columns_of(data, most_rows))
    except TooMuch as error:
        return TOO_MUCH, str(error).encode()
    except (ValueError, OverflowError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        return REFUSED, str(error).partition("\n")[0][:_MOST_WHY].encode(errors="replace")
    if len(told) > MOST_ANSWER_BYTES:
        return TOO_MUCH, f"has {len(told)} bytes of values; {MOST_ANSWER_BYTES} at most".encode()
    return READ, told


def bounded() -> None:
    """Take bounds for this process; as in jobs, what counts is memory that may be written."""
    for kind, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_DATA, MOST_DATA_BYTES)):
        with suppress(OSError, ValueError):
            hard = resource.getrlimit(kind)[1]
            least = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(kind, (least, least))


def _held_bytes() -> int:
    """Return how much memory this process holds, where the system says so."""
    # Not by its peak, which begins with that of the process that started this one.
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return 0


def serve(incoming: BinaryIO, outgoing: BinaryIO) -> None:
    """Answer what comes until the input ends, or nothing has come for a while."""
    while _held_bytes() < _TO_KEEP_BYTES and select.select([incoming], [], [], IDLE_S)[0]:
        head = incoming.read(ASKED.size)
        if len(head) < ASKED.size:
            return
        most_rows, size = ASKED.unpack(head)
        data = incoming.read(size)
        if len(data) < size:
            return
        kind, told = answer_to(data, most_rows)
        outgoing.write(TOLD.pack(kind, len(told)) + told)
        outgoing.flush()


def main() -> None:
    """Serve within bounds."""
    # Polars looks when it is imported; threads of one request do not pay for their memory.
    os.putenv("POLARS_MAX_THREADS", "1")
    bounded()
    with suppress(BrokenPipeError), os.fdopen(0, "rb") as incoming, os.fdopen(1, "wb") as outgoing:
        serve(incoming, outgoing)


if __name__ == "__main__":
    sys.exit(main())
