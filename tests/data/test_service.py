"""Keeping datasets: versions, quarantine and release, and reading as of a version and an instant."""

from __future__ import annotations

import datetime as dt
import json
import shutil

import numpy as np
import polars as pl
import pytest

from varv.data import Dataset, Datasets, DatasetsView, Frame, Quarantine, Selection
from varv.kernel import table_folder
from varv.kernel.clock import VirtualClock, instant
from varv.kernel.codec import decode_event
from varv.kernel.errors import AlreadyExists, Conflict, InvalidInput, NotFound
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ledger import Append, Change
from varv.kernel.ledger_sqlite import SqliteLedger
from varv.kernel.secret import Secret
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
        self.folder = folder
        self.clock = VirtualClock(instant("2013-02-01"))
        self.ledger = SqliteLedger(":memory:")
        self.reopen()

    def reopen(self):
        """Lose what is in memory."""
        folder = self.folder
        self.columns = FolderColumns(folder / "columns", durable=False)
        self.views = Views(self.ledger, DatasetsView)
        self.secret = Secret(folder / "digest.key")
        self.datasets = Datasets(self.ledger, self.columns, self.clock, self.views, self.secret)
        self.quarantine = Quarantine(self.datasets, self.views, self.clock)

    def counts(self, part):
        with self.views.reading(DatasetsView) as view:
            return view.arrivals.counts("trips", part)

    def take(self, correction):
        self.datasets.commit(correction.facts)
        return correction

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
    latest = store.datasets.extents(TRIPS, "at")[-1]
    assert (latest.number, latest.name, latest.first) == (3, "d2", instant("2013-01-04"))
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


def test_a_repeated_key_is_dropped_and_counted_equal_rows_apart_from_others(store):
    store.fill()
    again = base(("a", at(1), 1), ("d", at(5), 4), ("b", at(2), 9), ("d", at(5), 4), ("d", at(6), 4))
    outcome = store.datasets.append(TRIPS, "at", again, segment="d3")
    assert outcome.report.ok
    assert store.datasets.read(TRIPS).select("id", "size").rows() == [("a", 1), ("b", 2), ("c", 3), ("d", 4)]
    counts = store.counts("at")
    assert (counts.n_arrived, counts.n_rows, counts.n_equal, counts.n_different) == (8, 4, 2, 2)
    assert (counts.n_lost, counts.reasons) == (2, {})


def test_keys_are_remembered_after_a_restart_and_across_many_batches(store):
    rows = [(f"k{number}", at(1 + number % 28), number) for number in range(600)]
    for number in range(0, 600, 20):
        store.datasets.append(TRIPS, "at", base(*rows[number : number + 20]), segment=f"d{number:03}")
    store.reopen()
    outcome = store.datasets.append(TRIPS, "at", base(*rows, ("new", at(3), 1)), segment="all")
    assert outcome.version == 31
    assert store.counts("at").n_equal == 600
    assert store.datasets.read(TRIPS).height == 601


def test_a_batch_of_repeats_only_makes_no_version_and_is_known_when_it_comes_again(store):
    store.fill()
    repeated = base(("a", at(1), 1))
    assert store.datasets.append(TRIPS, "at", repeated, segment="d3").version is None
    head = store.ledger.head()
    store.reopen()
    assert store.datasets.append(TRIPS, "at", repeated, segment="d3").version is None
    assert store.ledger.head() == head
    with pytest.raises(Conflict, match="other rows"):
        store.datasets.append(TRIPS, "at", base(("a", at(1), 2)), segment="d3")


def test_a_bad_row_is_put_aside_and_the_others_make_a_version(store):
    many = base(*((f"x{i}", at(1 + i // 24, i % 24), i) for i in range(400)))
    store.datasets.append(TRIPS, "at", many, segment="d1")
    store.commit(store.datasets.infer_contracts([TRIPS]))
    batch = base(("y", at(20), 3), ("z", at(20), 99_999), (None, at(20), 3), *(("w", at(21), 5),) * 2)
    outcome = store.datasets.append(TRIPS, "at", batch, segment="d2")
    assert outcome.version == 2
    assert [(v.reason, v.n_rows) for v in outcome.report.violations] == [
        ("null of id", 1),
        ("impossible value of size", 1),
    ]
    assert set(store.datasets.read(TRIPS)["id"]) >= {"y", "w"}
    with store.views.reading(DatasetsView) as view:
        (held,) = view.arrivals.quarantine("trips")
    assert (held.n_rows, held.n_batch, held.whole) == (2, 5, False)
    counts = store.counts("at")
    assert counts.n_arrived == counts.n_rows + counts.n_equal + counts.n_quarantined == 405
    head = store.ledger.head()
    assert store.datasets.append(TRIPS, "at", batch, segment="d2") == outcome
    assert store.ledger.head() == head


def test_a_row_that_was_put_aside_does_not_take_its_key(store):
    wild = base(("a", None, 1))
    store.datasets.append(TRIPS, "at", wild, segment="d1")
    assert store.datasets.append(TRIPS, "at", base(("a", at(2), 1)), segment="d2").version == 1


def test_a_batch_of_another_shape_is_put_aside_whole(store):
    store.fill()
    outcome = store.datasets.append(TRIPS, "at", base(("d", at(5), 4)).drop("size"), segment="d3")
    assert outcome.version is None
    assert [v.rule for v in outcome.report.violations] == ["missing column"]
    with store.views.reading(DatasetsView) as view:
        (held,) = view.arrivals.quarantine("trips")
    assert held.whole
    assert store.counts("at").reasons == {"batch: missing column of size": 1}


def test_what_is_said_of_a_row_before_it_exists_is_put_aside(store):
    store.datasets.append(TRIPS, "at", base(("a", at(3), 1), ("b", at(3), 1)), segment="d1")
    outcome = store.datasets.append(
        TRIPS, "done_at", done(("a", at(2), True), ("b", at(3), True)), segment="d1"
    )
    assert [v.reason for v in outcome.report.violations] == ["known before its row of done_at"]
    assert store.datasets.read(TRIPS)["late"].to_list() == [None, True]


def test_what_comes_ahead_of_its_row_is_kept_and_joins_it_unless_it_is_too_early(store):
    ahead = done(("a", at(4), True), ("b", at(2), True), ("never", at(4), True))
    store.datasets.append(TRIPS, "done_at", ahead, segment="d1")
    assert store.counts("done_at").n_waiting == 3
    store.reopen()
    store.datasets.append(TRIPS, "at", base(("a", at(3), 1), ("b", at(3), 1)), segment="d2")
    counts = store.counts("done_at")
    assert (counts.n_waiting, counts.n_early, counts.n_lost) == (1, 1, 2)
    assert store.datasets.read(TRIPS)["late"].to_list() == [True, None]


@pytest.mark.slow
def test_rows_and_their_counts_are_the_same_whether_or_not_the_process_was_restarted(tmp_path):
    rng = np.random.default_rng(3)
    found = []
    for restarts in (False, True):
        store = Store(tmp_path / str(restarts))
        rng = np.random.default_rng(3)
        for number in range(30):
            keys = [f"k{key}" for key in rng.integers(0, 60, 8)]
            store.datasets.append(
                TRIPS, "at", base(*((key, at(10), int(rng.integers(3))) for key in keys)), segment=f"{number}"
            )
            keys = [f"k{key}" for key in rng.integers(0, 60, 8)]
            store.datasets.append(
                TRIPS,
                "done_at",
                done(*((key, at(int(rng.integers(8, 14))), True) for key in keys)),
                segment=f"{number}",
            )
            if restarts:
                store.reopen()
        found.append((store.counts("at"), store.counts("done_at"), store.datasets.read(TRIPS).rows()))
    assert found[0] == found[1]
    assert found[0][1].n_early > 0


def test_no_value_of_a_row_that_was_put_aside_enters_the_ledger(store):
    many = pl.DataFrame(
        {
            "id": [f"x{i}" for i in range(400)],
            "at": [at(1 + i // 24, i % 24) for i in range(400)],
            "city": ["Aurich", "Bünde"] * 200,
        }
    ).cast({"at": UTC})
    towns = Dataset("towns", source=Frame(many), key="id", event_time="at")
    store.datasets.append(towns, "at", many, segment="d1")
    store.commit(store.datasets.infer_contracts([towns]))
    secret = many.head(3).with_columns(
        id=pl.Series(["Zoe", None, "Yan"]), city=pl.Series(["Celle", "Dahme", "Essen"])
    )
    outcome = store.datasets.append(towns, "at", secret, segment="d2")
    store.datasets.append(
        towns, "at", secret.with_columns(city=pl.Series([47110815, 47110816, 47110817])), segment="d3"
    )
    assert [v.rule for v in outcome.report.violations] == ["unseen value"]
    chain = b"".join(entry.data for entry in store.ledger.read())
    for value in (*many["city"], "Zoe", "Celle", "Dahme", "Essen", "47110815"):
        assert value.encode() not in chain
        assert json.dumps(value).strip('"').encode() not in chain


def test_a_contract_without_its_texts_checks_all_else(store):
    many = base(*((f"x{i % 2}{i}", at(1 + i // 24, i % 24), i) for i in range(400)))
    towns = many.with_columns(city=pl.Series(["Aurich", "Celle"] * 200))
    data = Dataset("towns", source=Frame(towns), key="id", event_time="at")
    store.datasets.append(data, "at", towns, segment="d1")
    store.commit(store.datasets.infer_contracts([data]))
    other = towns.head(20).with_columns(
        id=pl.Series([f"y{i}" for i in range(20)]), city=pl.lit("Essen"), size=pl.lit(3)
    )
    assert store.datasets.append(data, "at", other, segment="d2").version is None
    shutil.rmtree(store.folder / "columns" / "contracts")
    store.reopen()
    assert store.datasets.append(data, "at", other, segment="d3").version == 2
    wild = other.head(1).with_columns(id=pl.lit("z"), size=pl.lit(99_999))
    assert store.datasets.append(data, "at", wild, segment="d4").version is None


def test_events_of_earlier_versions_with_examples_and_domains_are_read(store):
    rule = {"name": "city", "kind": "text", "null_share": 0.5, "low": None, "high": None}
    strict = [{"name": "id", "kind": "text"}, {"name": "at", "kind": "time"}]
    contract = {
        "key": ["id"],
        "time": "at",
        "columns": [*strict, {**rule, "domain": ["Aurich", "Celle"]}],
        "earliest": 0,
        "n_reference": 400,
    }
    inferred = {"dataset": "towns", "part": "at", "contract": contract}
    broken = {
        "rule": "duplicate key",
        "column": "id",
        "n_rows": 1,
        "n_allowed": 0,
        "expected": "each key once",
    }
    report = {"n_rows": 2, "violations": [{**broken, "examples": [{"key": "a", "value": "a"}]}]}
    rows = base(("a", at(1), 1), ("a", at(1), 2)).with_columns(city=pl.lit("Essen"))
    quarantined = {
        **{"dataset": "towns", "part": "at", "segment": "d1", "n_rows": 2},
        **{"digest": "326356f77586b1302d642d0c50da152856e57b26ba4de7b012f29d01d2a8612b", "report": report},
    }
    store.columns.append("quarantine/towns/at", "d1", rows)
    for name, fields in (("contract_inferred", inferred), ("batch_quarantined", quarantined)):
        event = decode_event(f"data.{name}", 1, json.dumps(fields).encode())
        store.ledger.commit(Change(at=store.clock.now(), facts=(Append("dataset/towns", event),)))
    data = Dataset("towns", source=Frame(rows), key="id", event_time="at")
    store.commit(store.datasets.register(data))
    assert store.datasets.contracts.of(data, "at").columns[-1].domain == ("Aurich", "Celle")
    assert store.datasets.append(data, "at", rows, segment="d1").version is None
    (held,) = store.quarantine.batches(Selection(dataset="towns"))
    assert (held.whole, held.n_rows, held.report.violations[0].examples[0].value) == (True, 2, "a")
    store.take(store.quarantine.release(Selection(dataset="towns"), by="ana"))
    assert store.datasets.read(data)["size"].to_list() == [1]


def test_narrower_and_reordered_columns_are_stored_as_declared(store):
    small = base(("d", at(5), 4)).cast({"size": pl.Int8}).select("size", "at", "id")
    prepared = store.datasets.prepare_append(TRIPS, "at", small, segment="d1")
    assert prepared.accepted
    assert prepared.rows.schema == pl.Schema(TRIPS.part_types("at"))


def test_an_inferred_contract_holds_from_then_on(store):
    many = base(*((f"x{i}", at(1 + i // 24, i % 24), i % 7) for i in range(400)))
    store.datasets.append(TRIPS, "at", many, segment="d1")
    wild = base(("y", at(20), 100))
    store.commit(store.datasets.infer_contracts([TRIPS]))
    outcome = store.datasets.append(TRIPS, "at", wild, segment="d2")
    assert outcome.report.ok
    several = base(*((f"z{i}", at(20), 100) for i in range(9)))
    outcome = store.datasets.append(TRIPS, "at", several, segment="d3")
    assert [(v.rule, v.column, v.expected) for v in outcome.report.violations] == [
        ("range", "size", "-6 to 12")
    ]


def test_a_dataset_is_registered_once_and_not_with_another_shape(store):
    store.commit(store.datasets.register(TRIPS))
    assert store.datasets.register(TRIPS) == ()
    other = Dataset("trips", source=TRIPS.source, key="id", event_time="at")
    with pytest.raises(AlreadyExists, match="knows done_at at another time"):
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


class TestCompacted:
    """What is stored together stays what it is, though nothing of it is remembered by its name."""

    @pytest.fixture
    def stored(self, store, monkeypatch):
        """Six versions: two files of two batches each part, one batch alone each."""
        monkeypatch.setattr(table_folder, "_MANY", 2)
        for number in range(1, 7):
            key = f"k{number}"
            store.datasets.append(TRIPS, "at", base((key, at(number), number)), segment=f"w-{number:03d}")
            told = done((key, at(number, 6), number % 2 == 0))
            store.datasets.append(TRIPS, "done_at", told, segment=f"w-{number:03d}")
            if number in (2, 5):
                store.commit(store.datasets.compact(TRIPS))
        return store

    def test_every_version_reads_as_it_did(self, store, stored):
        plain = Store(store.folder / "plain")
        for number in range(1, 7):
            key = f"k{number}"
            plain.datasets.append(TRIPS, "at", base((key, at(number), number)), segment=f"w-{number:03d}")
            told = done((key, at(number, 6), number % 2 == 0))
            plain.datasets.append(TRIPS, "done_at", told, segment=f"w-{number:03d}")
        assert [one.n_segments for one in stored.datasets.extents(TRIPS, "at")] == [2, 2, 1, 1]
        for version in range(13):
            read = stored.datasets.read(TRIPS, version=version)
            assert read.equals(plain.datasets.read(TRIPS, version=version))
        for since, until in (
            ("2013-01-01", "2013-01-03"),
            ("2013-01-04", "2013-01-06"),
            ("2013-01-07", "2013-01-09"),
        ):
            window = {"since": instant(since), "until": instant(until)}
            assert stored.datasets.read(TRIPS, **window).equals(plain.datasets.read(TRIPS, **window))
        assert stored.datasets.versions(TRIPS) == plain.datasets.versions(TRIPS)
        assert stored.datasets.digest(TRIPS) == plain.datasets.digest(TRIPS)

    def test_a_batch_of_before_changes_nothing_and_other_rows_under_its_name_are_refused(self, stored):
        again = stored.datasets.prepare_append(TRIPS, "at", base(("k2", at(2), 2)), segment="w-002")
        assert (again.facts, again.accepted, again.rows["id"].to_list()) == ((), True, ["k2"])
        with pytest.raises(Conflict, match="exists with other rows"):
            stored.datasets.prepare_append(TRIPS, "at", base(("k9", at(2), 2)), segment="w-002")
        assert stored.datasets.version_of(TRIPS, "done_at", "w-002") == 4
        assert stored.datasets.has_come(TRIPS, "at", "w-001")
        assert not stored.datasets.has_come(TRIPS, "at", "w-0015")
        assert not stored.datasets.has_come(TRIPS, "at", "v-001")

    def test_what_was_committed_and_compacted_at_once_is_not_counted_twice(self, store, monkeypatch):
        monkeypatch.setattr(table_folder, "_MANY", 2)
        made = []
        for number in (1, 2):
            rows = base((f"k{number}", at(number), number))
            made += store.datasets.prepare_append(TRIPS, "at", rows, segment=f"w-{number:03d}").facts
        store.commit(made)
        store.commit(store.datasets.compact(TRIPS))
        [inferred] = store.datasets.infer_contracts([TRIPS])
        assert inferred.event.contract.n_reference == 2

    def test_batches_come_by_their_names(self, stored):
        found = [(name, rows["id"].to_list()) for name, rows in stored.datasets.segments(TRIPS, "at")]
        assert found == [(f"w-{number:03d}", [f"k{number}"]) for number in range(1, 7)]
