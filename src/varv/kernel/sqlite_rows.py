"""The rows beside the entries of an embedded ledger, in SQL: sagas, timers and commands.

Every function runs on the connection that it is given; which transaction that is in, and whose turn it is to
write, is for `kernel.ledger_sqlite`. A row and the record that it is compared with are read by one statement,
so that no commit comes between. A command is one row from the transition that decided it to its end: the
outbox is the job queue.
"""

from __future__ import annotations

import sqlite3

from varv.kernel.clock import Instant
from varv.kernel.decided import require_saga, require_timer
from varv.kernel.errors import Conflict
from varv.kernel.ledger import (
    ClaimedCommand,
    CommandEnd,
    CommandId,
    NewCommand,
    QueuedCommand,
    SagaRow,
    Timer,
    TimerChange,
    Upcoming,
)

_COMMAND = "id, saga, cause, position, name, data, priority, partition, due_at, attempt, failures"
_SAGA = """
SELECT s.version, s.state, (
    SELECT decided FROM entries WHERE stream = :saga AND decided IS NOT NULL ORDER BY version DESC LIMIT 1)
FROM (SELECT 1) LEFT JOIN sagas AS s ON s.saga = :saga
"""
_SAGA_1 = "SELECT version, state, NULL FROM sagas WHERE saga = :saga"
_NEXT_TIMER = """
SELECT saga, key, due, cause, (SELECT decided FROM entries WHERE seq = t.cause) FROM timers AS t
ORDER BY due, saga, key LIMIT 1
"""
_NEXT_TIMER_1 = "SELECT saga, key, due, cause, NULL FROM timers ORDER BY due, saga, key LIMIT 1"
_CLAIMABLE = f"""
SELECT {_COMMAND}, (SELECT decided FROM entries WHERE seq = c.cause) FROM commands AS c
WHERE due_at <= :now AND lease_until <= :now AND NOT EXISTS (
    SELECT 1 FROM commands AS other WHERE other.partition = c.partition AND other.lease_until > :now)
ORDER BY priority DESC, cause, position LIMIT 1
"""
_HELD = "WHERE id = ? AND attempt = ? AND lease_until > 0"


# Sagas


def read_saga(db: sqlite3.Connection, saga: str, *, recorded_since: int | None) -> SagaRow | None:
    """Return the stored state of a saga; None before its first event.

    Raises
    ------
    Corrupt
        If it is not the state that the saga's last entry decided.
    """
    query = _SAGA_1 if recorded_since is None else _SAGA
    found = db.execute(query, {"saga": saga}).fetchone()
    row = None if found is None or found[0] is None else SagaRow(saga, found[0], found[1])
    require_saga(row, saga, None if found is None else found[2])
    return row


def all_sagas(db: sqlite3.Connection) -> tuple[SagaRow, ...]:
    """Return the states of all sagas."""
    return tuple(SagaRow(*row) for row in db.execute("SELECT saga, version, state FROM sagas"))


def save_saga(db: sqlite3.Connection, row: SagaRow) -> None:
    """Store the state of a saga, which must follow the stored one.

    Raises
    ------
    Conflict
        If the saga has moved on.
    """
    if row.version == 1:
        statement = "INSERT INTO sagas (state, version, saga) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
    else:
        statement = (
            f"UPDATE sagas SET state = ?, version = ? WHERE saga = ? AND version = {row.version - 1:d}"
        )
    if db.execute(statement, (row.state, row.version, row.saga)).rowcount == 0:
        raise Conflict("saga", row.saga, expected=row.version - 1, hint="read its state again and retry")


# Timers


def read_upcoming(db: sqlite3.Connection, *, recorded_since: int | None) -> Upcoming:
    """Return the next timer and the next instant at which a command is due, whatever the time is.

    Raises
    ------
    Corrupt
        If no entry decided that timer.
    """
    row = db.execute(_NEXT_TIMER_1 if recorded_since is None else _NEXT_TIMER).fetchone()
    due = db.execute("SELECT min(max(due_at, lease_until)) FROM commands").fetchone()[0]
    timer = Timer(*row[:4]) if row else None
    if timer is not None and recorded_since is not None and timer.cause > recorded_since:
        require_timer(timer, row[4])
    return Upcoming(timer, due)


def all_timers(db: sqlite3.Connection) -> tuple[Timer, ...]:
    """Return all timers that are set."""
    return tuple(Timer(*row) for row in db.execute("SELECT saga, key, due, cause FROM timers"))


def change_timer(db: sqlite3.Connection, timer: TimerChange, cause: int) -> None:
    """Set a timer, or forget it; `cause` is the seq of the entry that decided so."""
    if timer.due is None:
        db.execute("DELETE FROM timers WHERE saga = ? AND key = ?", (timer.saga, timer.key))
    else:
        values = (timer.saga, timer.key, timer.due, cause)
        db.execute("INSERT OR REPLACE INTO timers VALUES (?, ?, ?, ?)", values)


# Commands


def all_commands(db: sqlite3.Connection) -> tuple[QueuedCommand, ...]:
    """Return all commands that have not ended."""
    return tuple(QueuedCommand(*row) for row in db.execute(f"SELECT {_COMMAND} FROM commands"))


def queue_command(
    db: sqlite3.Connection, command: NewCommand, cause: int, position: int, now: Instant
) -> None:
    """Queue the command at `position` among those that the entry `cause` decided; it is due at once."""
    columns = "id, saga, cause, position, name, data, priority, partition, due_at"
    found = f"{command.saga}:{cause}:{position}"
    values = (found, command.saga, cause, position, command.name, command.data)
    partition = command.partition or command.saga
    db.execute(
        f"INSERT INTO commands ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*values, command.priority, partition, now),
    )


def next_command(db: sqlite3.Connection, now: Instant) -> tuple[QueuedCommand, bytes | None] | None:
    """Return the next command that may be claimed, by priority and then age, with the record of the entry
    that decided it; None if there is none.
    """
    row = db.execute(_CLAIMABLE, {"now": now}).fetchone()
    return None if row is None else (QueuedCommand(*row[:-1]), row[-1])


def lease_command(
    db: sqlite3.Connection, queued: QueuedCommand, worker: str, until: Instant
) -> ClaimedCommand:
    """Give a worker the lease of a command, as a new attempt."""
    attempt = queued.attempt + 1
    db.execute(
        "UPDATE commands SET attempt = ?, lease_until = ?, worker = ? WHERE id = ?",
        (attempt, until, worker, queued.id),
    )
    fields = (queued.id, queued.saga, queued.cause, queued.name, queued.data)
    return ClaimedCommand(*fields, attempt=attempt, failures=queued.failures)


def prolong_lease(db: sqlite3.Connection, command_id: CommandId, attempt: int, until: Instant) -> None:
    """Prolong the lease of a running attempt.

    Raises
    ------
    Conflict
        If the command has ended or was claimed again.
    """
    found = db.execute(f"UPDATE commands SET lease_until = ? {_HELD}", (until, command_id, attempt))
    if found.rowcount == 0:
        raise _fenced_off(command_id, attempt)


def end_command(db: sqlite3.Connection, end: CommandEnd) -> None:
    """Remove a command that is done, or put it back to be tried again.

    Raises
    ------
    Conflict
        If the command has ended or was claimed again.
    """
    if end.retry_at is None:
        found = db.execute(f"DELETE FROM commands {_HELD}", (end.id, end.attempt))
    else:
        back = "UPDATE commands SET due_at = ?, failures = failures + 1, lease_until = 0, worker = ''"
        found = db.execute(f"{back} {_HELD}", (end.retry_at, end.id, end.attempt))
    if found.rowcount == 0:
        raise _fenced_off(end.id, end.attempt)


def _fenced_off(command_id: str, attempt: int) -> Conflict:
    return Conflict("command", command_id, "has ended or was claimed again", attempt=attempt)
