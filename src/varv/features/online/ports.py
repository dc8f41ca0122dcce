"""The port to stores of packed features: tables of values by key, in generations of which one is current.

A generation is filled where nobody reads, and becomes current as a whole; the one before stays as it is until
it is dropped. Whoever decides which one is current writes it into the ledger first (`online.model`), so a
store that lost its pointer gets it again. There is one writer of a table, and any number of readers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol


class Table(NamedTuple):
    """One generation of the features of a view."""

    name: str
    generation: int


class Pointer(NamedTuple):
    """The current generation of a table, and what was noted when it became so."""

    generation: int
    note: bytes


class Found(NamedTuple):
    """What a table holds for some keys: values in their order, None where there is none."""

    pointer: Pointer | None
    """None if no generation is current."""
    values: list[bytes | None]


class KeyValue(Protocol):
    """A store of tables; threads may use it at the same time."""

    def get_many(self, asked: Mapping[str, Sequence[bytes]]) -> dict[str, Found]:
        """Return what the current generations of tables hold for keys, each table as of one generation."""
        ...

    def current(self, name: str) -> Pointer | None:
        """Return which generation of a table is current, None if none is."""
        ...

    def get_from(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return what one generation holds for keys, whether it is current or not."""
        ...

    def note(self, table: Table) -> bytes | None:
        """Return what was noted with the last values that one generation got, None if it has none."""
        ...

    def put_many(self, table: Table, values: Sequence[tuple[bytes, bytes]], note: bytes) -> None:
        """Put values in the place of those with their keys, and note something, all of it or nothing; a
        generation that is not there begins with it.
        """
        ...

    def swap(self, table: Table, note: bytes) -> None:
        """Make a generation the current one of its table; the same one again replaces the note."""
        ...

    def drop(self, table: Table) -> None:
        """Remove a generation; one that is not there is fine. Readers that have it open may finish."""
        ...

    def generations(self, name: str) -> list[int]:
        """Return the generations of a table that are there, in their order."""
        ...

    def size_bytes(self, table: Table) -> int:
        """Return how much room a generation takes, roughly."""
        ...

    def close(self) -> None:
        """Give back what is held; nothing is asked afterwards."""
        ...
