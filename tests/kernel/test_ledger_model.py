"""The ledger, with its command queue and timers, against a dictionary, over any sequence of calls."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from varv.kernel.clock import Instant
from varv.kernel.errors import Conflict
from varv.kernel.ledger import (
    GENESIS,
    Append,
    Change,
    CommandEnd,
    Guard,
    NewCommand,
    SagaRow,
    Timer,
    TimerChange,
    entry_hash,
)
from varv.kernel.ledger_sqlite import SqliteLedger

from .samples import Noted

SAGAS = st.sampled_from(["a/1", "a/2", "b/1"])
KEYS = st.sampled_from(["x", "y"])
LEASE = 5


@dataclass(frozen=True)
class Job:
    saga: str
    cause: int
    position: int
    priority: int
    partition: str
    due: int
    attempt: int = 0
    failures: int = 0
    lease_until: int = 0

    @property
    def id(self) -> str:
        return f"{self.saga}:{self.cause}:{self.position}"


class LedgerModel(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.ledger = SqliteLedger(self.folder / "ledger.db", durability="process")
        self.now = 100
        self.streams: list[str] = []
        self.versions: dict[str, int] = {}
        self.timers: dict[tuple[str, str], Timer] = {}
        self.jobs: dict[str, Job] = {}
        self.held: list[tuple[str, int]] = []

    def teardown(self):
        self.ledger.close()
        shutil.rmtree(self.folder)

    @rule(span=st.integers(1, 7))
    def time_passes(self, span):
        self.now += span

    @rule()
    def reopen(self):
        self.ledger.close()
        self.ledger = SqliteLedger(self.folder / "ledger.db", durability="process")
        self.jobs = {key: replace(job, lease_until=0) for key, job in self.jobs.items()}

    @rule(
        saga=SAGAS,
        n_commands=st.integers(0, 3),
        priority=st.integers(0, 1),
        partition=st.sampled_from(["", "gpu"]),
        key=st.none() | KEYS,
        due=st.none() | st.integers(90, 140),
        seen=SAGAS,
        stale=st.sampled_from(["", "", "", "stream", "saga", "guard"]),
    )
    def transition(self, saga, n_commands, priority, partition, key, due, seen, stale):
        expected = self.streams.count(saga) + (stale == "stream")
        version = self.versions.get(saga, 0) + 1 + (stale == "saga")
        change = Change(
            at=Instant(self.now),
            guards=(Guard(seen, self.streams.count(seen) + (stale == "guard")),),
            facts=(Append("log", Noted(text="before")), Append(saga, Noted(text=saga), expected=expected)),
            sagas=(SagaRow(saga, version, b"%d" % version),),
            timers=() if key is None else (TimerChange(saga, key, due, by=1),),
            commands=tuple(
                NewCommand(saga, "Do", b"{}", priority, partition, by=1) for _ in range(n_commands)
            ),
        )
        try:
            self.ledger.commit(change)
        except Conflict:
            assert stale
            return
        assert not stale
        self.streams += ["log", saga]
        self.versions[saga] = version
        cause = len(self.streams)
        if key is not None:
            self.timers.pop((saga, key), None)
            if due is not None:
                self.timers[saga, key] = Timer(saga, key, Instant(due), cause)
        for position in range(n_commands):
            job = Job(saga, cause, position, priority, partition or saga, self.now)
            self.jobs[job.id] = job

    def claimable(self):
        busy = {job.partition for job in self.jobs.values() if job.lease_until > self.now}
        due = (job for job in self.jobs.values() if job.due <= self.now and job.partition not in busy)
        return min(due, key=lambda job: (-job.priority, job.cause, job.position), default=None)

    @rule()
    def claim(self):
        wanted = self.claimable()
        claimed = self.ledger.claim("w", Instant(self.now), LEASE)
        if wanted is None:
            assert claimed is None
            return
        assert (claimed.id, claimed.saga, claimed.cause) == (wanted.id, wanted.saga, wanted.cause)
        assert (claimed.attempt, claimed.failures) == (wanted.attempt + 1, wanted.failures)
        self.jobs[wanted.id] = replace(wanted, attempt=claimed.attempt, lease_until=self.now + LEASE)
        self.held.append((claimed.id, claimed.attempt))

    def runs(self, held):
        job = self.jobs.get(held[0])
        return job is not None and job.attempt == held[1] and job.lease_until > 0

    @precondition(lambda self: self.held)
    @rule(data=st.data(), retry_in=st.none() | st.integers(0, 9))
    def end(self, data, retry_in):
        held = data.draw(st.sampled_from(self.held))
        retry_at = None if retry_in is None else Instant(self.now + retry_in)
        facts = (Append("log", Noted(text="ended")),)
        wanted = self.runs(held)
        try:
            self.ledger.commit(Change(at=Instant(self.now), facts=facts, ends=CommandEnd(*held, retry_at)))
        except Conflict:
            assert not wanted
            return
        assert wanted
        self.streams.append("log")
        job = self.jobs.pop(held[0])
        if retry_at is not None:
            self.jobs[held[0]] = replace(job, due=retry_at, failures=job.failures + 1, lease_until=0)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def extend(self, data):
        held = data.draw(st.sampled_from(self.held))
        try:
            self.ledger.extend(*held, Instant(self.now + LEASE))
        except Conflict:
            assert not self.runs(held)
            return
        assert self.runs(held)
        self.jobs[held[0]] = replace(self.jobs[held[0]], lease_until=self.now + LEASE)

    @invariant()
    def the_log_is_whole_and_chained(self):
        entries = self.ledger.read()
        assert [entry.stream for entry in entries] == self.streams
        previous = GENESIS
        for number, entry in enumerate(entries, start=1):
            assert (entry.seq, entry.hash) == (number, entry_hash(previous, entry))
            previous = entry.hash
        assert self.ledger.head().hash == previous

    @invariant()
    def sagas_and_what_is_next_are_as_in_the_model(self):
        for saga, version in self.versions.items():
            assert self.ledger.saga(saga) == SagaRow(saga, version, b"%d" % version)
        found = self.ledger.upcoming()
        assert found.timer == min(self.timers.values(), key=lambda t: (t.due, t.saga, t.key), default=None)
        assert found.command_due == min((max(j.due, j.lease_until) for j in self.jobs.values()), default=None)


TestLedgerModel = LedgerModel.TestCase
TestLedgerModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None, database=None)
