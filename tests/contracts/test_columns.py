"""The behaviour of a column store."""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from varv.kernel import compared_files, segment_files, table_folder
from varv.kernel.codec import Digest
from varv.kernel.content import rows_digest
from varv.kernel.errors import Conflict, Corrupt, InvalidInput, NotFound
from varv.kernel.faults import Crash, Faults
from varv.kernel.folder_columns import FolderColumns

JANUARY = pl.DataFrame({"n": [1, 2], "x": [0.5, float("nan")], "s": ["a", None]})
FEBRUARY = pl.DataFrame({"n": [3], "x": [1.5], "s": ["ä"]})
MONTHS = {"a": JANUARY, "b": FEBRUARY}


@pytest.fixture
def columns(tmp_path):
    return FolderColumns(tmp_path / "columns")


def digests_of(frames):
    return {segment: rows_digest(frame) for segment, frame in frames.items()}


def compacted(columns, frames, table="t"):
    """Compact twice, as the ledger tells it: the second time removes what is not needed any more."""
    digests = digests_of(frames)
    made = columns.compact(table, digests)
    left = {name: digest for name, digest in digests.items() if all(name not in one.segments for one in made)}
    assert columns.compact(table, left, [one.file for one in made]) == []
    return made


@pytest.fixture
def few(monkeypatch):
    """Two segments are many."""
    monkeypatch.setattr(table_folder, "_MANY", 2)


def test_segments_are_scanned_in_the_order_given(columns):
    columns.append("flights/raw", "2013-02", FEBRUARY)
    columns.append("flights/raw", "2013-01", JANUARY)
    assert columns.segments("flights/raw") == ["2013-01", "2013-02"]
    assert columns.scan("flights/raw", ["2013-01", "2013-02"]).select("n").collect()["n"].to_list() == [
        1,
        2,
        3,
    ]
    assert columns.scan("flights/raw", ["2013-02"]).collect().equals(FEBRUARY)


def test_what_came_last_is_found_without_a_look_into_files(columns, few):
    assert columns.latest("t", 2) == []
    for number in "321":
        columns.append("t", number, JANUARY)
    assert columns.latest("t", 2) == ["2", "3"]
    [file] = compacted(columns, {"1": JANUARY, "2": JANUARY})
    assert columns.latest("t", 2) == [file.file, "3"]
    assert [rows.height for rows in columns.batches("t", columns.latest("t", 2))] == [4, 2]


def test_files_that_are_gone_are_not_remembered_for_ever(tmp_path, few, monkeypatch):
    monkeypatch.setattr(compared_files, "_FEWEST", 4)
    columns, reader = (FolderColumns(tmp_path / "columns") for _ in range(2))
    for number in range(20):
        frames = {f"{number:02}-{part}": JANUARY for part in "ab"}
        for segment, frame in frames.items():
            columns.append("t", segment, frame)
            assert reader.scan("t", [segment]).collect().equals(JANUARY)
        [made] = compacted(columns, frames)
        columns.remove("t", [made.file])
    assert max(len(columns._compared), len(reader._compared)) <= 8


def test_appending_the_same_rows_again_is_harmless_and_other_rows_conflict(columns):
    columns.append("t", "a", JANUARY)
    columns.append("t", "a", JANUARY)
    with pytest.raises(Conflict, match="other rows"):
        columns.append("t", "a", JANUARY.with_columns(n=pl.Series([1, 3])))
    with pytest.raises(Conflict, match="other columns"):
        columns.append("t", "a", FEBRUARY.select("n"))
    assert columns.scan("t", ["a"]).collect().equals(JANUARY)


def test_times_keep_their_unit_and_zone(columns):
    times = pl.Series([dt.datetime(2013, 1, 1, tzinfo=dt.UTC)], dtype=pl.Datetime("us", "UTC"))
    frame = pl.DataFrame({"at": times, "carrier": pl.Series(["UA"], dtype=pl.Categorical)})
    columns.append("t", "a", frame)
    columns.append("t", "a", frame)
    assert columns.scan("t", ["a"]).collect_schema()["at"] == pl.Datetime("us", "UTC")


def test_an_empty_segment_keeps_its_columns(columns):
    columns.append("t", "a", JANUARY.clear())
    assert columns.scan("t", ["a"]).collect().schema == JANUARY.schema
    with pytest.raises(InvalidInput, match="no columns"):
        columns.append("t", "b", pl.DataFrame())


def test_what_is_not_there_is_not_found(columns):
    assert columns.segments("t") == []
    with pytest.raises(NotFound):
        columns.scan("t", [])
    columns.append("t", "a", JANUARY)
    for read in (columns.scan, lambda *asked: list(columns.batches(*asked))):
        with pytest.raises(NotFound, match="t/b"):
            read("t", ["a", "b"])


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../t", "a/../b", "/a", "a//b", ".a", "a\x00", "a\n", "é", "x" * 129, 7]
)
def test_a_name_that_could_leave_its_folder_is_refused(columns, name):
    with pytest.raises(InvalidInput):
        columns.append(name, "a", JANUARY)
    with pytest.raises(InvalidInput):
        columns.append("t", name, JANUARY)
    with pytest.raises(InvalidInput):
        columns.segments(name)


def test_a_segment_name_has_no_folder(columns):
    with pytest.raises(InvalidInput):
        columns.append("t", "a/b", JANUARY)


def test_a_crash_before_the_rename_leaves_no_segment(tmp_path):
    with pytest.raises(Crash):
        FolderColumns(tmp_path, faults=Faults("columns.before_rename")).append("t", "a", JANUARY)
    columns = FolderColumns(tmp_path)
    assert columns.segments("t") == []
    columns.append("t", "a", JANUARY)
    assert columns.scan("t", ["a"]).collect().equals(JANUARY)


def test_segments_keep_their_names_and_rows_when_they_are_compacted(columns, few, tmp_path):
    columns.append("t", "a", JANUARY)
    columns.append("t", "b", FEBRUARY)
    [made] = compacted(columns, {"b": FEBRUARY, "a": JANUARY})
    assert (made.file, made.segments) == ("~000000001", ("b", "a"))
    assert len(list((tmp_path / "columns" / "t").iterdir())) == 1
    for store in (columns, FolderColumns(tmp_path / "columns")):
        assert sorted(store.segments("t")) == ["a", "b"]
        assert store.scan("t", ["a", "b"]).collect().equals(pl.concat([JANUARY, FEBRUARY]))
        (batch,) = store.batches("t", ["b", "a"], segment_as="from")
        assert batch.equals(pl.concat([FEBRUARY, JANUARY]).with_columns(pl.Series("from", ["b", "a", "a"])))


def test_a_compacted_file_is_read_whole_by_its_name_and_the_digest_of_what_it_lists(columns, few):
    for segment, frame in MONTHS.items():
        columns.append("t", segment, frame)
    [made] = compacted(columns, MONTHS)
    listed = columns.listed("t", made.file)
    assert [(one.segment, one.n_rows) for one in listed] == [("a", 2), ("b", 1)]
    asked = {made.file: segment_files.listing_digest(listed)}
    assert columns.scan("t", asked).collect().equals(pl.concat(MONTHS.values()))
    [rows] = columns.batches("t", asked, segment_as="from", columns=["n"])
    assert rows.rows() == [(1, "a"), (2, "a"), (3, "b")]
    with pytest.raises(Corrupt, match="does not hold the rows that the ledger names"):
        columns.scan("t", {made.file: Digest("0" * 64)})
    with pytest.raises(Corrupt, match="is missing"):
        columns.scan("t", {"~000000009": Digest("0" * 64)})


def test_of_some_columns_those_that_are_there_are_read(columns, few):
    columns.append("t", "a", JANUARY)
    columns.append("t", "b", FEBRUARY.select("n"))
    for _ in range(3):
        read = list(columns.batches("t", ["a", "b"], columns=["s", "n"], segment_as="from"))
        assert [part.columns for part in read] == [["s", "n", "from"], ["n", "from"]]
        assert [part["n"].to_list() for part in read] == [[1, 2], [3]]
        columns.compact("t", digests_of({"a": JANUARY, "b": FEBRUARY.select("n")}))


def test_who_has_just_found_a_segment_can_read_it_through_a_compaction(columns, few):
    columns.append("t", "a", JANUARY)
    columns.append("t", "b", FEBRUARY)
    found = columns.scan("t", ["a", "b"])
    columns.compact("t", digests_of(MONTHS))
    assert found.collect().height == 3


def test_another_process_finds_what_was_compacted_meanwhile(columns, few, tmp_path):
    other = FolderColumns(tmp_path / "columns")
    for segment, frame in (("a", JANUARY), ("b", FEBRUARY)):
        columns.append("t", segment, frame)
        assert other.scan("t", [segment]).collect().equals(frame)
    compacted(columns, MONTHS)
    assert other.scan("t", ["b"]).collect().equals(FEBRUARY)
    assert sorted(other.segments("t")) == ["a", "b"]


def test_segments_of_other_columns_and_of_no_rows_are_compacted_too(columns, few):
    frames = {"a": JANUARY, "b": JANUARY.select("n"), "c": FEBRUARY.select("n"), "d": FEBRUARY.clear()}
    for segment, frame in frames.items():
        columns.append("t", segment, frame)
    compacted(columns, frames)
    for segment, frame in frames.items():
        assert columns.scan("t", [segment]).collect().equals(frame)
    read = list(columns.batches("t", list(frames), segment_as="from"))
    assert [part.height for part in read] == [2, 2, 1, 0]
    assert read[3].schema["from"] == pl.String


def test_large_segments_stay_alone(columns, few, monkeypatch):
    monkeypatch.setattr(segment_files, "SMALL_BYTES", 10)
    monkeypatch.setattr(table_folder, "_SMALL_PARQUET_BYTES", 10)
    columns.append("t", "a", JANUARY)
    columns.append("t", "b", FEBRUARY)
    assert compacted(columns, MONTHS) == []
    assert columns.segments("t") == ["a", "b"]
    assert columns.scan("t", ["a", "b"]).collect().equals(pl.concat([JANUARY, FEBRUARY]))


def test_much_in_few_segments_is_compacted(columns, monkeypatch, tmp_path):
    monkeypatch.setattr(table_folder, "_MUCH_BYTES", 10)
    columns.append("t", "a", JANUARY)
    compacted(columns, {"a": JANUARY})
    assert [path.name for path in (tmp_path / "columns" / "t").iterdir()] == ["~000000001.parquet"]
    assert columns.scan("t", ["a"]).collect().equals(JANUARY)


def test_small_files_of_earlier_versions_are_read_and_compacted(columns, few, tmp_path):
    digests = {segment: rows_digest(frame) for segment, frame in MONTHS.items()}
    folder = tmp_path / "columns" / "t"
    folder.mkdir(parents=True)
    JANUARY.write_parquet(folder / "a.parquet", metadata={"varv.digest": digests["a"]})
    columns.append("t", "b", FEBRUARY)
    assert columns.append("t", "a", JANUARY) == digests["a"]
    assert columns.scan("t", digests).collect().equals(pl.concat(MONTHS.values()))
    compacted(columns, MONTHS)
    assert len(list(folder.iterdir())) == 1
    assert columns.scan("t", digests).collect().equals(pl.concat(MONTHS.values()))


def test_a_crash_that_left_a_segment_in_both_kinds_of_file_is_no_harm(columns, tmp_path):
    columns.append("t", "a", JANUARY)
    JANUARY.write_parquet(tmp_path / "columns" / "t" / "a.parquet")
    assert columns.segments("t") == ["a"]
    assert columns.scan("t", ["a"]).collect().equals(JANUARY)


def test_a_compaction_that_crashed_has_changed_nothing_and_is_done_again(few, tmp_path):
    columns = FolderColumns(tmp_path, faults=Faults("columns.before_rename", nth=3))
    columns.append("t", "a", JANUARY)
    columns.append("t", "b", FEBRUARY)
    with pytest.raises(Crash):
        columns.compact("t", digests_of(MONTHS))
    columns = FolderColumns(tmp_path)
    assert columns.segments("t") == ["a", "b"]
    compacted(columns, MONTHS)
    assert columns.scan("t", ["a", "b"]).collect().height == 3


def test_a_compaction_that_was_not_put_on_record_is_made_again_under_its_name(columns, few, tmp_path):
    for segment, frame in MONTHS.items():
        columns.append("t", segment, frame)
    first = columns.compact("t", digests_of(MONTHS))
    assert compacted(FolderColumns(tmp_path / "columns"), MONTHS) == first
    columns.append("t", "c", JANUARY)
    columns.append("t", "d", JANUARY)
    [second] = columns.compact("t", digests_of({"c": JANUARY, "d": JANUARY}), [first[0].file])
    assert second.file == "~000000002"


def test_what_an_earlier_version_compacted_is_put_on_record_as_it_is(columns, few, tmp_path):
    for segment, frame in MONTHS.items():
        columns.append("t", segment, frame)
    made = compacted(columns, MONTHS)
    assert FolderColumns(tmp_path / "columns").compact("t", digests_of(MONTHS)) == made


def test_a_compacted_file_that_lists_nothing_is_told(columns, tmp_path):
    columns.append("t", "a", JANUARY)
    JANUARY.write_parquet(tmp_path / "columns" / "t" / "~000000001.parquet")
    with pytest.raises(Corrupt, match="does not list its segments"):
        FolderColumns(tmp_path / "columns").segments("t")


def test_a_segment_is_read_only_if_it_has_the_digest_that_is_asked_for(columns):
    digest = columns.append("t", "a", JANUARY)
    other = columns.append("t", "b", FEBRUARY)
    assert columns.scan("t", {"a": digest, "b": other}).collect().height == 3
    assert columns.scan("t", {"a": digest, "b": Digest("")}).collect().height == 3
    for read in (columns.scan, lambda *asked: list(columns.batches(*asked))):
        with pytest.raises(Corrupt, match=r"columns/t/a\.arrows"):
            read("t", {"a": other})
        with pytest.raises(Corrupt, match="is missing"):
            read("t", {"c": digest})


@pytest.mark.parametrize("in_one_file", [False, True])
@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:99], lambda data: b"", lambda data: data + bytes(9), lambda data: bytes(len(data))],
)
def test_a_damaged_file_is_corrupt_and_named(columns, few, tmp_path, damage, in_one_file):
    digests = {segment: columns.append("t", segment, frame) for segment, frame in MONTHS.items()}
    if in_one_file:
        compacted(columns, MONTHS)
    for store in (columns, FolderColumns(tmp_path / "columns")):
        (path, *_) = (tmp_path / "columns" / "t").iterdir()
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(Corrupt, match=path.name):
            store.scan("t", digests).collect()


def test_a_file_that_was_changed_after_it_was_compared_is_compared_again(columns, tmp_path):
    digest = columns.append("t", "a", JANUARY)
    columns.scan("t", {"a": digest}).collect()
    changed = JANUARY.with_columns(n=pl.Series([1, 3]))
    encoded = segment_files.encoded_stream(changed, rows_digest(changed))
    (tmp_path / "columns" / "t" / "a.arrows").write_bytes(encoded)
    with pytest.raises(Corrupt, match="does not hold the rows that the ledger names"):
        columns.scan("t", {"a": digest})


def test_files_of_a_version_without_digests_are_read(few, tmp_path):
    folder = tmp_path / "columns" / "t"
    folder.mkdir(parents=True)
    JANUARY.write_parquet(folder / "a.parquet")
    both = pl.concat([FEBRUARY, JANUARY])
    both.write_parquet(folder / "~000000001.parquet", metadata={"varv.segments": '[["b",1],["c",2]]'})
    columns = FolderColumns(tmp_path / "columns")
    asked = {"a": Digest(""), "b": Digest(""), "c": Digest("")}
    assert columns.scan("t", asked).collect().equals(pl.concat([JANUARY, both]))


def test_a_segment_is_not_given_up_for_a_compacted_copy_that_is_damaged(columns, few, tmp_path):
    digests = {segment: columns.append("t", segment, frame) for segment, frame in MONTHS.items()}
    [made] = columns.compact("t", digests)
    path = tmp_path / "columns" / "t" / "~000000001.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(Corrupt, match="~000000001"):
        columns.compact("t", {}, [made.file])
    assert (tmp_path / "columns" / "t" / "a.arrows").exists()


class Compaction(RuleBasedStateMachine):
    """Whatever is appended, compacted and reopened, what is read is what a plain dictionary holds."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.held: dict[str, pl.DataFrame] = {}
        self.alone: dict[str, Digest] = {}
        self.files: list[str] = []
        self.columns = self.reader = FolderColumns(Path(self.folder.name), durable=False)

    @rule(n_rows=st.integers(0, 3))
    def append(self, n_rows: int) -> None:
        number = len(self.held)
        # Names that do not sort as they come.
        segment = f"{7 * number % 10}-{number}"
        self.held[segment] = pl.DataFrame({"n": range(number, number + n_rows)}, schema={"n": pl.Int64})
        self.alone[segment] = self.columns.append("t", segment, self.held[segment])

    @rule()
    def compact(self) -> None:
        for made in self.columns.compact("t", self.alone, self.files):
            self.files.append(made.file)
            for segment in made.segments:
                del self.alone[segment]

    @rule()
    def compact_without_a_record(self) -> None:
        self.columns.compact("t", self.alone, self.files)

    @rule()
    def reopen(self) -> None:
        self.columns = FolderColumns(Path(self.folder.name), durable=False)

    @rule(data=st.data())
    def read_some(self, data: st.DataObject) -> None:
        if self.held:
            asked = data.draw(st.lists(st.sampled_from(list(self.held)), min_size=1, max_size=8))
            expected = pl.concat([self.held[segment] for segment in asked])
            for columns in (self.columns, self.reader):
                assert columns.scan("t", asked).collect().equals(expected)

    @invariant()
    def every_segment_is_there(self) -> None:
        assert sorted(self.columns.segments("t")) == sorted(self.held)
        read = list(self.columns.batches("t", list(self.held), segment_as="from"))
        rows = pl.concat(read).rows() if read else []
        assert rows == [(n, segment) for segment, frame in self.held.items() for n in frame["n"]]
        files = [segment for file in self.files for segment in self.columns.listed("t", file)]
        assert sorted([*self.alone, *(one.segment for one in files)]) == sorted(self.held)

    def teardown(self) -> None:
        self.folder.cleanup()


@pytest.mark.slow
def test_compaction_never_changes_what_is_read(few):
    checked = settings(max_examples=60, stateful_step_count=25, deadline=None)
    run_state_machine_as_test(Compaction, settings=checked)
