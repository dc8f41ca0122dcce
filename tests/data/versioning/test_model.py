"""A store of versions does what plain dictionaries do, whatever comes in whatever order.

Every version that ever was reads as it did, or says that it expired.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.data.versioning.stores import TRIPS, Store, base, done

from varv.data import Datasets
from varv.data.retention import Retention
from varv.data.versioning import difference as difference_module
from varv.data.versioning.difference import difference
from varv.data.versioning.references import parse_reference
from varv.kernel import table_folder
from varv.kernel.clock import DAY
from varv.kernel.content import rows_digest
from varv.kernel.errors import Conflict, Expired
from varv.kernel.faults import Crash, Faults

KEYS = st.sampled_from("abcdefgh")
ROWS = st.dictionaries(KEYS, st.tuples(st.integers(1, 3), st.integers(0, 3)), max_size=5)
OUTCOMES = st.dictionaries(KEYS, st.booleans(), max_size=4)
POINTS = ["columns.before_rename", "ledger.before_commit", "ledger.after_commit", "columns.before_unlink"]


class VersionsMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.faults = Faults()
        self.store = Store(Path(self.folder.name), faults=self.faults)
        # What each version holds, by part, and the digest that it had when it was first read.
        self.held = [({}, {})]
        self.digests = {}
        self.tags = {}
        self.n_segments = 0
        self.note()

    def teardown(self):
        self.folder.cleanup()

    @property
    def now(self):
        return tuple(map(dict, self.held[-1]))

    def note(self):
        version = len(self.held) - 1
        for part in TRIPS.parts:
            rows = self.store.datasets.read_part(TRIPS, part, version=version)
            self.digests[version, part] = rows_digest(rows)

    def became(self, *parts):
        """Take note that a version came, if anything is other than it was."""
        assert self.store.datasets.version(TRIPS) == len(self.held)
        self.held.append(parts)
        self.note()

    def act(self, does):
        """Do something that a crash may interrupt, and then do it again: nothing happens twice."""
        try:
            does()
        except Crash:
            self.crash()
            does()

    def crash(self):
        self.faults._point = ""
        self.store.reopen()

    @rule(point=st.sampled_from(POINTS), nth=st.integers(1, 3))
    def arm(self, point, nth):
        self.faults._point, self.faults._left, self.faults._how = point, nth, "raise"

    @rule(rows=ROWS.filter(bool))
    def append(self, rows):
        sizes, outcomes = self.now
        new = {key: value for key, value in rows.items() if key not in sizes}
        self.n_segments += 1
        frame = base(*((key, day, size) for key, (day, size) in rows.items()))
        self.act(lambda: self.store.append("at", frame, f"w-{self.n_segments:06d}"))
        if new:
            self.became(sizes | new, outcomes)

    @rule(rows=OUTCOMES.filter(bool))
    def append_outcomes(self, rows):
        sizes, outcomes = self.now
        new = {key: late for key, late in rows.items() if key not in outcomes}
        self.n_segments += 1
        frame = done(*((key, 9, late) for key, late in rows.items()))
        self.act(lambda: self.store.append("done_at", frame, f"w-{self.n_segments:06d}"))
        if new:
            self.became(sizes, outcomes | new)

    @rule(rows=ROWS)
    def merge(self, rows):
        sizes, outcomes = self.now
        frame = base(*((key, day, size) for key, (day, size) in rows.items()))
        self.act(lambda: self.store.datasets.merge(TRIPS, "at", frame))
        if sizes | rows != sizes:
            self.became(sizes | rows, outcomes)

    @rule(rows=OUTCOMES)
    def correct_outcomes(self, rows):
        sizes, outcomes = self.now
        frame = done(*((key, 9, late) for key, late in rows.items()))
        self.act(lambda: self.store.datasets.merge(TRIPS, "done_at", frame))
        if outcomes | rows != outcomes:
            self.became(sizes, outcomes | rows)

    @rule(rows=ROWS)
    def overwrite(self, rows):
        _, outcomes = self.now
        before = self.store.datasets.version(TRIPS)
        frame = base(*((key, day, size) for key, (day, size) in rows.items()))
        self.act(lambda: self.store.datasets.overwrite(TRIPS, "at", frame))
        if self.store.datasets.version(TRIPS) != before:
            self.became(dict(rows), outcomes)

    @rule(name=st.sampled_from(["one", "two"]), data=st.data())
    def tag(self, name, data):
        version = data.draw(st.integers(0, len(self.held) - 1))
        if version in self.expired():
            with pytest.raises(Expired):
                self.store.versions.tag(parse_reference(f"trips@{version}"), name)
        else:
            self.act(lambda: self.store.versions.tag(parse_reference(f"trips@{version}"), name))
            self.tags[name] = version

    @rule()
    def compact(self):
        self.act(self.store.compact)

    @rule(keep=st.integers(1, 4))
    def vacuum(self, keep):
        self.store.clock.move_to(self.store.clock.now() + 2 * DAY)
        before = self.expired()
        self.act(lambda: self.store.versions.vacuum(TRIPS, Retention(n_versions=keep)))
        kept = {*range(max(0, len(self.held) - keep), len(self.held)), *self.tags.values()}
        assert not kept & (self.expired() - before)

    @rule()
    def restart(self):
        self.crash()

    @precondition(lambda self: len(self.held) > 1)
    @rule(rows=ROWS.filter(bool))
    def come_second(self, rows):
        """Two writers see the same version; one of them is refused and told so."""
        sizes, outcomes = self.now
        seen = len(self.held) - 1
        frame = base(*((key, day, size) for key, (day, size) in rows.items()))
        other: Datasets = self.store.another()
        self.act(lambda: other.merge(TRIPS, "at", frame))
        changed = sizes | rows != sizes
        if changed:
            self.became(sizes | rows, outcomes)
            with pytest.raises(Conflict, match=f"expected={seen}, found={seen + 1}"):
                self.store.datasets.overwrite(TRIPS, "at", base(), seen=seen)

    def expired(self):
        found = set()
        for version in range(len(self.held)):
            try:
                for part in TRIPS.parts:
                    self.store.datasets.extents(TRIPS, part, upto=version)
            except Expired:
                found.add(version)
        return found

    @invariant()
    def every_version_reads_as_it_did(self):
        expired = self.expired()
        for version, (sizes, outcomes) in enumerate(self.held):
            if version in expired:
                continue
            for part in TRIPS.parts:
                rows = self.store.datasets.read_part(TRIPS, part, version=version)
                assert rows_digest(rows) == self.digests[version, part]
                if part == "at":
                    values = zip(rows["id"], rows["at"].dt.day(), rows["size"], strict=True)
                    assert {key: (day, size) for key, day, size in values} == sizes
                else:
                    assert dict(zip(rows["id"], rows["late"], strict=True)) == outcomes

    @invariant()
    def neighbours_differ_by_what_was_written(self):
        last = len(self.held) - 1
        if last and last - 1 not in self.expired():
            (before, _), (after, _) = self.held[-2:]
            [base_part, _] = difference(self.store.datasets, TRIPS, last - 1, last).parts
            assert base_part.n_added == len(after.keys() - before.keys())
            assert base_part.n_removed == len(before.keys() - after.keys())
            both = before.keys() & after.keys()
            assert base_part.n_changed == sum(before[key] != after[key] for key in both)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(table_folder, "_MANY", 3)
    monkeypatch.setattr(difference_module, "ROWS_AT_ONCE", 2)


TestVersions = VersionsMachine.TestCase
TestVersions.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
TestVersions.pytestmark = [pytest.mark.slow]
