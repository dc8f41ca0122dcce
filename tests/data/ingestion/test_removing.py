"""Rows that a source says were deleted, or has no more after a refresh, go, wherever a pull ends."""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.ingestion.sources import Pulls

from varv.data import Landing
from varv.kernel.clock import HOUR, Instant, SystemClock
from varv.kernel.faults import Crash, Faults

AT = 1_714_521_600_000


class Stream:
    """The folder that Airbyte writes one stream to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "trips"
        self.folder.mkdir()
        self.n = 0

    def write(self, *records: dict, generation: int = 1) -> Path:
        self.n += 1
        said = {"_airbyte_raw_id": "r", "_airbyte_extracted_at": AT, "_airbyte_generation_id": generation}
        place = self.folder / f"2024_05_01_{AT + self.n}_0.jsonl"
        place.write_text("".join(json.dumps({**said, "_airbyte_data": one}) + "\n" for one in records))
        return place

    def pulls(self, folder: Path, **more) -> Pulls:
        pulls = Pulls(folder, Landing(str(self.folder), of="airbyte"), **more)
        pulls.clock.move_to(Instant(SystemClock().now() + HOUR))
        return pulls


def row(key: str, size: int, done: bool | None = None) -> dict:
    told = {"done_at": None if done is None else "2013-01-09T00:00:00Z", "late": done}
    return {"id": key, "at": "2013-01-01T00:00:00Z", "size": size, "_ab_cdc_deleted_at": None, **told}


def deleted(key: str) -> dict:
    return {"id": key, "_ab_cdc_deleted_at": "2013-02-01T00:00:00Z"}


def test_a_refresh_removes_what_it_does_not_hold_once_older_files_are_gone(tmp_path):
    stream = Stream(tmp_path)
    first = stream.write(row("a", 1), row("b", 2, done=True))
    pulls = stream.pulls(tmp_path, updates="merge")
    pulls.pull()
    stream.write(row("a", 10), generation=2)
    assert pulls.pull().n_removed == 0
    assert pulls.rows() == {"a": (10, None), "b": (2, True)}
    first.unlink()
    assert pulls.pull().n_removed == 2
    assert pulls.rows() == {"a": (10, None)}
    assert pulls.datasets.read(pulls.dataset, version=2).height == 2
    version = pulls.datasets.version(pulls.dataset)
    assert pulls.pull().version == version
    stream.write(row("c", 3), generation=2)
    assert pulls.pull().n_removed == 0
    assert pulls.rows().keys() == {"a", "c"}


def test_records_that_say_when_they_were_deleted_remove_rows(tmp_path):
    stream = Stream(tmp_path)
    stream.write(row("a", 1), row("b", 2, done=True), row("c", 3), deleted("c"))
    pulls = stream.pulls(tmp_path, updates="merge", deletes="1d")
    assert pulls.pull().n_removed == 0
    assert pulls.rows() == {"a": (1, None), "b": (2, True)}
    stream.write(deleted("b"), row("d", 4))
    assert pulls.pull().n_removed == 2
    assert pulls.rows() == {"a": (1, None), "d": (4, None)}
    stream.write(deleted("d"), row("d", 40), deleted("nobody"))
    assert pulls.pull().n_removed == 1
    assert pulls.rows() == {"a": (1, None), "d": (40, None)}
    pulls.clock.move_to(Instant(pulls.clock.now() + 48 * HOUR))
    assert pulls.pull().n_removed == 0


def test_a_key_that_lies_in_no_file_any_more_goes_when_keys_are_compared(tmp_path):
    folder = tmp_path / "landed"
    folder.mkdir()
    rows = pl.DataFrame([row("a", 1)]).drop("_ab_cdc_deleted_at")
    for key in ("a", "b"):
        rows.with_columns(pl.lit(key).alias("id")).write_csv(folder / f"{key}.csv")
    pulls = Pulls(tmp_path, Landing(str(folder)), deletes="1d")
    pulls.clock.move_to(Instant(SystemClock().now() + HOUR))
    pulls.pull()
    (folder / "a.csv").unlink()
    pulls.clock.move_to(Instant(pulls.clock.now() + 48 * HOUR))
    assert pulls.pull().n_removed == 1
    assert pulls.rows().keys() == {"b"}


RECORDS = st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.integers(1, 9)))
POINTS = st.sampled_from(
    ["pull.after_step", "pull.after_remove", "pull.after_merge", "columns.before_rename"]
)


@pytest.mark.slow
@given(st.lists(st.tuples(st.lists(RECORDS, min_size=1, max_size=5), POINTS, st.integers(1, 2)), max_size=5))
@settings(max_examples=25, deadline=None)
def test_a_log_of_changes_gives_what_it_says_wherever_pulls_are_killed(batches):
    folder = Path(tempfile.mkdtemp())
    stream, state = Stream(folder), dict[str, int]()
    stream.write(row("z", 0))
    pulls = stream.pulls(folder, updates="merge")
    pulls.pull()
    for records, point, nth in batches:
        stream.write(*(deleted(key) if size is None else row(key, size) for key, size in records))
        for key, size in records:
            state.pop(key, None) if size is None else state.update({key: size})
        pulls.faults = Faults(point, nth=nth)
        pulls.reopen()
        with suppress(Crash):
            pulls.pull()
        pulls.faults = None
        pulls.reopen()
        pulls.pull()
        assert {key: size for key, (size, _) in pulls.rows().items()} == {"z": 0, **state}
    shutil.rmtree(folder)
