from __future__ import annotations

import threading

import pytest

from varv.kernel.clock import SystemClock
from varv.kernel.codec import Event, event
from varv.kernel.errors import Corrupt, FailedPrecondition, InvalidInput
from varv.kernel.faults import Crash, Faults
from varv.kernel.ledger import Append, Change
from varv.kernel.ledger_sqlite import SqliteLedger
from varv.kernel.recorder import Recorder, Write


@event("test.counted")
class Counted(Event, frozen=True, kw_only=True):
    name: str
    n: int


class Counts:
    schema = "CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;"
    events = (Counted,)

    def __init__(self):
        self.n_forgotten = 0

    def apply(self, db, stream, event, at):
        if event.n < 0:
            raise ZeroDivisionError("a fold that cannot")
        db.execute("INSERT OR REPLACE INTO counts VALUES (?, ?)", (event.name, event.n))

    def forget(self):
        self.n_forgotten += 1


class Kept:
    schema = "CREATE TABLE IF NOT EXISTS kept (word TEXT PRIMARY KEY) WITHOUT ROWID;"
    events = ()

    def apply(self, db, stream, event, at):
        raise AssertionError("nothing is folded here")

    def forget(self):
        pass


class Place:
    """A ledger and a recorder over the same files, which can be opened again."""

    def __init__(self, folder):
        self.folder = folder
        self.open()

    def open(self, faults=None):
        self.ledger = SqliteLedger(self.folder / "ledger.db", faults=faults)
        self.counts = Counts()
        self.recorder = Recorder(
            self.folder / "tables.db", self.ledger, SystemClock(), (self.counts, Kept()), faults=faults
        )

    def close(self):
        self.recorder.close()
        self.ledger.close()

    def reopened(self, faults=None):
        self.close()
        self.open(faults)

    def rows(self):
        with self.recorder.reading() as db:
            counts = dict(db.execute("SELECT name, n FROM counts"))
            return counts, {word for (word,) in db.execute("SELECT word FROM kept")}


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    made.close()


def count(name, n):
    return Write(lambda writing: writing.record(f"counts/{name}", Counted(name=name, n=n)))


def keep(word):
    return Write(
        lambda writing: writing.store(lambda db: db.execute("INSERT INTO kept VALUES (?)", (word,))), True
    )


def add_one(name):
    def work(writing):
        row = writing.db.execute("SELECT n FROM counts WHERE name = ?", (name,)).fetchone()
        n = 1 + (0 if row is None else row[0])
        writing.record(f"counts/{name}", Counted(name=name, n=n))
        return n

    return Write(work)


def refuse(writing):
    raise InvalidInput("word", "x", "is refused")


def test_what_was_decided_is_in_the_ledger_and_in_the_tables(place):
    place.recorder.do(count("a", 3))
    assert [entry.event for entry in place.ledger.read()] == [Counted(name="a", n=3)]
    assert place.rows() == ({"a": 3}, set())


def test_work_sees_what_earlier_work_of_its_group_wrote(place):
    results, done = [], threading.Event()

    def finished(job):
        results.append(job.outcome())
        if len(results) == 300:
            done.set()

    for _ in range(300):
        place.recorder.submit(add_one("a"), finished)
    assert done.wait(10)
    assert results == list(range(1, 301))


def test_refused_work_leaves_its_neighbours_alone(place):
    jobs, done = [], threading.Event()
    works = [count("a", 1), Write(refuse), keep("x"), Write(refuse), count("b", 2)]

    def finished(job):
        jobs.append(job)
        if len(jobs) == len(works):
            done.set()

    for work in works:
        place.recorder.submit(work, finished)
    assert done.wait(10)
    assert [job.error is None for job in jobs] == [True, False, True, False, True]
    assert isinstance(jobs[1].error, InvalidInput)
    assert place.rows() == ({"a": 1, "b": 2}, {"x"})


def test_work_whose_rows_cannot_be_written_is_undone_alone(place):
    place.recorder.do(keep("x"))
    with pytest.raises(Exception, match="could not be written"):
        place.recorder.do(keep("x"))
    assert place.counts.n_forgotten == 1
    with pytest.raises(ZeroDivisionError):
        place.recorder.do(count("a", -1))
    assert place.ledger.head().version == 0
    place.recorder.do(count("a", 1))
    assert place.rows() == ({"a": 1}, {"x"})


def test_entries_of_others_are_folded_in_their_order(place):
    place.recorder.do(count("a", 1))
    place.ledger.commit(Change(at=SystemClock().now(), facts=(Append("counts/a", Counted(name="a", n=2)),)))
    assert place.recorder.do(count("b", 1)) is None
    assert place.rows()[0] == {"a": 2, "b": 1}


def test_entries_of_others_are_folded_soon_though_nobody_writes(place):
    place.ledger.commit(Change(at=SystemClock().now(), facts=(Append("counts/a", Counted(name="a", n=2)),)))
    waited = threading.Event()
    for _ in range(100):
        if place.rows()[0]:
            break
        waited.wait(0.05)
    assert place.rows()[0] == {"a": 2}


def test_tables_that_are_lost_are_folded_anew(place):
    for n in range(20):
        place.recorder.do(count(f"c{n}", n))
    before = place.rows()[0]
    place.close()
    for path in place.folder.glob("tables.db*"):
        path.unlink()
    place.open()
    assert place.rows()[0] == before


def test_a_file_that_is_ahead_of_its_ledger_is_refused(place):
    place.recorder.do(count("a", 1))
    place.close()
    for path in place.folder.glob("ledger.db*"):
        path.unlink()
    try:
        with pytest.raises(Corrupt, match="ahead of the ledger"):
            place.open()
    finally:
        place.ledger.close()
        for path in place.folder.glob("tables.db*"):
            path.unlink()
        place.open()


@pytest.mark.parametrize(
    ("point", "nth"),
    [
        ("recorder.before_commit", 4),
        ("recorder.between", 3),
        ("recorder.after_commit", 4),
        ("ledger.before_commit", 3),
        ("ledger.after_commit", 3),
    ],
)
def test_nothing_that_was_answered_is_lost_by_a_crash(place, point, nth):
    place.reopened(Faults(point, nth=nth))
    answered = []

    def write_until_it_crashes():
        for n in range(20):
            place.recorder.do(keep(f"w{n}") if n % 3 == 2 else count(f"c{n}", n))
            answered.append(n)

    with pytest.raises(Crash):
        write_until_it_crashes()
    with pytest.raises(FailedPrecondition):
        place.recorder.do(keep("later"))
    place.reopened()
    counts, kept = place.rows()
    assert {f"w{n}" for n in answered if n % 3 == 2} <= kept
    assert {f"c{n}" for n in answered if n % 3 != 2} <= counts.keys()
    # What the ledger says and what the tables say is the same, whatever was answered.
    assert {entry.event.name for entry in place.ledger.read()} == counts.keys()


def test_nobody_is_taken_in_once_it_is_closed(place):
    place.recorder.close()
    with pytest.raises(FailedPrecondition, match="is closed"):
        place.recorder.do(count("a", 1))
