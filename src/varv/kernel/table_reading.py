"""Connections that read a recorder's file of tables, each as of one moment, beside whoever writes it."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from varv.kernel.errors import NotFound
from varv.kernel.patterns import MATCHES, matches
from varv.kernel.sqlite_file import connect


class TableReader:
    """A file of tables that is only read. Several threads may ask.

    Parameters
    ----------
    path
        The file, which a `kernel.recorder.Recorder` writes, in this process, in another, or nowhere now.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: deque[sqlite3.Connection] = deque()
        self._closed = False

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """Give a connection that shows what is committed, as of one moment.

        Raises
        ------
        NotFound
            If there is no such file.
        """
        db = self._taken()
        db.execute("BEGIN")
        try:
            yield db
        finally:
            db.execute("ROLLBACK")
            self._idle.append(db)
            if self._closed:
                self.close()

    def close(self) -> None:
        """Close the connections, those that are in use once they are given back."""
        self._closed = True
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _taken(self) -> sqlite3.Connection:
        try:
            return self._idle.pop()
        except IndexError:
            pass
        if not self._path.exists():
            hint = "start varv up or varv track on the home once"
            raise NotFound("file", self._path.name, "is not there", hint=hint)
        db = connect(str(self._path), read_only=True)
        db.execute("PRAGMA case_sensitive_like = ON")
        db.create_function(MATCHES, 2, matches, deterministic=True)
        return db
