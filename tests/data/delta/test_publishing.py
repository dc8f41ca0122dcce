"""Versions as Delta tables: what readers of others find, and what a crash, a copy or a second owner does."""

from __future__ import annotations

import json
import shutil

import deltalake
import duckdb
import polars as pl
import pytest
from tests.data.delta.protocol import require_protocol
from tests.data.versioning.stores import TRIPS, TYPES, UTC, Store, at, base, done

from varv.data import Dataset, Frame
from varv.data.delta.log import LOG
from varv.data.delta.publishing import Publications
from varv.data.retention import Retention
from varv.data.versions import stream_of, table_of
from varv.data.versions.model import DatasetVacuumed
from varv.kernel.clock import DAY
from varv.kernel.errors import Conflict, FailedPrecondition, NotFound
from varv.kernel.faults import Crash, Faults
from varv.kernel.sagas import Fact


class Publisher(Store):
    """A store whose dataset is published."""

    def reopen(self, named=None):
        super().reopen(named)
        self.publications = self.publisher()

    def publisher(self, faults=None):
        return Publications(self.datasets, self.columns, self.views, self.ledger, self.clock, faults)

    def publish(self, version=None):
        return {one.part: one.delta_version for one in self.publications.publish(TRIPS, version)}

    def table(self, part):
        return self.folder / "columns" / table_of("trips", part)


class Meanwhile(Faults):
    """Has somebody else act at a point, once."""

    def __init__(self, point, act):
        super().__init__()
        self.waiting = {point: act}

    def reach(self, point):
        self.waiting.pop(point, lambda: None)()


@pytest.fixture
def store(tmp_path):
    return Publisher(tmp_path)


def read_by(reader, folder, version):
    """Return the rows of a version of a table, as a library reads them."""
    if reader == "polars":
        return pl.scan_delta(folder, version=version).collect()
    rows = deltalake.DeltaTable(folder, version=version).to_pyarrow_dataset()
    if reader == "duckdb":
        with duckdb.connect() as database:
            database.execute("set timezone to 'UTC'")
            return database.register("rows", rows).sql("select * from rows").pl()
    return pl.from_arrow(rows.to_table())


READERS = ["delta-rs", "polars", "duckdb"]


def require_alike(store, published):
    """Compare every version that was published, as each reader sees it, with the rows that are stored."""
    for part in TRIPS.parts:
        require_protocol(store.table(part))
    for version, tables in published.items():
        for part, delta_version in tables.items():
            expected = store.datasets.read_part(TRIPS, part, version=version)
            for reader in READERS:
                found = read_by(reader, store.table(part), delta_version)
                found = found.cast(dict(expected.schema)).select(expected.columns)
                assert found.sort(part, "id").equals(expected), (version, part, reader)


def test_every_published_version_is_read_as_it_was_whatever_came_later(store):
    published = {}
    for n in range(1, 4):
        store.append("at", base((f"k{n}", n, n), (f"l{n}", n, None)), f"w-{n:06d}")
    published[2] = store.publish(2)
    published[3] = store.publish()
    store.append("done_at", done(("k1", 9, True)), "w-000001")
    published[4] = store.publish()
    store.datasets.merge(TRIPS, "at", base(("k1", 1, 10), ("k9", 9, 9)))
    store.append("at", base(("m1", 4, 4)), "w-000005")
    store.compact()
    published[6] = store.publish()
    store.datasets.overwrite(TRIPS, "at", base(("k1", 1, 100)))
    published[7] = store.publish()
    assert published == {
        n: {"at": d, "done_at": d} for n, d in zip((2, 3, 4, 6, 7), range(1, 6), strict=True)
    }
    require_alike(store, published)
    with pytest.raises(FailedPrecondition, match="was not published as version 5"):
        store.publish(5)
    assert store.publish(3) == published[3]
    with pytest.raises(NotFound, match="has no version 99"):
        store.publish(99)


def test_what_is_published_already_makes_no_version_of_a_table(store):
    store.append("at", base(("a", 1, 1)), "d1")
    assert store.publish() == store.publish() == {"at": 1, "done_at": 1}
    assert len(list((store.table("at") / LOG).glob("*.json"))) == 2


def test_rows_of_before_a_column_are_null_in_it_and_the_version_before_lacks_it(store):
    store.append("at", base(("a", 1, 1)), "d1")
    store.publish()
    source = Frame(pl.DataFrame(schema={**TYPES, "gain": pl.Float64}))
    wider = Dataset("trips", source=source, key="id", event_time="at", known_at={"done_at": ["late"]})
    store.datasets.commit(store.datasets.register(wider))
    store.reopen()
    rows = base(("b", 2, 2)).with_columns(gain=pl.lit(0.5))
    store.datasets.append(wider, "at", rows, segment="d2")
    [found, _] = store.publications.publish(wider)
    assert found.delta_version == 3
    now = read_by("polars", store.table("at"), 3).sort("id")
    assert now["gain"].to_list() == [None, 0.5]
    assert now["gain"].equals(store.datasets.read_part(wider, "at")["gain"])
    assert "gain" not in read_by("delta-rs", store.table("at"), 1).columns


@pytest.mark.parametrize("point", ["delta.before_commit", "delta.after_commit"])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_crash_at_a_commit_leaves_nothing_undone(store, point, nth):
    store.append("at", base(("a", 1, 1)), "d1")
    before = store.publish()
    store.append("at", base(("b", 2, 2)), "d2")
    with pytest.raises(Crash):
        store.publisher(Faults(point, nth=nth)).publish(TRIPS)
    store.append("at", base(("c", 3, 3)), "d3")
    published = {1: before, 3: store.publish()}
    came = (point, nth) != ("delta.before_commit", 1)
    assert published[3] == {"at": 2 + came, "done_at": 2 + came}
    if came:
        published[2] = store.publish(2)
    require_alike(store, published)


def test_a_log_that_was_lost_is_written_again_with_the_same_versions(store):
    store.append("at", base(("a", 1, 1)), "d1")
    published = {1: store.publish()}
    store.datasets.merge(TRIPS, "at", base(("a", 1, 2)))
    published[2] = store.publish()
    shutil.rmtree(store.table("at") / LOG)
    last = store.table("done_at") / LOG / f"{2:020d}.json"
    last.unlink()
    store.publications.catch_up(TRIPS)
    assert store.publish() == published[2]
    require_alike(store, published)


def test_what_is_published_last_survives_a_vacuum_and_its_log_is_written_again(store):
    for size in (1, 2, 3):
        store.datasets.overwrite(TRIPS, "at", base(("a", 1, size)))
        last = store.publish()
    store.datasets.overwrite(TRIPS, "at", base(("a", 1, 4)))
    store.datasets.overwrite(TRIPS, "at", base(("a", 1, 5)))
    store.clock.move_to(store.clock.now() + 10 * DAY)
    assert store.versions.named("trips") == {3: "its last publication"}
    assert store.versions.vacuum(TRIPS, Retention(n_versions=1)).n_files == 3
    require_alike(store, {3: last})
    (store.table("at") / LOG / f"{3:020d}.json").unlink()
    assert store.publish() == {"at": 4, "done_at": 4}
    require_alike(store, {3: last, 5: {"at": 4, "done_at": 4}})
    shutil.rmtree(store.table("at") / LOG)
    store.publish()
    require_alike(store, {3: last, 5: {"at": 4, "done_at": 4}})


def test_a_log_that_lacks_what_was_removed_goes_on_after_a_crash_too(store):
    store.append("at", base(("a", 1, 1), ("b", 2, 2)), "d1")
    store.publish()
    [before] = store.datasets.extents(TRIPS, "at")
    store.datasets.overwrite(TRIPS, "at", base(("b", 2, 2)))
    # As an erasure does, which does not wait for the next publication.
    files = {"at": (before.name,)}
    erased = DatasetVacuumed(dataset="trips", files=files, because="e1", n_rows=2, erasure="e1")
    store.datasets.commit([Fact(stream_of("trips"), erased)])
    store.datasets.finish_vacuum(TRIPS)
    shutil.rmtree(store.table("at") / LOG)
    with pytest.raises(Crash):
        store.publisher(Faults("delta.after_commit", nth=2)).publish(TRIPS)
    require_alike(store, {2: store.publish()})


def test_a_table_that_somebody_else_writes_to_is_refused(store):
    store.append("at", base(("a", 1, 1)), "d1")
    store.publish()
    deltalake.write_deltalake(store.table("at"), base(("x", 1, 1)), mode="append")
    store.append("at", base(("b", 2, 2)), "d2")
    with pytest.raises(FailedPrecondition, match=r"'trips/at' was committed to by somebody else .*=2"):
        store.publish()
    deltalake.write_deltalake(store.table("done_at"), done(("x", 1, True)), mode="append")
    shutil.rmtree(store.table("at") / LOG)
    with pytest.raises(FailedPrecondition, match="'trips/done_at' was committed to by somebody else"):
        store.publish()


def test_two_owners_that_commit_at_once_do_not_both_win(store):
    store.append("at", base(("a", 1, 1)), "d1")
    store.publish()
    store.append("at", base(("b", 2, 2)), "d2")
    with pytest.raises(Conflict, match="was committed to meanwhile"):
        store.publisher(Meanwhile("delta.before_commit", store.publish)).publish(TRIPS)
    assert len(pl.scan_delta(store.table("at")).collect()) == 2


@pytest.mark.parametrize(
    ("columns", "problem"),
    [({"n": pl.UInt64}, "has the type UInt64 in 'n'"), ({"a b": pl.Int8}, "has a column 'a b'")],
)
def test_what_delta_cannot_say_is_refused_by_name(store, columns, problem):
    source = Frame(pl.DataFrame(schema={"id": pl.String, "at": UTC, **columns}))
    dataset = Dataset("odd", source=source, key="id", event_time="at")
    store.datasets.commit(store.datasets.register(dataset))
    with pytest.raises(FailedPrecondition, match=problem):
        store.publications.publish(dataset)
    assert not (store.folder / "columns" / table_of("odd", "at") / LOG).exists()


def test_narrow_and_unsigned_numbers_are_read_as_they_are(store):
    tops = {
        "i8": (pl.Int8, 127),
        "u8": (pl.UInt8, 255),
        "u16": (pl.UInt16, 65535),
        "u32": (pl.UInt32, 2**32 - 1),
        "i16": (pl.Int16, -(2**15)),
        "f": (pl.Float32, 1.5),
    }
    rows = pl.DataFrame({"id": ["a"], "at": [at(1)]}, schema={"id": pl.String, "at": UTC})
    rows = rows.with_columns(pl.lit(top, dtype=kind).alias(name) for name, (kind, top) in tops.items())
    dataset = Dataset("wide", source=Frame(rows), key="id", event_time="at")
    store.datasets.commit(store.datasets.register(dataset))
    store.datasets.append(dataset, "at", rows, segment="d1")
    store.publications.publish(dataset)
    for reader in READERS:
        found = read_by(reader, store.folder / "columns" / table_of("wide", "at"), 1)
        assert {name: found[name][0] for name in tops} == {name: top for name, (_, top) in tops.items()}


def test_statistics_let_a_reader_pass_over_files_and_name_no_key(store):
    store.append("at", base(("secret", 1, 5), ("other", 2, 7)), "d1")
    store.publish()
    text = (store.table("at") / LOG / f"{1:020d}.json").read_text()
    said = json.loads(next(json.loads(one)["add"]["stats"] for one in text.splitlines() if '"add"' in one))
    assert said["minValues"] == {"at": "2013-01-01T00:00:00.000Z", "size": 5}
    assert "secret" not in text
    found = pl.scan_delta(store.table("at")).filter(pl.col("at") >= at(2)).collect()
    assert found["id"].to_list() == ["other"]
    assert list(store.ledger.read(stream=stream_of("trips")))[-1].name == "data.dataset_published"
