"""Rows of sagas, timers and commands against what the entries decided."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from varv.kernel.clock import HOUR, MINUTE, Instant, VirtualClock
from varv.kernel.engine import ENDED, Engine
from varv.kernel.errors import Corrupt
from varv.kernel.ledger import GENESIS, Entry, entry_hash
from varv.kernel.ledger_sqlite import SqliteLedger, read_only
from varv.kernel.sagas import Message, Reply
from varv.kernel.verify import verify

from .samples import NOON, Build, Built, Ordered, ShipSaga, YardSaga, engine_on


@pytest.fixture
def home(tmp_path):
    """A yard with a state, a timer, a command that waits and one that failed once."""
    with closing(SqliteLedger(tmp_path / "ledger.db", durability="process")) as ledger:
        clock = VirtualClock(NOON)
        engine = engine_on(ledger, clock)
        engine.tell(Message("yard/1", Ordered(n=1)))
        engine.settle()
        clock.move_to(Instant(NOON + MINUTE))
        engine.fire_due()
        assert engine.run_one()  # Break fails, and is put back
        engine.tell(Message("yard/2", Ordered(n=5)))
    return tmp_path


def tamper(home, statement, *values):
    with closing(sqlite3.connect(home / "ledger.db", isolation_level=None)) as db:
        assert db.execute(statement, values).rowcount > 0


def findings(home):
    with read_only(home / "ledger.db") as ledger:
        return verify(ledger, [], None).findings


def test_untouched_rows_are_as_decided_after_retries_leases_and_a_restart(home):
    assert findings(home) == ()
    with closing(SqliteLedger(home / "ledger.db")) as ledger:
        assert ledger.claim("w", Instant(NOON + HOUR), HOUR).failures == 1
    assert findings(home) == ()


FORGED = b'{"built":[7],"failures":[],"reminders":1}'


@pytest.mark.parametrize(
    ("statement", "values", "named"),
    [
        ("UPDATE sagas SET state = ? WHERE saga = 'yard/1'", (FORGED,), "saga yard/1 has another state"),
        ("UPDATE sagas SET version = 9 WHERE saga = 'yard/2'", (), "saga yard/2 has another version"),
        ("DELETE FROM sagas WHERE saga = 'yard/2'", (), "saga yard/2 is gone"),
        ("INSERT INTO sagas VALUES ('yard/3', 1, ?)", (FORGED,), "saga yard/3 was inserted"),
        ("UPDATE timers SET due = due + 1 WHERE key = 'late'", (), "timer late of yard/2 was changed"),
        ("DELETE FROM timers WHERE key = 'late'", (), "timer late of yard/2 is gone"),
        ("INSERT INTO timers VALUES ('yard/1', 'x', 5, 1)", (), "timer x of yard/1 was inserted"),
        ("UPDATE timers SET cause = 1 WHERE key = 'late'", (), "timer late of yard/2 was changed"),
        ("UPDATE commands SET data = ? WHERE name = 'sample.build'", (b'{"n":6}',), "has another payload"),
        ("UPDATE commands SET name = 'sample.break' WHERE name = 'sample.build'", (), "has another name"),
        ("UPDATE commands SET priority = 9 WHERE name = 'sample.build'", (), "has another priority"),
        ("UPDATE commands SET partition = '' WHERE name = 'sample.build'", (), "has another partition"),
        ("UPDATE commands SET saga = 'yard/1' WHERE name = 'sample.build'", (), "has another saga"),
        ("UPDATE commands SET cause = 1 WHERE name = 'sample.build'", (), "has another cause"),
        ("UPDATE commands SET position = 1 WHERE name = 'sample.build'", (), "has another position"),
        ("UPDATE commands SET due_at = due_at + 1 WHERE name = 'sample.build'", (), "has another due time"),
        ("UPDATE commands SET due_at = 5 WHERE name = 'sample.break'", (), "has another due time"),
        ("UPDATE commands SET failures = 4 WHERE name = 'sample.build'", (), "has another count of failures"),
        ("DELETE FROM commands WHERE name = 'sample.break'", (), "is gone"),
        (
            "INSERT INTO commands (id, saga, cause, position, name, data, priority, partition, due_at)"
            " SELECT 'yard/1:1:1', saga, 1, 1, name, data, 9, partition, due_at FROM commands LIMIT 1",
            (),
            "command yard/1:1:1 was inserted",
        ),
        ("UPDATE recorded SET since = 9", (), "recorded"),
    ],
)  # fmt: skip
def test_a_row_that_was_touched_is_named(home, statement, values, named):
    tamper(home, statement, *values)
    (finding, *_) = findings(home)
    assert named in str(finding)
    assert finding.cure


def test_a_forged_state_is_read_by_nobody(home):
    tamper(home, "UPDATE sagas SET state = ? WHERE saga = 'yard/1'", FORGED)
    with read_only(home / "ledger.db") as ledger, pytest.raises(Corrupt, match="yard/1"):
        ledger.saga("yard/1")
    with closing(SqliteLedger(home / "ledger.db")) as ledger:
        with pytest.raises(Corrupt, match="another state"):
            engine_on(ledger, VirtualClock(NOON)).tell(Message("yard/1", Built(n=1)))
        assert ledger.saga("yard/2").version == 1


def test_a_saga_whose_row_is_gone_does_not_begin_anew(home):
    tamper(home, "DELETE FROM sagas WHERE saga = 'yard/2'")
    with read_only(home / "ledger.db") as ledger, pytest.raises(Corrupt, match="is gone"):
        ledger.saga("yard/2")


def test_a_forged_command_is_never_run(home):
    tamper(home, "UPDATE commands SET data = ?, priority = 9 WHERE name = 'sample.build'", b'{"n":6}')
    with closing(SqliteLedger(home / "ledger.db")) as ledger:
        engine = engine_on(ledger, VirtualClock(Instant(NOON + HOUR)))
        with pytest.raises(Corrupt, match="command"):
            engine.run_one()
        assert all(not isinstance(entry.event, Built) or entry.event.n != 6 for entry in ledger.read())


def test_a_forged_timer_is_never_fired(home):
    tamper(home, "INSERT INTO timers VALUES ('yard/1', 'x', 5, 2)")
    with closing(SqliteLedger(home / "ledger.db")) as ledger:
        engine = engine_on(ledger, VirtualClock(Instant(NOON + HOUR)))
        with pytest.raises(Corrupt, match="x of yard/1"):
            engine.fire_due()


def test_a_command_that_ends_without_a_word_has_ended_in_the_ledger(tmp_path):
    with closing(SqliteLedger(tmp_path / "ledger.db")) as ledger:
        clock = VirtualClock(NOON)
        engine = Engine(ledger, clock, [YardSaga(), ShipSaga()], {Build: lambda *_: Reply()})
        engine.tell(Message("yard/1", Ordered(n=1)))
        assert engine.run_one()
        assert [entry.name for entry in ledger.read(stream=ENDED)] == ["saga.command_ended"]
    assert findings(tmp_path) == ()


@pytest.fixture
def older(home):
    """The same home, as the version before wrote it: no records, and no keys noted."""
    with closing(sqlite3.connect(home / "ledger.db", isolation_level=None)) as db:
        for table in ("recorded", "signers"):
            db.execute(f"DROP TABLE {table}")
        previous = GENESIS
        fields = "seq, stream, version, name, event_version, at, cause, data, hash"
        for row in db.execute(f"SELECT {fields} FROM entries ORDER BY seq").fetchall():
            previous = entry_hash(previous, Entry(*row))
            db.execute("UPDATE entries SET hash = ? WHERE seq = ?", (previous, row[0]))
        db.execute("UPDATE head SET hash = ?", (previous,))
        db.execute("ALTER TABLE entries DROP COLUMN decided")
        db.execute("PRAGMA user_version = 1")
    return home


def test_an_older_home_verifies_and_says_what_was_not_checked(older):
    with read_only(older / "ledger.db") as ledger:
        found = verify(ledger, [], None)
    assert found.ok
    assert sorted(place.split(", ")[2].split(":")[0] for place in found.unchecked) == [
        *("command yard/1", "command yard/2", "saga ship/1", "saga ship/all"),
        *("saga yard/1", "saga yard/2", "timer late of yard/2", "timer remind of yard/2"),
    ]


def test_an_older_home_is_checked_from_its_next_decision_on(older):
    with closing(SqliteLedger(older / "ledger.db")) as ledger:
        engine = engine_on(ledger, VirtualClock(Instant(NOON + 2 * HOUR)))
        engine.tell(Message("yard/2", Ordered(n=3)))
        engine.settle()
        found = verify(ledger, [], None)
    assert found.ok
    assert "saga yard/2" not in str(found.unchecked)
    assert "saga ship/1" in str(found.unchecked)
    tamper(older, "UPDATE sagas SET state = ? WHERE saga = 'yard/2'", FORGED)
    assert [finding.place for finding in findings(older)] == ["ledger.db, table sagas, saga yard/2"]


def test_a_row_is_not_taken_for_an_older_one_without_an_older_entry(older):
    tamper(older, "INSERT INTO sagas VALUES ('yard/9', 1, ?)", FORGED)
    tamper(older, "INSERT INTO timers VALUES ('yard/9', 'x', 5, 1)")
    assert [finding.problem for finding in findings(older)] == ["was inserted", "was inserted"]
