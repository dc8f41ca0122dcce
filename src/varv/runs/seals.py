"""Seals: what makes the points of a run's metrics unchangeable, and the chunks that they lie in from then on.

Each series has a chain of digests of its own; a seal names the last ones of all, and its root is in the
ledger. When runs are sealed is decided in `runs.series`, whether they are what was sealed in
`runs.verifying`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from varv.kernel.codec import Digest, digest_of
from varv.runs.model import PointsSealed, RunId
from varv.runs.points import by_series, chained_digest, chunk, read

LEAST_OF_A_CHUNK = 16
"""A series with fewer points in one seal shares a chunk with others like it."""


@dataclass(slots=True)
class State:
    """The last seal of a series: its number, the points so far, and their digest."""

    number: int
    n: int
    digest: bytes


@dataclass(slots=True)
class Seal:
    """What seals the points of a run that have come since the last seal."""

    number: int
    n: int
    root: Digest
    rows: list[tuple[int, int, int, bytes]]
    """Key, number, points of the series so far, and their digest."""
    chunks: list[tuple[int, bytes]]

    @classmethod
    def of(cls, db: sqlite3.Connection, run: int, points: np.ndarray) -> Seal:
        """Return what seals further points of a run, by its number in the file; 0 if it has none yet."""
        states = _states(db, run) if run else {}
        number = 1 + max((state.number for state in states.values()), default=0)
        parts = by_key(points)
        for key, part in parts.items():
            before = states.get(key)
            chained = chained_digest(b"" if before is None else before.digest, part)
            states[key] = State(number, len(part) + (0 if before is None else before.n), chained)
        rows = [(key, number, states[key].n, states[key].digest) for key in parts]
        return cls(number, len(points), digest_of(_named(db, states)), rows, chunks_of(parts))

    def put(self, db: sqlite3.Connection, run: int) -> None:
        """Write the seal and the points that it is of."""
        db.executemany("INSERT INTO sealed VALUES (?, ?, ?, ?, ?)", [(run, *row) for row in self.rows])
        db.executemany(
            "INSERT INTO chunk (run, key, number, data) VALUES (?, ?, ?, ?)",
            [(run, key, self.number, data) for key, data in self.chunks],
        )

    def event(self, run: str) -> PointsSealed:
        """Return what the ledger is told of it."""
        return PointsSealed(run=RunId(run), number=self.number, n=self.n, root=self.root)


def _states(db: sqlite3.Connection, run: int) -> dict[int, State]:
    """Return the last seal of each series of a run."""
    query = "SELECT key, number, n, digest FROM sealed WHERE run = ? ORDER BY number"
    return {key: State(number, n, found) for key, number, n, found in db.execute(query, (run,))}


def _named(db: sqlite3.Connection, states: dict[int, State]) -> list[tuple[str, int, str]]:
    names = names_of(db, list(states))
    return sorted((names[key], state.n, state.digest.hex()) for key, state in states.items())


def names_of(db: sqlite3.Connection, keys: Sequence[int]) -> dict[int, str]:
    """Return the names that keys are the numbers of."""
    found: dict[int, str] = {}
    for start in range(0, len(keys), 500):
        some = keys[start : start + 500]
        query = f"SELECT no, name FROM key WHERE no IN ({','.join('?' * len(some))})"
        found |= dict(db.execute(query, some))
    return found


def by_key(points: np.ndarray) -> dict[int, np.ndarray]:
    """Return points by their series, each in the order of arrival."""
    ordered, starts = by_series(points)
    ends = [*starts[1:], len(ordered)]
    keys = ordered["key"][starts].tolist()
    return {key: ordered[start:end] for key, start, end in zip(keys, starts, ends, strict=False)}


def chunks_of(parts: dict[int, np.ndarray]) -> list[tuple[int, bytes]]:
    """Return the chunks that series are stored in, by the key of the series, 0 for several."""
    small = [part for part in parts.values() if len(part) < LEAST_OF_A_CHUNK]
    made = [(key, chunk(part)) for key, part in parts.items() if len(part) >= LEAST_OF_A_CHUNK]
    return [*made, (0, chunk(read(part.tobytes() for part in small)))] if small else made
