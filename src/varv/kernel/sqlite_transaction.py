"""The transaction in hand of an embedded ledger: the changes of a group, one after another.

Entries are chained in memory and inserted together at the end; the rows beside them are written at once, in
`kernel.sqlite_rows`. When a transaction begins, commits or is given up is decided in `kernel.ledger_sqlite`.
"""

from __future__ import annotations

import sqlite3

import msgspec

from varv.kernel.clock import Duration, Instant
from varv.kernel.decided import require_command
from varv.kernel.errors import Conflict
from varv.kernel.ledger import Append, Change, ClaimedCommand, Entry, Head, chained
from varv.kernel.sqlite_reading import stream_head
from varv.kernel.sqlite_rows import (
    change_timer,
    end_command,
    lease_command,
    next_command,
    queue_command,
    save_saga,
)

Body = tuple[bytes, bytes | None]
"""An encoded event, and the record of what its entry decided."""

_INSERT = "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_MOST_VERSIONS = 10_000


class Transaction:
    """What the writer has in hand. The writer's alone: no two threads may use it at once.

    Parameters
    ----------
    db
        The writing connection.
    recorded_since
        Entries after this one carry records.
    """

    def __init__(self, db: sqlite3.Connection, *, recorded_since: int | None) -> None:
        self._db = db
        self._recorded_since = recorded_since or 0
        self._pending: list[Entry] = []
        self._versions: dict[str, int] = {}  # of streams lately written, in earlier transactions too

    @property
    def n_pending(self) -> int:
        """Entries that are chained and not inserted yet."""
        return len(self._pending)

    def write(self, change: Change, bodies: list[Body], tip: Head) -> tuple[list[Entry], Head]:
        """Write one change after `tip`; return its entries and the tip after them."""
        for guard in change.guards:
            self._require_version(guard.stream, guard.version)
        entries: list[Entry] = []
        for append, (data, decided) in zip(change.facts, bodies, strict=True):
            cause = change.cause if append.by is None else entries[append.by].seq
            version = self._next_version(append)
            entry = chained(tip, version, append, data, decided=decided, at=change.at, cause=cause)
            entries.append(entry)
            self._pending.append(entry)
            tip = Head(entry.seq, entry.hash)
        db = self._db
        for row in change.sagas:
            save_saga(db, row)
        for timer in change.timers:
            change_timer(db, timer, 0 if timer.due is None else entries[timer.by].seq)
        if change.ends is not None:
            end_command(db, change.ends)
        position: dict[int, int] = {}
        for command in change.commands:
            cause = entries[command.by].seq
            position[cause] = position.get(cause, -1) + 1
            queue_command(db, command, cause, position[cause], change.at)
        return entries, tip

    def claim(self, worker: str, now: Instant, lease: Duration) -> ClaimedCommand | None:
        """Take the lease of the next command that is due; None if there is none."""
        found = next_command(self._db, now)
        if found is None:
            return None
        queued, record = found
        if queued.cause > self._recorded_since:
            require_command(queued, self._pending_record(queued.cause) or record)
        return lease_command(self._db, queued, worker, Instant(now + lease))

    def insert(self, tip: Head) -> None:
        """Insert what was chained, of which `tip` is the last."""
        self._db.executemany(_INSERT, map(msgspec.structs.astuple, self._pending))
        self._pending.clear()
        self._db.execute("UPDATE head SET seq = ?, hash = ?", (tip.version, tip.hash))

    def forget(self, n_pending: int = 0) -> None:
        """Forget what was chained after the first `n_pending` entries: it is rolled back."""
        del self._pending[n_pending:]
        self._forget_versions()

    def _next_version(self, append: Append) -> int:
        version = self._require_version(append.stream, append.expected)
        if len(self._versions) >= _MOST_VERSIONS:
            self._forget_versions()
        self._versions[append.stream] = version + 1
        return version + 1

    def _require_version(self, stream: str, expected: int | None) -> int:
        """Return the version of a stream, which must be the expected one if there is one."""
        version = self._versions.get(stream)
        if version is None:
            version = stream_head(self._db, stream).version
        if expected is not None and expected != version:
            hint = "read the head again and retry"
            raise Conflict("stream", stream, expected=expected, found=version, hint=hint)
        return version

    def _forget_versions(self) -> None:
        self._versions.clear()
        self._versions.update((entry.stream, entry.version) for entry in self._pending)

    def _pending_record(self, seq: int) -> bytes | None:
        """Return the record of an entry that the transaction in hand will append."""
        position = seq - self._pending[0].seq if self._pending else -1
        return self._pending[position].decided if 0 <= position < len(self._pending) else None
