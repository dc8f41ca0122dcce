"""Tiers do what a store without them does, whatever comes in whatever order and wherever it is cut short.

What is archived is refused, or read as it was, and never read otherwise.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.data.tiers.stores import TierStore
from tests.data.versioning.stores import TRIPS, base, done

from varv.data.retention import Retention
from varv.kernel import table_folder
from varv.kernel.clock import DAY
from varv.kernel.content import rows_digest
from varv.kernel.errors import Expired, FailedPrecondition
from varv.kernel.faults import Crash, Faults

KEYS = st.sampled_from("abcdefgh")
DAYS = st.integers(1, 6)
ROWS = st.dictionaries(KEYS, st.tuples(DAYS, st.integers(0, 3)), min_size=1, max_size=4)
POINTS = [
    "tiers.after_copy",
    "tiers.before_drop",
    "blobs.before_rename",
    "columns.before_rename",
    "columns.before_unlink",
    "ledger.before_commit",
    "ledger.after_commit",
]


class TiersMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.faults = Faults()
        self.store = TierStore(Path(self.folder.name), faults=self.faults)
        self.sizes, self.outcomes = {}, {}
        # What each part of each version was, if all of it could be read when it came.
        self.digests = {}
        self.n_segments = 0
        self.note()

    def teardown(self):
        self.faults._point = ""
        self.store.restore()
        self.store.tiers.finish(TRIPS)
        assert self.store.cold() == set()
        assert self.store.blobs() == set()
        assert self.every_part_reads_as_it_did() is None
        self.folder.cleanup()

    def act(self, does):
        """Do something that a crash may interrupt, and then do it again: nothing happens twice."""
        try:
            return does()
        except Crash:
            self.restart()
            return does()

    def note(self):
        version = self.store.datasets.version(TRIPS)
        for part in TRIPS.parts:
            try:
                rows = self.store.datasets.read_part(TRIPS, part, version=version)
            except FailedPrecondition:
                assert self.store.cold()
            else:
                self.digests[version, part] = rows_digest(rows)

    @rule(point=st.sampled_from(POINTS), nth=st.integers(1, 4))
    def arm(self, point, nth):
        self.faults._point, self.faults._left, self.faults._how = point, nth, "raise"

    @rule()
    def restart(self):
        self.faults._point = ""
        self.store.reopen()

    @rule(rows=ROWS)
    def append(self, rows):
        self.n_segments += 1
        frame = base(*((key, day, size) for key, (day, size) in rows.items()))
        self.act(lambda: self.store.append("at", frame, f"w-{self.n_segments:06d}"))
        self.sizes = {**rows, **self.sizes}
        self.note()

    @rule(rows=st.dictionaries(KEYS, st.booleans(), min_size=1, max_size=3))
    def append_outcomes(self, rows):
        self.n_segments += 1
        frame = done(*((key, 7, late) for key, late in rows.items()))
        self.act(lambda: self.store.append("done_at", frame, f"w-{self.n_segments:06d}"))
        self.outcomes = rows | self.outcomes
        self.note()

    @rule(rows=ROWS)
    def merge(self, rows):
        frame = base(*((key, day, size) for key, (day, size) in rows.items()))
        try:
            self.act(lambda: self.store.datasets.merge(TRIPS, "at", frame))
        except FailedPrecondition:
            # Whose row would be replaced lies in a file that cannot be read.
            assert rows.keys() & self.sizes.keys()
            assert self.store.cold()
            return
        self.sizes = self.sizes | rows
        self.note()

    @rule(rows=ROWS)
    def overwrite(self, rows):
        frame = base(*((key, day, size) for key, (day, size) in rows.items()))
        self.act(lambda: self.store.datasets.overwrite(TRIPS, "at", frame))
        self.sizes = dict(rows)
        self.note()

    @rule()
    def compact(self):
        self.act(self.store.compact)

    @rule(day=st.integers(2, 9))
    def archive(self, day):
        self.store.clock.move_to(self.store.clock.now() + 2 * DAY)
        self.act(lambda: self.store.archive(f"2013-01-{day:02d}"))
        assert self.store.tiers.due(TRIPS, self.store.clock.now()).extents.keys() <= set(TRIPS.parts)

    @rule(day=DAYS)
    def restore(self, day):
        self.act(lambda: self.store.restore(since=f"2013-01-{day:02d}"))

    @rule(keep=st.integers(1, 4))
    def vacuum(self, keep):
        self.store.clock.move_to(self.store.clock.now() + 2 * DAY)
        self.act(lambda: self.store.versions.vacuum(TRIPS, Retention(n_versions=keep)))

    @invariant()
    def every_part_reads_as_it_did(self):
        last, has_cold = self.store.datasets.version(TRIPS), bool(self.store.cold())
        for (version, part), digest in self.digests.items():
            try:
                rows = self.store.datasets.read_part(TRIPS, part, version=version)
            except Expired:
                assert version < last
            except FailedPrecondition:
                assert has_cold
            else:
                assert rows_digest(rows) == digest

    @invariant()
    def what_is_warm_is_some_of_what_there_is(self):
        rows = self.store.datasets.read_part(TRIPS, "at", warm_only=True)
        found = dict(zip(rows["id"], zip(rows["at"].dt.day(), rows["size"], strict=True), strict=True))
        assert found.items() <= self.sizes.items()
        if not self.store.cold():
            assert found == self.sizes
        rows = self.store.datasets.read_part(TRIPS, "done_at", warm_only=True)
        assert dict(zip(rows["id"], rows["late"], strict=True)).items() <= self.outcomes.items()

    @invariant()
    def what_is_archived_is_in_the_archive(self):
        held = self.store.tiers.cold(TRIPS)
        digests = {one.cold.digest for several in held.values() for one in several}
        assert digests <= self.store.blobs()


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(table_folder, "_MANY", 3)


TestTiers = TiersMachine.TestCase
TestTiers.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestTiers.pytestmark = [pytest.mark.slow]
