"""Keeping datasets: versions, quarantine and release, and reading as of a version and an instant."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from varv.data import Dataset, Datasets, DatasetsView, Frame
from varv.data.service import content_digest
from varv.kernel.clock import VirtualClock, instant
from varv.kernel.columns import FolderColumns
from varv.kernel.errors import AlreadyExists, Conflict, FailedPrecondition, InvalidInput, NotFound
from varv.kernel.ledger import Append, Change
from varv.kernel.ledger_sqlite import SqliteLedger
from varv.kernel.views import Views

UTC = pl.Datetime("us", "UTC")
TYPES = {"id": pl.String, "at": UTC, "size": pl.Int64, "done_at": UTC, "late": pl.Boolean}


def at(day, hour=0):
    return dt.datetime(2013, 1, day, hour, tzinfo=dt.UTC)


def base(*rows):
    return pl.DataFrame(rows, schema={"id": pl.String, "at": UTC, "size": pl.Int64}, orient="row")


def done(*rows):
    return pl.DataFrame(rows, schema={"id": pl.String, "done_at": UTC, "late": pl.Boolean}, orient="row")


TRIPS = Dataset(
    "trips",
    source=Frame(pl.DataFrame(schema=TYPES)),
    key="id",
    event_time="at",
    known_at={"done_at": ["late"]},
)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


class Store:
    def __init__(self, folder):
        self.clock = VirtualClock(instant("2013-02-01"))
        self.ledger = SqliteLedger(":memory:")
        self.columns = FolderColumns(folder / "columns")
        self.views = Views(self.ledger, DatasetsView)
        self.datasets = Datasets(self.ledger, self.columns, self.clock, self.views)

    def commit(self, facts):
        appends = tuple(Append(fact.stream, fact.event) for fact in facts)
        self.ledger.commit(Change(at=self.clock.now(), facts=appends))

    def fill(self):
        take = self.datasets.append
        take(TRIPS, "at", base(("b", at(2), 2), ("a", at(1), 1)), segment="d1")
        take(TRIPS, "done_at", done(("a", at(3), True)), segment="d1")
        take(TRIPS, "at", base(("c", at(4), 3)), segment="d2")
        take(TRIPS, "done_at", done(("b", at(5), False)), segment="d2")


def test_each_batch_makes_a_version_and_old_versions_stay_as_they_were(store):
    store.fill()
    assert [(v.version, v.part, v.n_rows) for v in store.datasets.versions(TRIPS)] == [
        (1, "at", 2),
        (2, "done_at", 1),
        (3, "at", 1),
        (4, "done_at", 1),
    ]
    latest = store.datasets.latest(TRIPS, "at")
    assert latest is not None
    assert (latest.version, latest.segment, latest.first) == (3, "d2", instant("2013-01-04"))
    before = store.datasets.read(TRIPS, version=2)
    assert before.rows() == [("a", at(1), 1, at(3), True), ("b", at(2), 2, None, None)]
    store.datasets.append(TRIPS, "done_at", done(("c", at(6), True)), segment="d3")
    assert store.datasets.read(TRIPS, version=2).equals(before)
    assert store.datasets.read(TRIPS, version=0).is_empty()
    assert store.datasets.read(TRIPS).rows()[-1] == ("c", at(4), 3, at(6), True)


def test_a_dataset_is_read_as_it_was_known_at_an_instant(store):
    store.fill()
    read = store.datasets.read
    assert read(TRIPS, known_at=instant("2013-01-02")).rows() == [
        ("a", at(1), 1, None, None),
        ("b", at(2), 2, None, None),
    ]
    assert read(TRIPS, known_at=instant("2013-01-03"))["late"].to_list() == [True, None]
    assert read(TRIPS, known_at=instant("2013-01-05"))["late"].to_list() == [True, False, None]
    assert read(TRIPS, known_at=instant("2012-01-01")).schema == pl.Schema(TYPES)


def test_reading_what_was_known_equals_a_brute_force_reading_of_a_real_day(store, tmp_path):
    from .new_york import flights, rows

    year = rows("flights")
    january = year.filter(pl.col("requested_at") < pl.datetime(2013, 1, 8, time_zone="UTC"))
    for part in flights().parts:
        frame = flights().part(january, part)
        for (_,), day in frame.group_by(pl.col(part).dt.date().alias("day"), maintain_order=True):
            segment = str(day[part][0].date())
            assert store.datasets.append(flights(), part, day, segment=segment).version
    then = at(5, 15)
    known = store.datasets.read(flights(), known_at=instant("2013-01-05T15:00:00Z"))
    expected = january.filter(pl.col("requested_at") <= then).with_columns(
        *(
            pl.when(pl.col("departed_at") <= then).then(c).alias(c)
            for c in ("dep_delay", "left_late", "departed_at")
        ),
        *(
            pl.when(pl.col("arrived_at") <= then).then(c).alias(c)
            for c in ("arr_delay", "late", "arrived_at")
        ),
    )
    assert known.equals(expected)
    assert store.datasets.read(flights()).equals(january)


def test_the_first_statement_of_a_key_stands(store):
    store.fill()
    store.datasets.append(TRIPS, "done_at", done(("a", at(4), False)), segment="again")
    assert store.datasets.read(TRIPS)["late"].to_list() == [True, False, None]


def test_the_same_batch_again_changes_nothing_and_another_one_under_its_name_is_refused(store):
    store.fill()
    head = store.ledger.head()
    again = store.datasets.append(TRIPS, "at", base(("c", at(4), 3)), segment="d2")
    assert again.version == 3
    assert store.ledger.head() == head
    with pytest.raises(Conflict, match="other rows"):
        store.datasets.append(TRIPS, "at", base(("c", at(4), 4)), segment="d2")


def test_rows_that_were_stored_but_not_committed_do_not_count_until_the_same_batch_comes_again(store):
    batch = base(("a", at(1), 1))
    lost = store.datasets.prepare_append(TRIPS, "at", batch, segment="d1")
    assert lost.accepted
    assert store.datasets.read(TRIPS).is_empty()
    store.commit(store.datasets.prepare_append(TRIPS, "at", batch, segment="d1").facts)
    assert store.datasets.read(TRIPS)["id"].to_list() == ["a"]


def test_several_batches_of_one_commit_make_versions_in_their_order(store):
    first = store.datasets.prepare_append(TRIPS, "at", base(("a", at(1), 1)), segment="d1")
    second = store.datasets.prepare_append(TRIPS, "done_at", done(("a", at(2), True)), segment="d1")
    store.commit([*first.facts, *second.facts])
    assert [v.version for v in store.datasets.versions(TRIPS)] == [1, 2]
    assert store.datasets.read(TRIPS)["late"].to_list() == [True]


def test_a_bad_batch_is_kept_whole_in_quarantine_until_it_is_released(store):
    store.fill()
    bad = base(("d", at(5), 4), ("d", at(6), 5))
    outcome = store.datasets.append(TRIPS, "at", bad, segment="d3")
    assert outcome.version is None
    assert [v.rule for v in outcome.report.violations] == ["duplicate key"]
    assert store.datasets.read(TRIPS).height == 3
    with store.views.reading(DatasetsView) as view:
        (held,) = view.quarantine("trips")
    assert (held.segment, held.n_rows, held.report) == ("d3", 2, outcome.report)
    assert store.columns.scan("quarantine/trips/at", ["d3"]).collect().equals(bad)
    assert store.datasets.append(TRIPS, "at", bad, segment="d3") == outcome

    assert store.datasets.release(TRIPS, "at", "d3", by="ana") == 5
    assert store.datasets.read(TRIPS).filter(pl.col("id") == "d")["size"].to_list() == [4]
    with store.views.reading(DatasetsView) as view:
        assert view.quarantine() == []
    with pytest.raises(NotFound, match="not in quarantine"):
        store.datasets.release(TRIPS, "at", "d3", by="ana")
    assert store.datasets.append(TRIPS, "at", bad, segment="d3").version == 5


def test_a_batch_of_other_types_can_be_kept_but_not_released(store):
    bad = base(("d", at(5), 4)).with_columns(size=pl.lit("four"))
    assert store.datasets.append(TRIPS, "at", bad, segment="d1").version is None
    with pytest.raises(FailedPrecondition, match="types"):
        store.datasets.release(TRIPS, "at", "d1", by="ana")
    missing = store.datasets.append(TRIPS, "at", bad.drop("size"), segment="d2")
    assert [v.rule for v in missing.report.violations] == ["missing column"]


def test_narrower_and_reordered_columns_are_stored_as_declared(store):
    small = base(("d", at(5), 4)).cast({"size": pl.Int8}).select("size", "at", "id")
    prepared = store.datasets.prepare_append(TRIPS, "at", small, segment="d1")
    assert prepared.accepted
    assert prepared.rows.schema == pl.Schema(TRIPS.part_types("at"))


def test_an_inferred_contract_holds_from_then_on(store):
    many = base(*((f"x{i}", at(1 + i // 24, i % 24), i % 7) for i in range(400)))
    store.datasets.append(TRIPS, "at", many, segment="d1")
    wild = base(("y", at(20), 1000))
    store.commit(store.datasets.infer_contracts([TRIPS]))
    outcome = store.datasets.append(TRIPS, "at", wild, segment="d2")
    assert [(v.rule, v.column, v.expected) for v in outcome.report.violations] == [
        ("range", "size", "-6 to 12")
    ]


def test_a_dataset_is_registered_once_and_not_with_another_shape(store):
    store.commit(store.datasets.register(TRIPS))
    assert store.datasets.register(TRIPS) == ()
    other = Dataset("trips", source=TRIPS.source, key="id", event_time="at")
    with pytest.raises(AlreadyExists, match="another shape"):
        store.datasets.register(other)
    with store.views.reading(DatasetsView) as view:
        assert [known.dataset for known in view.datasets()] == ["trips"]


def test_a_version_that_does_not_exist_is_not_found(store):
    store.fill()
    with pytest.raises(NotFound, match=r"no version 5.*the last is 4"):
        store.datasets.read(TRIPS, version=5)


@pytest.mark.parametrize("segment", ["../x", "", "a/b", ".hidden", "x" * 200])
def test_a_segment_cannot_leave_its_folder(store, segment):
    with pytest.raises(InvalidInput, match="segment"):
        store.datasets.append(TRIPS, "at", base(("a", at(1), 1)), segment=segment)
    assert store.ledger.head().version == 0


def test_what_cannot_even_be_kept_in_quarantine_is_refused_by_name(store):
    with pytest.raises(InvalidInput, match=r"column 'size' has the type List\(Int64\)"):
        store.datasets.append(
            TRIPS, "at", base(("a", at(1), 1)).with_columns(size=pl.Series([[1]])), segment="d1"
        )


def test_the_digest_tells_null_from_empty_and_values_from_types():
    frames = [
        pl.DataFrame({"a": ["", None]}),
        pl.DataFrame({"a": [None, ""]}),
        pl.DataFrame({"a": ["x", "y"]}),
        pl.DataFrame({"a": ["x,y", "z"]}),
        pl.DataFrame({"a": ["x"], "b": ["y"]}),
        pl.DataFrame({"a": [1]}),
        pl.DataFrame({"a": [1.0]}),
        pl.DataFrame({"a": [0.1 + 0.2]}),
        pl.DataFrame({"a": [0.3]}),
    ]
    assert len({content_digest(frame) for frame in frames}) == len(frames)
    assert content_digest(pl.concat([frames[2], frames[3]])) == content_digest(
        pl.concat([frames[2], frames[3]]).rechunk()
    )
