"""Figures of the kernel: ``python benchmarks/bench_kernel.py`` prints a table; ``--json`` for machines.

Rates that are compared are measured in one run on one machine. The gain of group commit is that of 32 threads
over one thread, both through the ledger. What it gains is waiting, and the wait for a disk differs a
hundredfold between machines. Its bar was set where one thread commits some 200 times a second, so it is held
against slower disks, made by `slow_fsync.c`; the gain on the disk that is there stands beside it. Bars are
those that the project has set itself; the exit status says whether all are met.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import msgspec

from varv.kernel.clock import MINUTE, Instant, VirtualClock, cpu_seconds, wall_seconds
from varv.kernel.codec import Event, event
from varv.kernel.engine import Engine
from varv.kernel.ledger import Append, Change, encoded
from varv.kernel.ledger_sqlite import MEMORY, SqliteLedger, read_only
from varv.kernel.merkle import Notary, SigningKey, read_checkpoints
from varv.kernel.sagas import Command, Fact, Message, Reply, SetTimer, Step
from varv.kernel.verify import verify

START = Instant(1_356_998_400_000_000)
N_THREADS = 32
N_ROUNDS = 5
SLOWER_BY_MS = (0.3, 1.0, 3.5)


@event("bench.stepped")
class Stepped(Event, frozen=True):
    """One step, as the sagas of the benchmark hear of it."""

    model: str
    share: float
    evidence: tuple[float, ...]


class Act(Command, frozen=True):
    """A command that does nothing."""

    share: float


class State(msgspec.Struct, frozen=True):
    """What the saga remembers."""

    steps: int = 0
    shares: tuple[float, ...] = ()


class Rollout:
    """A saga of usual size: each message emits a fact, sets a timer and asks for a command."""

    name: ClassVar[str] = "rollout"
    state_type = State

    def initial(self, saga_id: str) -> State:
        """Return the state before the first event."""
        return State()

    def step(self, state: State, event: Event, now: Instant) -> Step[State]:
        """Decide."""
        if not isinstance(event, Stepped):
            return Step(state)
        state = State(state.steps + 1, (*state.shares[-9:], event.share))
        emits = (Fact("decisions/late-arrival", event),)
        timers = (SetTimer("deadline", Instant(now + MINUTE)),)
        return Step(state, emits=emits, commands=(Act(share=event.share),), timers=timers)


def stepped(n: int) -> Stepped:
    return Stepped(model="late-arrival", share=n / 7, evidence=(0.1, 0.2, float(n)))


def change(stream: str, n: int) -> Change:
    return Change(at=START, facts=(Append(stream, stepped(n)),))


def fsync_ms(folder: Path, n: int = 100) -> float:
    """Milliseconds of one fsync after 4 KiB were appended: what group commit saves."""
    spent = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(n):
            file.write(bytes(4096))
            begin = wall_seconds()
            os.fsync(file.fileno())
            spent.append(wall_seconds() - begin)
    return statistics.median(spent) * 1000


def plain_each(folder: Path, n: int = 400) -> float:
    """Rows a second of a bare SQLite loop that commits each at full durability: no chain, no streams."""
    with closing(sqlite3.connect(folder / "plain.db", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE rows (seq INTEGER PRIMARY KEY, data BLOB NOT NULL)")
        data = encoded(change("s", 1).facts[0])
        begin = wall_seconds()
        for _ in range(n):
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO rows (data) VALUES (?)", (data,))
            db.execute("COMMIT")
        return n / (wall_seconds() - begin)


def appends_each(folder: Path, n: int = 400) -> float:
    """Appends a second of one thread that waits for each commit."""
    with closing(SqliteLedger(folder / "each.db")) as ledger:
        begin = wall_seconds()
        for k in range(n):
            ledger.commit(change("s", k))
        return n / (wall_seconds() - begin)


def appends_grouped(folder: Path, n_each: int = 400) -> tuple[float, float]:
    """Appends a second of 32 threads that each wait for their commits, and processor microseconds of one."""
    with closing(SqliteLedger(folder / "grouped.db")) as ledger:

        def write(k: int) -> None:
            for n in range(n_each):
                ledger.commit(change(f"s{k}", n))

        threads = [threading.Thread(target=write, args=(k,)) for k in range(N_THREADS)]
        begin, cpu = wall_seconds(), cpu_seconds()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        n = N_THREADS * n_each
        return n / (wall_seconds() - begin), (cpu_seconds() - cpu) / n * 1e6


def appends(folder: Path) -> dict[str, tuple[float, str]]:
    """Return the medians of rounds in which each rate is measured beside the others, on the same disk."""
    rounds = []
    for k in range(N_ROUNDS):
        place = folder / str(k)
        place.mkdir()
        rounds.append((plain_each(place), *gain(place)))
    plain, fsync, each, grouped, cpu, gained = (
        statistics.median(column) for column in zip(*rounds, strict=True)
    )
    return {
        "fsync_ms": (fsync, ""),
        "plain_sqlite_rows_per_s_each_full": (plain, ""),
        "appends_per_s_each_full": (each, ""),
        f"appends_per_s_{N_THREADS}_threads_full": (grouped, ""),
        f"append_cpu_us_{N_THREADS}_threads": (cpu, ""),
        "group_commit_gain": (gained, ""),
    }


def gain(place: Path) -> tuple[float, float, float, float, float]:
    """Return the time of an fsync, appends a second of one thread and of 32, processor microseconds, and the
    gain.
    """
    alone, (together, cpu_us) = appends_each(place), appends_grouped(place)
    return fsync_ms(place), alone, together, cpu_us, together / alone


def appends_on_slower_disks(folder: Path) -> dict[str, tuple[float, str]]:
    """Return gains where every fsync takes longer; nothing if there is no C compiler, or no Linux."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        return {}
    library, source = folder / "slow_fsync.so", Path(__file__).with_name("slow_fsync.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    found = {}
    for slower in SLOWER_BY_MS:
        environ = {**os.environ, "LD_PRELOAD": str(library), "FSYNC_DELAY_US": str(round(slower * 1000))}
        told = subprocess.run(
            [sys.executable, __file__, "--gain"], env=environ, capture_output=True, check=True, text=True
        )
        fsync, alone, _, _, gained = json.loads(told.stdout)
        found[f"appends_per_s_each_at_fsync_{fsync:.1f}_ms"] = (alone, "")
        found[f"group_commit_gain_at_fsync_{fsync:.1f}_ms"] = (gained, ">= 10")
    return found


def transitions(path: str | Path, n: int) -> tuple[float, float]:
    """Wall and processor seconds of `n` transitions, each with two entries, a timer and a command that is
    run.
    """
    clock = VirtualClock(START)
    with closing(SqliteLedger(path, durability="process")) as ledger:
        engine = Engine(ledger, clock, [Rollout()], {Act: lambda *_: Reply()})
        wall, cpu = wall_seconds(), cpu_seconds()
        for k in range(n):
            engine.tell(Message(f"rollout/late-arrival/{k % 10}", stepped(k)))
        spent = wall_seconds() - wall, cpu_seconds() - cpu
        while engine.run_one():
            pass
        return spent


def verified(folder: Path, n: int = 20_000) -> tuple[float, float]:
    """Entries verified a second, and seconds that signing took for them all."""
    notary = Notary(folder / "checkpoints.jsonl", SigningKey(folder / "key"))
    with closing(SqliteLedger(folder / "verify.db", durability="process")) as ledger:
        for k in range(0, n, 100):
            ledger.commit(Change(at=START, facts=tuple(Append("s", stepped(k + i)) for i in range(100))))
        hashes = [entry.hash for entry in ledger.read()]
        begin = wall_seconds()
        for size in range(256, n + 1, 256):
            notary.cover(size, lambda after, size=size: hashes[after:size])
        signing = wall_seconds() - begin
    with read_only(folder / "verify.db") as ledger:
        begin = wall_seconds()
        found = verify(
            ledger, read_checkpoints(folder / "checkpoints.jsonl"), SigningKey(folder / "key").public()
        )
        if not found.ok:
            raise SystemExit(str(found.findings[0]))
        return n / (wall_seconds() - begin), signing


def measure(folder: Path) -> dict[str, tuple[float, str]]:
    """Return each figure with its bar, empty if it has none."""
    _, cpu = transitions(folder / "saga.db", 1000)
    wall, _ = transitions(MEMORY, 2500)
    rate, signing = verified(folder)
    return {
        **appends(folder),
        **appends_on_slower_disks(folder),
        "saga_transition_cpu_ms": (cpu, "<= 1"),
        "saga_transitions_2500_in_memory_s": (wall, "<= 2"),
        "verified_entries_per_s": (rate, ""),
        "signing_us_per_entry": (signing / 20_000 * 1e6, ""),
    }


def met(value: float, bar: str) -> bool:
    if not bar:
        return True
    relation, limit = bar.split()
    return value >= float(limit) if relation == ">=" else value <= float(limit)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        if "--gain" in sys.argv:
            print(json.dumps(gain(Path(folder))))
            return 0
        figures = measure(Path(folder))
    if "--json" in sys.argv:
        print(json.dumps({name: round(value, 4) for name, (value, _) in figures.items()}, indent=2))
    else:
        for name, (value, bar) in figures.items():
            print(f"{name:<48} {value:>12.3f}  {bar:<6} {'' if met(value, bar) else 'MISSED'}")
    return 0 if all(met(value, bar) for value, bar in figures.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
