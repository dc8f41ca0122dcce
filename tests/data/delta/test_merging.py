"""Small files of a published part are stored in larger ones, and every version reads on."""

from __future__ import annotations

import json
import shutil
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.data.delta.protocol import require_protocol
from tests.data.delta.test_publishing import Publisher, read_by, require_alike
from tests.data.versioning.stores import TRIPS, at, base, done

from varv.data.delta import merging
from varv.data.delta.log import LOG, live_files
from varv.data.delta.merging import Mergeable, worth_merging
from varv.data.retention import Retention
from varv.data.views import DatasetsView
from varv.kernel.catalogue import Extent
from varv.kernel.clock import DAY
from varv.kernel.codec import Digest
from varv.kernel.faults import Crash, Faults

POINTS = (
    "columns.before_rename",
    "columns.after_merge",
    "ledger.before_commit",
    "ledger.after_commit",
    "delta.before_commit",
    "delta.after_commit",
)


def extent(number, n=1):
    return Extent(name=f"f{number}", digest=Digest("d"), n_rows=n, number=number)


def published_often(store, n):
    """Publish after each of some batches; return the version of each table by version."""
    found = {}
    for number in range(1, n + 1):
        store.append("at", base((f"k{number}", number, number)), f"w-{number:06d}")
        found[number] = store.publish()
    return found


def superseded(store, part="at"):
    with store.views.reading(DatasetsView) as view:
        return view.catalogue("trips", part).superseded


@given(st.lists(st.integers(1, 1 << 23), min_size=1, max_size=400))
@settings(max_examples=50, deadline=None)
def test_a_table_that_grows_by_files_is_left_with_dozens(sizes):
    files: list[Mergeable] = []
    n_written = 0
    for number, size in enumerate(sizes, 1):
        files.append(Mergeable(extent(number), size, "columns"))
        chosen = {one.name for one in worth_merging(files)}
        if chosen:
            together = [one for one in files if one.extent.name in chosen]
            assert len(together) >= merging.FEWEST
            n_bytes = sum(one.n_bytes for one in together)
            n_written += n_bytes
            files = [one for one in files if one not in together]
            files.append(Mergeable(together[0].extent, n_bytes, "columns"))
            files.sort(key=lambda one: one.extent.number)
    small = [one for one in files if one.weight < merging.LARGE_BYTES]
    assert len(small) <= 15 * 4
    assert n_written <= 8 * sum(sizes)


def test_files_of_other_columns_or_of_later_numbers_are_not_merged():
    alike = [Mergeable(extent(n), 100, n % 2) for n in range(1, 31)]
    assert worth_merging(alike) == []
    behind = Extent(name="x", digest=Digest("d"), n_rows=2, number=3, offsets=(40).to_bytes(4, "little"))
    files = [Mergeable(extent(n), 100, 0) for n in range(1, 20)]
    names = [one.name for one in worth_merging([*files[:3], Mergeable(behind, 100, 0), *files[3:]])]
    assert names == []
    assert len(worth_merging(files)) == 19


def test_every_version_reads_on_after_its_files_were_merged(tmp_path):
    store = Publisher(tmp_path)
    published = published_often(store, 20)
    assert [len(live_files(store.table("at"))), len(superseded(store))] == [5, 16]
    require_alike(store, {n: published[n] for n in (1, 15, 16, 17, 20)})
    for version in published:
        assert store.sizes(version) == {f"k{n}": n for n in range(1, version + 1)}
    merge = (store.table("at") / LOG / f"{17:020d}.json").read_text().splitlines()
    changes = [
        fields["dataChange"] for one in merge for fields in json.loads(one).values() if "path" in fields
    ]
    assert changes == [False] * 17
    found = store.publications.publication(TRIPS, 16)[0]
    assert [found.delta_version, len(found.removed)] == [17, 16]
    before, after = (read_by("polars", store.table("at"), one).sort("id") for one in (16, 17))
    assert before.equals(after)
    assert store.append("at", base(("k3", 3, 3)), "again").version is None
    store.reopen()
    assert store.sizes(7) == {f"k{n}": n for n in range(1, 8)}


def test_a_vacuum_removes_merged_files_that_no_named_version_was_published_with(tmp_path):
    store = Publisher(tmp_path)
    published = published_often(store, 20)
    store.clock.move_to(store.clock.now() + 2 * DAY)
    store.named = {3: "model late v1"}
    kept = {one.name for one in superseded(store)[:3]}
    gone = store.versions.vacuum(TRIPS).extents["at"]
    assert {one.name for one in superseded(store)} - {one.name for one in gone} == kept
    require_alike(store, {n: published[n] for n in (1, 2, 3, 17, 20)})
    for version in published:
        assert store.sizes(version) == {f"k{n}": n for n in range(1, version + 1)}
    store.named = {}
    assert store.versions.vacuum(TRIPS).n_files == 3
    shutil.rmtree(store.table("at") / LOG)
    store.publish()
    require_alike(store, {n: published[n] for n in (17, 20)})


def test_a_file_that_a_crash_left_goes_and_large_batches_stay_apart(tmp_path):
    store = Publisher(tmp_path)
    many = pl.DataFrame({"id": [f"many-{n}" for n in range(60_000)]})
    rows = many.with_columns(at=pl.lit(at(1)), size=pl.int_range(60_000, dtype=pl.Int64)).cast(base().schema)
    store.append("at", rows, "large")
    published_often(store, 15)
    store.append("at", base(("last", 20, 0)), "w-000099")
    store.columns._faults = Faults("columns.after_merge")
    with pytest.raises(Crash):
        store.publish()
    store.reopen()
    assert len(list(store.table("at").glob("~*.parquet"))) == 17
    store.append("at", base(("next", 21, 0)), "w-000100")
    store.publish()
    with store.views.reading(DatasetsView) as view:
        names = {f"{one.name}.parquet" for one in view.catalogue("trips", "at").stored()}
    assert {path.name for path in store.table("at").glob("*.parquet")} == names
    assert "large.parquet" in live_files(store.table("at"))
    assert read_by("polars", store.table("at"), None).height == 60_017
    assert store.datasets.read_part(TRIPS, "at").height == 60_017


class Tables(RuleBasedStateMachine):
    """Rows come, are replaced, published, merged and vacuumed; whoever does it may die at any point."""

    def __init__(self):
        super().__init__()
        self.folder = self.make_folder()
        self.few = patch.object(merging, "FEWEST", 2)
        self.few.start()
        self.store = Publisher(self.folder)
        self.n = 0

    def teardown(self):
        self.few.stop()
        shutil.rmtree(self.folder)

    @rule(n_keys=st.integers(1, 3), is_published=st.booleans())
    def append(self, n_keys, is_published):
        self.n += 1
        rows = base(*((f"k{self.n}.{one}", self.n % 25 + 1, self.n) for one in range(n_keys)))
        self.store.append("at", rows, f"w-{self.n:06d}")
        if is_published:
            self.store.publish()

    @precondition(lambda self: self.n)
    @rule(which=st.integers(0, 1 << 10))
    def outcome(self, which):
        self.n += 1
        key = f"k{which % self.n + 1}.0"
        self.store.append("done_at", done((key, 28, True)), f"v-{self.n:06d}")

    @precondition(lambda self: self.n)
    @rule(which=st.integers(0, 1 << 10))
    def change(self, which):
        self.n += 1
        self.store.datasets.merge(TRIPS, "at", base((f"k{which % self.n + 1}.0", 1, self.n)))

    @rule()
    def publish(self):
        self.store.publish()

    @rule(point=st.sampled_from(POINTS), nth=st.integers(1, 4))
    def publish_and_die(self, point, nth):
        self.append(1, is_published=False)
        faults = Faults(point, nth=nth)
        store, ledger = self.store, self.store.ledger
        before, ledger._faults, store.columns._faults = ledger._faults, faults, faults
        try:
            store.publisher(faults).publish(TRIPS)
        except Crash:
            pass
        finally:
            ledger._faults = before
            store.reopen()

    @rule()
    def vacuum(self):
        self.store.clock.move_to(self.store.clock.now() + 2 * DAY)
        self.store.versions.vacuum(TRIPS, Retention(n_versions=3))

    @rule(part=st.sampled_from(TRIPS.parts))
    def lose_log(self, part):
        shutil.rmtree(self.store.table(part) / LOG, ignore_errors=True)

    @invariant()
    def heads_hold_what_is_stored(self):
        store = self.store
        with store.views.reading(DatasetsView) as view:
            last = dict(view.history("trips").published)
        for part, event in last.items():
            if not (store.table(part) / LOG / f"{event.delta_version:020d}.json").exists():
                continue
            expected = store.datasets.read_part(TRIPS, part, version=event.version)
            found = read_by("polars", store.table(part), event.delta_version)
            assert found.select(expected.columns).sort(part, "id").equals(expected)

    @invariant()
    def present_is_whole(self):
        rows = self.store.datasets.read_part(TRIPS, "at")
        assert rows["id"].is_unique().all()
        assert rows.height == sum(one.n_rows for one in self.store.datasets.extents(TRIPS, "at"))


@pytest.mark.slow
def test_tables_and_ledger_agree_whatever_happens_in_any_order(tmp_path_factory):
    class Here(Tables):
        def make_folder(self):
            return tmp_path_factory.mktemp("tables")

        def teardown(self):
            self.store.publish()
            for part in TRIPS.parts:
                require_protocol(self.store.table(part))
            self.heads_hold_what_is_stored()
            super().teardown()

    machine = Here.TestCase
    machine.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
    machine().runTest()
