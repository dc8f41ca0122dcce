"""What is particular to the embedded ledger: ownership, files, durability, crashes."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from varv.kernel.clock import HOUR, Instant
from varv.kernel.errors import Conflict, Corrupt, FailedPrecondition, NotFound, StorageFull
from varv.kernel.faults import Crash, Faults
from varv.kernel.ledger import Append, Change, CommandEnd, NewCommand
from varv.kernel.ledger_sqlite import SqliteLedger, read_only
from varv.kernel.merkle import EVERY, Notary, SigningKey, read_checkpoints
from varv.kernel.sqlite_file import flaws
from varv.kernel.verify import verify

from .samples import NOON, Noted


def noted(stream="s", text="x", **options):
    return Change(at=NOON, facts=(Append(stream, Noted(text=text), **options),))


def open_signed(folder: Path, **options) -> SqliteLedger:
    notary = Notary(folder / "checkpoints.jsonl", SigningKey(folder / "signing.key"))
    return SqliteLedger(folder / "ledger.db", notary=notary, **options)


def test_what_was_committed_is_there_after_reopening(tmp_path):
    with closing(SqliteLedger(tmp_path / "home" / "ledger.db")) as ledger:
        entries = ledger.commit(noted())
    with closing(SqliteLedger(tmp_path / "home" / "ledger.db")) as ledger:
        assert ledger.read() == entries
        assert [entry.seq for entry in ledger.commit(noted())] == [2]


def test_a_second_owner_is_refused_and_told_the_pid(tmp_path):
    owner = SqliteLedger(tmp_path / "ledger.db")
    with pytest.raises(FailedPrecondition, match=str(os.getpid())):
        SqliteLedger(tmp_path / "ledger.db")
    owner.close()
    SqliteLedger(tmp_path / "ledger.db").close()


def test_a_reader_sees_what_the_owner_commits_and_cannot_write(tmp_path):
    with closing(SqliteLedger(tmp_path / "ledger.db")) as owner, read_only(tmp_path / "ledger.db") as reader:
        owner.commit(noted())
        assert reader.read() == owner.read()
        with pytest.raises(FailedPrecondition, match="reading only"):
            reader.commit(noted())


def test_reading_a_store_that_is_not_there_creates_nothing(tmp_path):
    with pytest.raises(NotFound):
        SqliteLedger(tmp_path / "ledger.db", read_only=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"not a database" * 100, None])
def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "ledger.db"
    if content is None:
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE theirs (x)")
    else:
        path.write_bytes(content)
    before = path.read_bytes() if content else None
    for _ in range(2):
        with pytest.raises(Corrupt, match=r"ledger\.db"):
            SqliteLedger(path)
    if content:
        assert path.read_bytes() == before


def test_a_ledger_cut_short_is_not_written_on(tmp_path):
    with closing(SqliteLedger(tmp_path / "ledger.db")) as ledger:
        for _ in range(3):
            ledger.commit(noted())
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as db:
        db.execute("DELETE FROM entries WHERE seq = 3")
    with pytest.raises(Corrupt, match="verify"):
        SqliteLedger(tmp_path / "ledger.db")


def test_leases_of_a_dead_owner_are_void(tmp_path):
    with closing(SqliteLedger(tmp_path / "ledger.db")) as ledger:
        command = NewCommand("s/1", "Do", b"{}", 0, "", by=0)
        ledger.commit(Change(at=NOON, facts=noted("s/1").facts, commands=(command,)))
        dead = ledger.claim("w", NOON, HOUR)
    with closing(SqliteLedger(tmp_path / "ledger.db")) as ledger:
        with pytest.raises(Conflict):
            ledger.commit(Change(at=NOON, ends=CommandEnd(dead.id, dead.attempt)))
        assert ledger.claim("w", NOON, HOUR).attempt == 2


def test_a_crash_before_the_commit_leaves_nothing_and_one_after_it_everything(tmp_path):
    for point, left in (("ledger.before_commit", 0), ("ledger.after_commit", 1)):
        path = tmp_path / f"{point}.db"
        with closing(SqliteLedger(path, faults=Faults(point))) as ledger, pytest.raises(Crash):
            ledger.commit(noted())
        with closing(SqliteLedger(path)) as ledger:
            assert ledger.head("s").version == left


def test_a_bad_change_of_one_thread_fails_alone(tmp_path):
    with closing(SqliteLedger(tmp_path / "ledger.db")) as ledger:
        wrong = []

        def write(k):
            for _ in range(20):
                if k % 2:
                    ledger.commit(noted(f"s{k}"))
                else:
                    try:
                        ledger.commit(noted("t", by=7))
                    except IndexError as error:
                        wrong.append(error)

        threads = [threading.Thread(target=write, args=(k,)) for k in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(wrong) == 80
        assert ledger.head().version == 80
        assert ledger.head("t").version == 0


class Held(Faults):
    """The first transaction waits before its commit until it is let go."""

    def __init__(self):
        super().__init__()
        self.reached, self.go = threading.Event(), threading.Event()

    def reach(self, point):
        if point == "ledger.before_commit":
            self.reached.set()
            self.go.wait()


def test_a_command_is_claimed_in_the_transaction_that_queues_it(tmp_path):
    held, got = Held(), []
    with closing(SqliteLedger(tmp_path / "ledger.db", faults=held)) as ledger:

        def queue(work):
            n_waiting = len(ledger._writer._queue)
            threads.append(threading.Thread(target=work))
            threads[-1].start()
            while len(ledger._writer._queue) == n_waiting:
                time.sleep(0.001)

        order = Change(
            at=NOON,
            facts=(Append("s", Noted(text="x")),),
            commands=(NewCommand("s", "build", b"{}", 0, "", 0),),
        )
        threads = [threading.Thread(target=lambda: ledger.commit(noted()))]
        threads[0].start()
        held.reached.wait()
        queue(lambda: ledger.commit(order))
        queue(lambda: got.append(ledger.claim("w", NOON, HOUR)))
        held.go.set()
        for thread in threads:
            thread.join()
        assert [claimed.id for claimed in got] == ["s:2:0"]


def test_a_full_disk_is_told_as_such_and_the_ledger_goes_on_when_there_is_room(tmp_path):
    with closing(SqliteLedger(tmp_path / "ledger.db")) as ledger:
        ledger.commit(noted())
        pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
        ledger._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StorageFull, match="database or disk is full"):
            ledger.commit(noted(text="x" * 100_000))
        ledger._db.execute("PRAGMA max_page_count = 100000")
        assert [entry.seq for entry in ledger.commit(noted(text="x" * 100_000))] == [2]


def test_closing_under_load_loses_nothing_that_was_acknowledged(tmp_path):
    ledger = SqliteLedger(tmp_path / "ledger.db")
    acknowledged = []

    def write(k):
        with contextlib.suppress(FailedPrecondition):
            while True:
                acknowledged.extend(entry.seq for entry in ledger.commit(noted(f"s{k}")))

    threads = [threading.Thread(target=write, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    ledger.wait(50, 60.0)
    ledger.close()
    for thread in threads:
        thread.join()
    with closing(SqliteLedger(tmp_path / "ledger.db")) as again:
        assert sorted(acknowledged) == [entry.seq for entry in again.read()]


def test_checkpoints_are_signed_as_the_ledger_grows_and_at_the_end(tmp_path):
    with closing(open_signed(tmp_path, durability="process")) as ledger:
        for _ in range(EVERY + 1):
            ledger.commit(noted())
        assert [c.size for c in read_checkpoints(tmp_path / "checkpoints.jsonl")] == [EVERY]
    assert [c.size for c in read_checkpoints(tmp_path / "checkpoints.jsonl")] == [EVERY, EVERY + 1]
    open_signed(tmp_path).close()
    assert len(read_checkpoints(tmp_path / "checkpoints.jsonl")) == 2


def test_an_owner_signs_on_neither_with_lost_checkpoints_nor_another_key(tmp_path):
    with closing(open_signed(tmp_path)) as ledger:
        ledger.commit(noted())
    kept = (tmp_path / "checkpoints.jsonl").read_bytes()
    (tmp_path / "checkpoints.jsonl").unlink()
    with pytest.raises(Corrupt, match=r"checkpoints\.jsonl"):
        open_signed(tmp_path)
    (tmp_path / "checkpoints.jsonl").write_bytes(kept)
    (tmp_path / "signing.key").unlink()
    with pytest.raises(Corrupt, match=r"signing\.key"):
        open_signed(tmp_path)


def test_a_table_or_trigger_of_somebody_else_is_refused(tmp_path):
    SqliteLedger(tmp_path / "ledger.db").close()
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as db:
        db.execute("CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM timers; END")
    with pytest.raises(Corrupt, match="that a ledger does not have"):
        SqliteLedger(tmp_path / "ledger.db")
    assert [found for _, _, found in flaws(tmp_path / "ledger.db")] == ["t"]


def test_a_ledger_shorter_than_was_signed_is_not_written_on(tmp_path):
    with closing(open_signed(tmp_path)) as ledger:
        for _ in range(3):
            ledger.commit(noted())
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as db:
        db.execute("DELETE FROM entries WHERE seq = 3")
        db.execute("UPDATE head SET seq = 2, hash = (SELECT hash FROM entries WHERE seq = 2)")
    with pytest.raises(Corrupt, match="shorter"):
        open_signed(tmp_path)


WRITER = """
import sys, threading
from pathlib import Path
from tests.kernel.samples import NOON, Noted
from varv.kernel.ledger import Append, Change
from tests.kernel.test_ledger_sqlite import open_signed

ledger = open_signed(Path(sys.argv[1]), durability=sys.argv[2])
say = threading.Lock()

def write(k):
    for n in range(100_000):
        entry, = ledger.commit(Change(at=NOON, facts=(Append(f"s{k}", Noted(text=str(n))),)))
        with say:
            print(entry.seq, entry.hash.hex(), flush=True)

for k in range(8):
    threading.Thread(target=write, args=(k,)).start()
"""


@pytest.mark.parametrize("durability", ["full", "process"])
def test_killed_under_load_it_has_all_it_acknowledged_and_verifies(tmp_path, durability):
    root = Path(__file__).parents[2]
    for round_ in range(1, 4):
        command = [sys.executable, "-c", WRITER, str(tmp_path), durability]
        env = {"PYTHONPATH": f"{root}:{root / 'src'}"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as writer:
            said = [writer.stdout.readline() for _ in range(150 * round_)]
            writer.send_signal(signal.SIGKILL)
            said += writer.stdout.read().splitlines(keepends=True)
        with closing(open_signed(tmp_path)) as ledger:
            kept = {entry.seq: entry.hash.hex() for entry in ledger.read()}
            for line in said:
                if line.endswith("\n"):
                    seq, digest = line.split()
                    assert kept[int(seq)] == digest
            public = SigningKey(tmp_path / "signing.key").public()
            assert verify(ledger, read_checkpoints(tmp_path / "checkpoints.jsonl"), public).findings == ()


def test_time_is_only_what_is_passed_in(tmp_path):
    heads = []
    for name in ("a", "b"):
        with closing(SqliteLedger(tmp_path / f"{name}.db")) as ledger:
            ledger.commit(Change(at=Instant(7), facts=noted().facts))
            heads.append(ledger.head())
    assert heads[0] == heads[1]
