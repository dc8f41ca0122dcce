"""What every source is: columns and rows, and the steps in which it is pulled.

A pull goes on where the last one ended. That place is a cursor: texts by names, such as the greatest time
that was seen, or the mark of each file that was read. A step is some rows and how they move the cursor, so
that rows and cursor can be committed together and a pull can end after any step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import msgspec
import polars as pl

from varv.kernel.clock import Instant

BATCH_ROWS = 250_000
BATCH_BYTES = 64 << 20
T = TypeVar("T")


class Asked(NamedTuple):
    """What a source is asked to go on from: the cursor, the types of the dataset, and the time."""

    cursor: Mapping[str, str]
    types: Mapping[str, pl.DataType]
    now: Instant


@runtime_checkable
class Keyed(Protocol):
    """A source that can be asked for keys alone, so that deletions are found."""

    def keys(self, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        """Yield the columns of the key of all rows that there are."""
        ...


class Step(NamedTuple):
    """Some rows, and the places of the cursor that move with them; an empty text takes a place away."""

    rows: pl.DataFrame
    moved: Mapping[str, str]
    broken: pl.Series | None = None
    """Rows that the source itself says are not what they were."""
    gone: pl.Series | None = None
    """Rows that say that the one of their key was deleted, in the order in which things happened."""
    entire: bool = False
    """Whether a row is all that stands of its key: what became known before, and it does not say, goes."""
    only: Keyed | None = None
    """Who has the keys of all rows that there are from here on: others go."""


@runtime_checkable
class Source(Protocol):
    """Where rows come from."""

    @property
    def identity(self) -> str:
        """What the source is, without any secret: its cursors hold for it alone."""
        ...

    @property
    def guesses(self) -> bool:
        """Whether types are what rows suggest, and not stated anywhere."""
        ...

    @property
    def technical(self) -> tuple[str, ...]:
        """Columns that say when or how a row was written, and nothing of what it is about."""
        ...

    def types(self) -> Mapping[str, pl.DataType]:
        """Return the columns and their types as the source states them, without reading the rows if
        possible.
        """
        ...

    def load(self) -> pl.DataFrame:
        """Return all rows."""
        ...

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Yield all rows in their order, as many at a time as fit well into memory; of some columns only, if
        they are named.
        """
        ...

    def steps(self, asked: Asked) -> Iterator[Step]:
        """Yield what came after a cursor. Texts may stand for values of other types."""
        ...


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """What a source is made of, by somebody else's word: when a row of it came last, when that was looked at,
    and whether it was found fresh: ``"pass"``, ``"warn"``, ``"error"`` or what went wrong.
    """

    name: str
    loaded_at: str
    checked_at: str
    status: str
    is_late: bool = False
    """Whether the dataset is late by that."""


@runtime_checkable
class Derived(Protocol):
    """A source that is told how fresh what it is made of is."""

    def upstreams(self) -> tuple[Upstream, ...]:
        """Return that, as far as it was looked at."""
        ...


def pieces(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Yield the same rows, at most `BATCH_ROWS` or about `BATCH_BYTES` at a time."""
    for frame in frames:
        share = max(frame.height / BATCH_ROWS, frame.estimated_size() / BATCH_BYTES)
        if share <= 1:
            yield frame
            continue
        yield from frame.iter_slices(max(1, int(frame.height / share)))


def with_last(several: Iterable[T]) -> Iterator[tuple[T, bool]]:
    """Yield each, and whether it is the last."""
    held: list[T] = []
    for one in several:
        if held:
            yield held.pop(), False
        held.append(one)
    if held:
        yield held.pop(), True


def file_steps(
    marks: Mapping[str, str], asked: Asked, read: Callable[[str, int], Iterator[pl.DataFrame]]
) -> Iterator[Step]:
    """Yield the rows of files that are new, or others than when they were read.

    A file that takes several steps has the number of rows that came so far at the end of its mark, so that it
    goes on there. Files that are gone leave the cursor.

    Parameters
    ----------
    marks
        By name, in the order in which they are read, what changes when the file does.
    read
        Yields the rows of a file but for so many at its beginning.
    """
    gone = dict.fromkeys(asked.cursor.keys() - marks.keys(), "")
    for name, mark in marks.items():
        known, _, n_text = asked.cursor.get(name, "").partition("+")
        if known == mark and not n_text:
            continue
        n_read, came = int(n_text) if known == mark else 0, False
        for piece, last in with_last(pieces(read(name, n_read))):
            n_read, came = n_read + piece.height, True
            yield Step(piece, {name: mark if last else f"{mark}+{n_read}", **gone})
            gone.clear()
        if not came:
            yield Step(pl.DataFrame(), {name: mark, **gone})
            gone.clear()
    if gone:
        yield Step(pl.DataFrame(), gone)
