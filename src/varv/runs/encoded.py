"""What runs look like to somebody, in bytes, kept for as long as nothing about them changes.

Most runs have ended, and pages of them are asked for again and again. The table `changed` says which runs
have changed since, as of the same moment as everything else that a connection shows, so what is kept is never
older than what it is answered beside.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence

from varv.kernel.executor import MIB
from varv.runs.tables import EVERY_RUN, first_and_last_change

MOST_BYTES = 64 * MIB
_ENTRY_BYTES = 200
"""Of the tables of Python, for each run that is kept."""


class Encoded:
    """Runs of one file as one front tells of them. Several threads may ask.

    Parameters
    ----------
    encode
        Returns what runs look like, by their numbers in the file and in that order.
    most_bytes
        What is kept; what was kept first goes first.
    """

    def __init__(
        self,
        encode: Callable[[sqlite3.Connection, Sequence[int]], list[bytes]],
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._encode, self._most_bytes = encode, most_bytes
        self._lock = threading.Lock()
        self._kept: dict[int, bytes] = {}
        self._n_bytes = 0
        self._upto = -1
        """The last change that what is kept takes into account; -1 before the first look."""

    def of(self, db: sqlite3.Connection, runs: Sequence[int]) -> list[bytes]:
        """Return what runs look like, as the connection shows them."""
        with self._lock:
            upto = self._follow(db)
            found = {run: self._kept[run] for run in runs if run in self._kept} if upto is not None else {}
        missing = [run for run in runs if run not in found]
        if missing:
            made = dict(zip(missing, self._encode(db, missing), strict=True))
            found |= made
            with self._lock:
                # Another thread may have gone on meanwhile, to changes that this connection does not show.
                if upto == self._upto:
                    self._keep(made)
        return [found[run] for run in runs]

    def _follow(self, db: sqlite3.Connection) -> int | None:
        """Let go of what has changed, and return up to where; None if the connection shows an earlier moment
        than what is kept.
        """
        first, last = first_and_last_change(db)
        if last < self._upto:
            return None
        if self._upto < first - 1:
            self._clear()
        elif last > self._upto:
            changed = db.execute("SELECT run FROM changed WHERE no > ?", (self._upto,))
            self._forget(run for (run,) in changed)
        self._upto = last
        return last

    def _forget(self, changed: Iterable[int]) -> None:
        for run in changed:
            if run == EVERY_RUN:
                self._clear()
            elif (gone := self._kept.pop(run, None)) is not None:
                self._n_bytes -= len(gone) + _ENTRY_BYTES

    def _keep(self, made: dict[int, bytes]) -> None:
        for run, told in made.items():
            if run not in self._kept:
                self._kept[run] = told
                self._n_bytes += len(told) + _ENTRY_BYTES
        while self._n_bytes > self._most_bytes:
            self._n_bytes -= len(self._kept.pop(next(iter(self._kept)))) + _ENTRY_BYTES

    def _clear(self) -> None:
        self._kept.clear()
        self._n_bytes = 0
