"""Everything that moves rows, in whatever order and wherever it is cut short, on one home: what is present is
what plain dictionaries say, and every version of before reads as it did or says why it cannot.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.data.delta.protocol import require_protocol
from tests.faults.moved_home import PARTS, MovedHome
from tests.home.erasure.people import base, day, done

from varv.app.verifying import verify_report
from varv.data.delta import merging
from varv.data.delta.log import LOG
from varv.data.quarantine import Selection
from varv.data.retention import Retention
from varv.data.versioning.references import Reference
from varv.home.erasure.searching import search
from varv.home.erasure.views import ErasuresView
from varv.kernel import table_folder
from varv.kernel.clock import DAY, instant
from varv.kernel.content import rows_digest
from varv.kernel.errors import Conflict, Erased, Expired, FailedPrecondition, NotFound
from varv.kernel.faults import Crash, Faults

EMAILS = ("ana@example.org", "bob@example.org", "cy@example.org")
KEYS = st.sampled_from([f"k-{letter}" for letter in "abcdefgh"])
PERSON = st.tuples(st.integers(1, 6), st.sampled_from(EMAILS), st.integers(20, 23))
ROWS = st.dictionaries(KEYS, PERSON, min_size=1, max_size=3)
OUTCOMES = st.dictionaries(KEYS, st.booleans(), min_size=1, max_size=3)
POINTS = [
    *("columns.before_rename", "columns.after_merge", "columns.before_unlink", "blobs.before_rename"),
    *("ledger.before_commit", "ledger.after_commit", "delta.before_commit", "delta.after_commit"),
    *("tiers.after_copy", "tiers.before_drop"),
    *("erasure.after_subject", "erasure.after_owners", "erasure.after_rows", "erasure.after_files"),
    *("erasure.after_online", "erasure.after_key", "erasure.after_entry"),
]


def frame(rows):
    return base(*((key, n, email, age) for key, (n, email, age) in rows.items()))


def as_read(rows):
    """Return rows as `MovedHome.values` does: age, time, email."""
    return {key: (age, day(n), email) for key, (n, email, age) in rows.items()}


def lacking(rows, some):
    """Return those of some rows that are not among others."""
    return dict(some.items() - rows.items())


class Movements(RuleBasedStateMachine):
    @initialize(is_sealed=st.booleans())
    def begin(self, is_sealed):
        self.folder = tempfile.TemporaryDirectory()
        self.faults = Faults()
        self.patches = [patch.object(table_folder, "_MANY", 3), patch.object(merging, "FEWEST", 3)]
        for one in self.patches:
            one.start()
        self.home = MovedHome(Path(self.folder.name) / "home", self.faults, is_sealed=is_sealed)
        self.now = {part: {} for part in PARTS}
        self.held = {}
        # By version and part: the digest of its rows, and what they were.
        self.versions = {}
        self.expired = set()
        # By e-mail address, the keys of the rows that ever had it; and those that nothing may be left of.
        self.keys_of = {email: set() for email in EMAILS}
        self.forgotten = set()
        self.ever_erased = set()
        self.gone_keys = set()
        self.last_erased_at = -1
        self.sent = {}
        self.is_log_lost = False
        self.n = 0
        self.note()

    def teardown(self):
        if hasattr(self, "home"):
            self.disarm()
            try:
                self.sound()
            finally:
                self.home.close()
                for one in self.patches:
                    one.stop()
                self.folder.cleanup()

    def disarm(self):
        self.faults._point = ""

    def act(self, does, again=None):
        """Do something that a crash may interrupt, and then do it again: nothing happens twice."""
        try:
            return does()
        except Crash:
            self.disarm()
            self.home.reopen()
            return (again or does)()

    def note(self):
        """Take note of what the version is that there is now."""
        home, version = self.home, self.home.datasets.version(self.home.dataset)
        for part in PARTS:
            try:
                rows = home.datasets.read_part(home.dataset, part, version=version)
            except FailedPrecondition:
                assert home.cold()
                continue
            if (version, part) in self.versions:
                assert self.versions[version, part] == (rows_digest(rows), self.now[part])
            self.versions[version, part] = rows_digest(rows), dict(self.now[part])

    def seen(self, rows):
        for key, (_, email, _) in rows.items():
            self.keys_of[email].add(key)
            self.forgotten.discard(email)

    @rule(point=st.sampled_from(POINTS), nth=st.integers(1, 4))
    def arm(self, point, nth):
        self.faults._point, self.faults._left, self.faults._how = point, nth, "raise"

    @rule(keeps=st.booleans())
    def restart(self, keeps):
        self.disarm()
        before = self.home.told()
        if keeps:
            self.home.keep()
        else:
            self.home.lose_snapshots()
        self.home.reopen()
        assert self.home.told() == before

    @rule(rows=ROWS)
    def append(self, rows):
        self.n += 1
        name = f"w-{self.n:06d}"
        self.seen(rows)
        self.act(lambda: self.home.datasets.append(self.home.dataset, "at", frame(rows), segment=name))
        self.sent[name] = rows
        self.now["at"] = as_read(rows) | self.now["at"]
        self.note()

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def append_again(self, data):
        name = data.draw(st.sampled_from(sorted(self.sent)))
        rows = self.sent[name]
        try:
            self.act(lambda: self.home.datasets.append(self.home.dataset, "at", frame(rows), segment=name))
        except Conflict:
            # Under a new key of somebody who was erased they are other bytes.
            assert self.home.is_sealed
            assert self.ever_erased & {email for _, email, _ in rows.values()}
        self.note()

    @rule(rows=OUTCOMES)
    def append_outcomes(self, rows):
        self.n += 1
        name = f"w-{self.n:06d}"
        given = done(*((key, 9, late) for key, late in rows.items()))
        self.act(lambda: self.home.datasets.append(self.home.dataset, "done_at", given, segment=name))
        self.now["done_at"] = {key: (day(9), late) for key, late in rows.items()} | self.now["done_at"]
        self.note()

    @rule(rows=ROWS)
    def merge(self, rows):
        self.seen(rows)
        try:
            self.act(lambda: self.home.datasets.merge(self.home.dataset, "at", frame(rows)))
        except FailedPrecondition:
            assert self.home.cold()
            return
        self.now["at"] = self.now["at"] | as_read(rows)
        self.note()

    @rule(rows=OUTCOMES)
    def correct_outcomes(self, rows):
        given = done(*((key, 9, late) for key, late in rows.items()))
        try:
            self.act(lambda: self.home.datasets.merge(self.home.dataset, "done_at", given))
        except FailedPrecondition:
            assert self.home.cold()
            return
        self.now["done_at"] = self.now["done_at"] | {key: (day(9), late) for key, late in rows.items()}
        self.note()

    @rule(rows=ROWS)
    def overwrite(self, rows):
        self.seen(rows)
        self.act(lambda: self.home.datasets.overwrite(self.home.dataset, "at", frame(rows)))
        self.now["at"] = as_read(rows)
        self.note()

    @rule()
    def compact(self):
        self.act(self.home.compact)
        self.act(self.nothing_strange)

    # Quarantine

    @rule(rows=ROWS)
    def put_aside(self, rows):
        self.n += 1
        name = f"w-{self.n:06d}"
        rows = {f"doubted-{key}": values for key, values in rows.items()}
        self.seen(rows)
        self.act(lambda: self.home.datasets.append(self.home.dataset, "at", frame(rows), segment=name))
        self.held[name] = rows
        assert self.aside() == self.held

    def aside(self):
        """Return the keys of the rows in quarantine, by batch."""
        try:
            found = self.home.quarantine.batches(Selection(dataset="people"))
        except NotFound:
            return {}
        several = {one.segment: self.home.quarantine.rows(one) for one in found}
        return {
            name: {
                key: (at.day, email, self.held[name][key][2])
                for key, at, email in rows.select("id", "at", "email").rows()
            }
            for name, rows in several.items()
            if rows.height
        }

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data):
        name = data.draw(st.sampled_from(sorted(self.held)))
        chosen = Selection(dataset="people", segment=name)

        def let_out():
            try:
                made = self.home.quarantine.release(chosen, by="ana")
            except NotFound:
                return
            self.home.datasets.commit(made.facts)

        self.act(let_out)
        rows = self.held.pop(name)
        self.now["at"] = as_read(rows) | self.now["at"]
        self.note()

    @precondition(lambda self: self.held)
    @rule(data=st.data(), rows=ROWS)
    def replace(self, data, rows):
        name = data.draw(st.sampled_from(sorted(self.held)))
        chosen = Selection(dataset="people", segment=name)
        self.seen(rows)

        def put_right():
            try:
                made = self.home.quarantine.replace(chosen, frame(rows), by="ana")
            except NotFound:
                return
            self.home.datasets.commit(made.facts)

        self.act(put_right)
        del self.held[name]
        self.now["at"] = as_read(rows) | self.now["at"]
        self.note()

    # Versions

    @rule(name=st.sampled_from(["one", "two"]), data=st.data())
    def tag(self, name, data):
        version = data.draw(st.integers(0, int(self.home.datasets.version(self.home.dataset))))
        try:
            self.act(lambda: self.home.versions.tag(Reference("people", version=version), name))
        except Expired:
            assert version in self.expired or version <= self.last_erased_at

    @rule(keep=st.integers(1, 4))
    def vacuum(self, keep):
        home = self.home
        home.clock.move_to(home.clock.now() + 2 * DAY)
        last = int(home.datasets.version(home.dataset))
        kept = {*range(max(0, last - keep + 1), last + 1), *home.versions.named("people")}
        self.act(lambda: self.home.versions.vacuum(self.home.dataset, Retention(n_versions=keep)))
        self.expired |= {version for version in range(last) if version not in kept}
        self.act(self.home.compact)
        self.act(self.nothing_strange)

    # Delta

    @rule()
    def publish(self):
        try:
            made = self.act(lambda: self.home.publications.publish(self.home.dataset))
        except FailedPrecondition:
            assert self.home.cold()
            return
        self.is_log_lost = False
        assert {one.part for one in made} == set(PARTS)
        self.tables_hold_what_is_stored()

    @rule(part=st.sampled_from(PARTS))
    def lose_log(self, part):
        shutil.rmtree(self.home.table(part) / LOG, ignore_errors=True)
        self.is_log_lost = True

    def tables_hold_what_is_stored(self):
        home = self.home
        for part in PARTS:
            require_protocol(home.table(part))
            expected = home.datasets.read_part(home.dataset, part)
            found = pl.scan_delta(home.table(part)).collect()
            assert found.select(expected.columns).sort(part, "id").equals(expected)

    # Tiers

    @rule(before=st.integers(2, 10))
    def archive(self, before):
        home = self.home
        home.clock.move_to(home.clock.now() + 2 * DAY)
        self.act(lambda: self.home.tiers.archive(self.home.dataset, instant(f"2013-01-{before:02d}")))

    @rule()
    def restore(self):
        self.act(lambda: self.home.tiers.restore(self.home.dataset))
        assert self.home.cold() == set()
        self.note()

    # Erasure

    @rule(email=st.sampled_from(EMAILS))
    def erase(self, email):
        home = self.home
        if home.cold():
            with pytest.raises((FailedPrecondition, Crash)):
                home.erasures.carry(home.erasures.request("people", "email", email, by="ana"))
            self.disarm()
            home.reopen()
            home.tiers.restore(home.dataset)
            home.erasures.finish()

        def asked():
            with self.home.views.reading(ErasuresView) as view:
                return len(view.of)

        before = asked()

        def carry():
            own = self.home.erasures
            return own.carry(own.request("people", "email", email, by="ana"))

        def go_on():
            found = self.home.erasures.finish()
            return found[-1] if asked() > before and found else carry()

        record = self.act(carry, go_on)
        assert record.proven is not None, record.searched
        self.erased(email)

    def erased(self, email):
        """Take in what went with an erasure: what has the address, and what has a key that ever had it."""
        home, keys = self.home, self.keys_of[email]
        self.last_erased_at = int(home.datasets.version(home.dataset))
        self.forgotten.add(email)
        self.ever_erased.add(email)
        self.gone_keys |= keys
        for part in PARTS:
            found, before = home.present(part), self.now[part]
            assert lacking(before, found) == {}
            assert before.keys() - found.keys() <= keys
            self.now[part] = found
        assert email not in {values[2] for values in self.now["at"].values()}
        aside = self.aside()
        for name, rows in list(self.held.items()):
            left = aside.get(name, {})
            assert left.items() <= rows.items()
            assert rows.keys() - left.keys() <= keys
            assert email not in {values[1] for values in left.values()}
            if left:
                self.held[name] = left
            else:
                del self.held[name]
        self.note()
        self.act(self.nothing_strange)

    # What holds

    @rule()
    def verify(self):
        self.sound()

    def sound(self):
        if self.home.erasures.under_way():
            return
        report = verify_report(self.home.folder)
        strange = [str(one) for one in report.findings if not (self.is_log_lost and LOG in one.place)]
        assert strange == []

    def nothing_strange(self):
        """No file lies there that nobody names, and none is missing."""
        # A compaction leaves the files that it has put together to the next one: somebody may read them.
        while facts := self.home.datasets.compact(self.home.dataset):
            self.home.datasets.commit(facts)
        for part in PARTS:
            files, named = self.home.files(part), self.home.named_files(part)
            assert (files - named, named - files) == (set(), set())

    @invariant()
    def present_is_what_it_is(self):
        if not hasattr(self, "home"):
            return
        is_cold = bool(self.home.cold())
        for part in PARTS:
            found = self.home.present(part, warm_only=True)
            assert lacking(self.now[part], found) == {}
            assert is_cold or found == self.now[part]

    @invariant()
    def versions_read_as_they_did(self):
        if not hasattr(self, "home"):
            return
        home, is_cold = self.home, bool(self.home.cold())
        for (version, part), (content, values) in self.versions.items():
            try:
                rows = home.datasets.read_part(home.dataset, part, version=version)
            except Erased:
                assert version <= self.last_erased_at
                self.remains(version, part, values)
            except Expired:
                assert version in self.expired
            except FailedPrecondition:
                assert is_cold
            else:
                assert rows_digest(rows) == content

    def remains(self, version, part, values):
        """Compare what is left of a version of which rows were erased with what it was."""
        home = self.home
        try:
            rows = home.datasets.read_part(home.dataset, part, version=version, remaining=True)
        except Expired:
            assert version in self.expired
        except FailedPrecondition:
            assert home.cold()
        else:
            found = home.values(part, rows)
            assert found.keys() <= values.keys()
            assert values.keys() - found.keys() <= self.gone_keys
            if part == "at":
                assert self.forgotten.isdisjoint(one[2] for one in found.values())

    @invariant()
    def nothing_is_left_of_whoever_was_erased(self):
        if hasattr(self, "home") and self.forgotten:
            assert search(self.home.folder, sorted(self.forgotten)).places == {}


class LongMovements(Movements):
    """The same, for longer."""


TestMovements = Movements.TestCase
TestMovements.settings = settings(max_examples=50, stateful_step_count=15, deadline=None)
TestMovements.pytestmark = [pytest.mark.slow]
TestLongMovements = LongMovements.TestCase
TestLongMovements.settings = settings(max_examples=400, stateful_step_count=30, deadline=None)
TestLongMovements.pytestmark = [pytest.mark.soak]
