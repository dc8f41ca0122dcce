"""A profile of a table: what can be said of its rows without keeping them, in memory that does not grow.

Profiles of parts of a table, made with one scale, merge into the profile of the whole: whatever the parts and
their order, to the last bit. Only the most frequent values are cut off differently once a column has more
than 1,024 frequent ones; their intervals hold all the same. Whatever is read off a profile is in
`profiles.reading` and `profiles.difference`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
import polars as pl

from varv.kernel.codec import digest
from varv.kernel.errors import Corrupt, InvalidInput
from varv.profiles.column import ColumnProfile, column_profile, merged_columns
from varv.profiles.counted import OTHER, counted, kind_of
from varv.profiles.distinct import KEPT
from varv.profiles.pairs import PairSums, merged_pairs, pair_sums
from varv.profiles.sample import Sample, merged_samples, sampled
from varv.profiles.scale import ColumnScale, Scale, scale_of

FORMAT = 2
"""Raised when the same rows give another profile."""
ROWS_AT_ONCE = 1 << 16
"""Arrays of so many rows are made again and again without asking the operating system for memory."""
_MERGED_AT_ONCE = 16
_THREADS = 2
_NEEDS = "profiles are merged if they have one scale; make the second with scale=first.scale"


class Profile(msgspec.Struct, frozen=True):
    """Of the rows of one table: a profile of each column of the scale, sums of pairs, a sample of rows."""

    scale: Scale
    n_rows: int
    columns: tuple[ColumnProfile, ...]
    pairs: PairSums
    sample: Sample

    def column(self, name: str) -> tuple[ColumnScale, ColumnProfile]:
        """Return the scale and the profile of a column.

        Raises
        ------
        InvalidInput
            If there is none of that name.
        """
        for scale, one in zip(self.scale.columns, self.columns, strict=True):
            if scale.name == name:
                return scale, one
        names = ", ".join(scale.name for scale in self.scale.columns)
        raise InvalidInput("column", name[:80], "does not exist", hint=f"the columns are {names}")

    def to_bytes(self) -> bytes:
        """Return the profile as bytes: equal profiles have equal bytes."""
        return msgspec.msgpack.encode((FORMAT, self), enc_hook=_encoded)

    @staticmethod
    def from_bytes(data: bytes) -> Profile:
        """Return the profile that `to_bytes` wrote.

        Raises
        ------
        Corrupt
            If the bytes are something else.
        """
        try:
            form, found = msgspec.msgpack.decode(data, type=tuple[int, Profile], dec_hook=_decoded)
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            raise Corrupt("profile", digest(data)[:12], "does not decode", why=str(error)) from None
        if form != FORMAT:
            raise Corrupt("profile", digest(data)[:12], "is of another version of varv", found=form)
        return found


def _encoded(value: object) -> object:
    if isinstance(value, np.ndarray):
        little = value.astype(value.dtype.newbyteorder("<"))
        return (little.dtype.str, little.tobytes())
    raise TypeError(f"a profile holds no {type(value).__name__}")


def _decoded(kind: type, value: Any) -> object:
    name, data = value
    if name not in ("<f8", "<i8", "<u8"):
        raise ValueError(f"a profile holds no array of {str(name)[:20]}")
    return np.frombuffer(data, np.dtype(name))


def profile_of(
    frame: pl.DataFrame | Iterable[pl.DataFrame],
    *,
    scale: Scale | None = None,
    key: Collection[str] = (),
    private: Collection[str] = (),
    secret: bytes = b"",
) -> Profile:
    """Return the profile of a table, or of one that comes in several frames.

    Parameters
    ----------
    frame
        Rows; columns of lists, structs and bytes are counted only.
    scale
        That of an earlier profile, so that both can be merged and compared cell by cell. By default one that
        follows from the first 65,536 rows.
    key
        Columns that identify a row, if there is no scale; all of them together if left out.
    private
        Columns of which counts alone are kept, if there is no scale.
    secret
        What values of private columns are hashed with.

    Raises
    ------
    InvalidInput
        If a column is not there, or holds something else than the scale says.

    Examples
    --------
    >>> january = profile_of(pl.DataFrame({"delay": [3.0, None, 5.0]}))
    >>> february = profile_of(pl.DataFrame({"delay": [4.0]}), scale=january.scale)
    >>> merged([january, february]).column("delay")[1].tally.rows
    4
    """
    frames = [frame] if isinstance(frame, pl.DataFrame) else in_stretches(frame)
    whole: Profile | None = None
    with ThreadPoolExecutor(_THREADS) as pool:
        parts: list[Profile] = []
        for rows in frames:
            for first in range(0, max(rows.height, 1), ROWS_AT_ONCE):
                part = rows.slice(first, ROWS_AT_ONCE)
                scale = scale or scale_of(part, key=key, private=private)
                parts.append(_stretch(part, scale, secret, parts[0] if parts else None, pool))
                if len(parts) >= _MERGED_AT_ONCE:
                    parts = [merged(parts)]
        if parts:
            whole = merged(parts)
    if whole is None:
        raise InvalidInput("profile", "table", "has no frame", hint="give a frame, which may be empty")
    return whole


def in_stretches(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Yield the rows of frames in order, small ones put together: each costs as much as many rows."""
    waiting, n = list[pl.DataFrame](), 0
    for frame in frames:
        waiting.append(frame)
        n += frame.height
        if n >= ROWS_AT_ONCE:
            yield pl.concat(waiting)
            waiting, n = list[pl.DataFrame](), 0
    if waiting:
        yield pl.concat(waiting)


def _stretch(
    rows: pl.DataFrame, scale: Scale, secret: bytes, before: Profile | None, pool: ThreadPoolExecutor
) -> Profile:
    """Return the profile of some rows; what the profile of those before it has no room for is left out."""
    for one in scale.columns:
        _require_like(rows, one)
    sample = pool.submit(sampled, rows, scale, None if before is None else _bound(before.sample.hashes))

    pairs = pool.submit(pair_sums, rows, scale)

    def of_column(number: int) -> ColumnProfile:
        one = scale.columns[number]
        bound = None if before is None else _bound(before.columns[number].hashes)
        return column_profile(counted(rows[one.name], one.kind), one, secret=secret, bound=bound)

    columns = tuple(pool.map(of_column, range(len(scale.columns))))
    return Profile(scale, rows.height, columns, pairs.result(), sample.result())


def _bound(hashes: np.ndarray) -> np.uint64 | None:
    return hashes[-1] if len(hashes) >= KEPT else None


def _require_like(rows: pl.DataFrame, scale: ColumnScale) -> None:
    if scale.name not in rows.columns:
        hint = "make a new scale; its profile can be compared, but not merged"
        raise InvalidInput("column", scale.name, "is not in these rows", hint=hint)
    dtype = rows.schema[scale.name]
    kind = kind_of(dtype)
    if kind != scale.kind and dtype != pl.Null:
        hint = "make a new scale; its profile can be compared, but not merged"
        problem = f"holds {kind} values and not {scale.kind}, as the scale says"
        raise InvalidInput("column", scale.name, problem, hint=hint)


def merged(several: Sequence[Profile]) -> Profile:
    """Return the profile of the rows of several profiles together.

    Raises
    ------
    InvalidInput
        If there is none, or they have different scales.
    """
    if not several:
        raise InvalidInput("profile", "merge", "has nothing to merge", hint="give one profile or more")
    first = several[0]
    for one in several:
        if one.scale is not first.scale and one.scale != first.scale:
            raise InvalidInput("profile", "merge", "has profiles of different scales", hint=_NEEDS)
    if len(several) == 1:
        return first
    columns = zip(*(one.columns for one in several), strict=True)
    return Profile(
        first.scale,
        sum(one.n_rows for one in several),
        tuple(merged_columns(same) for same in columns),
        merged_pairs([one.pairs for one in several]),
        merged_samples([one.sample for one in several]),
    )


def is_counted_only(scale: ColumnScale) -> bool:
    """Return whether a profile has nothing but counts of a column."""
    return scale.private or scale.kind == OTHER
