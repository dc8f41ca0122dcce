"""How long a search may take: one that finds no end is refused, whatever SQLite is busy with."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

from varv.kernel.clock import wall_seconds
from varv.kernel.errors import InvalidInput
from varv.runs.probing import FOLDED, lowered

LONGEST_S = 2.0
LONGEST_TO_READ_S = 10.0
"""Beyond it, for arrays that are not in memory yet."""
_LOOKS_EVERY = 50_000
"""Steps of SQLite's machine between two looks at the clock."""


class Patience:
    """How long a search may take. What is read once for all searches is not held against the one that
    is first to need it, within bounds.
    """

    def __init__(self) -> None:
        self._until = wall_seconds() + LONGEST_S
        self._at_last = self._until + LONGEST_TO_READ_S
        self._reading = False

    def is_over(self) -> bool:
        """Return whether a search is to be ended."""
        return wall_seconds() > (self._at_last if self._reading else self._until)

    @contextmanager
    def reading(self) -> Generator[None]:
        """Let the time of a block not count."""
        begun, self._reading = wall_seconds(), True
        try:
            yield
        finally:
            self._reading = False
            self._until = min(self._until + wall_seconds() - begun, self._at_last)


@contextmanager
def bounded(db: sqlite3.Connection) -> Generator[Patience]:
    """Let no search take for ever."""
    patience = Patience()
    db.create_function(FOLDED, 1, lowered, deterministic=True)
    db.set_progress_handler(patience.is_over, _LOOKS_EVERY)
    try:
        yield patience
    except sqlite3.OperationalError as error:
        if str(error) != "interrupted":
            raise
        hint = "ask for fewer experiments, or compare something that fewer runs have"
        raise InvalidInput("search", "", "takes too long", longest_s=LONGEST_S, hint=hint) from None
    finally:
        db.set_progress_handler(None, 0)
