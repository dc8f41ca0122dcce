"""A version is warmed by what its model was asked lately, in the calls in which it was asked."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest
from tests.serving.samples import SIGNATURE, Constants, package

from varv.kernel.blobs import FolderBlobs
from varv.kernel.clock import Instant
from varv.kernel.columns import TIME
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ids import ModelName, Version
from varv.registry import Package, Rows, packed
from varv.registry.endpoint import FILE
from varv.serving import DataPlanes, recorded
from varv.serving.recorded import Recorded, rehearse

MODEL = ModelName("late")
TABLE = f"predictions/{MODEL}"


def segment(*calls: tuple[int, int], first: float = 0.0) -> pl.DataFrame:
    """Return predictions that were answered in calls, each of an instant and a number of rows."""
    at = [instant for instant, n_rows in calls for _ in range(n_rows)]
    x = [first + number for number in range(len(at))]
    return pl.DataFrame({"requested_at": pl.Series(at, dtype=pl.Int64).cast(TIME), "x": x})


@pytest.fixture
def columns(tmp_path):
    return FolderColumns(tmp_path, durable=False)


class Noting:
    """A model that notes what it is fed, and cannot answer a value of 13."""

    def __init__(self) -> None:
        self.fed: list[list[float]] = []

    def predict(self, rows: Rows) -> np.ndarray:
        """Return zeros."""
        assert isinstance(rows, np.ndarray)
        if (rows == 13).any():
            raise RuntimeError("thirteen")
        self.fed.append(rows[:, 0].tolist())
        return np.full((len(rows), 1), 0.25, np.float32)


def test_the_newest_call_of_each_size_comes_by_how_often_it_came(columns):
    columns.append(TABLE, "1", segment((1, 3), (2, 1), (3, 1)))
    columns.append(TABLE, "2", segment((4, 2), (5, 1), (6, 3), first=100.0))
    found = Recorded(columns).calls(MODEL)
    assert [call["x"].to_list() for call in found] == [[102.0], [103.0, 104.0, 105.0], [100.0, 101.0]]


def test_no_more_is_looked_at_than_is_allowed(columns, monkeypatch):
    monkeypatch.setattr(recorded, "MOST_ROWS", 4)
    columns.append(TABLE, "1", segment((1, 3), (2, 2), (3, 1), (4, 1)))
    assert [call.height for call in Recorded(columns).calls(MODEL)] == [1, 2]
    monkeypatch.setattr(recorded, "MOST_CALLS", 1)
    assert [call.height for call in Recorded(columns).calls(MODEL)] == [1]


def test_calls_are_found_after_their_segments_were_stored_together(columns, tmp_path):
    frames = {f"{number:04}": segment((number, 2)) for number in range(520)}
    digests = {name: columns.append(TABLE, name, frame) for name, frame in frames.items()}
    [made] = columns.compact(TABLE, digests)
    columns.compact(
        TABLE, {name: digests[name] for name in digests if name not in made.segments}, [made.file]
    )
    assert [call.height for call in Recorded(FolderColumns(tmp_path)).calls(MODEL)] == [2]


def test_a_model_that_was_asked_nothing_has_no_calls(columns):
    assert Recorded(columns).calls(MODEL) == []


def test_a_file_that_cannot_be_read_leaves_no_calls(columns, tmp_path):
    columns.append(TABLE, "1", segment((1, 3)))
    [path] = tmp_path.rglob("1.*")
    path.write_bytes(b"nothing")
    assert Recorded(FolderColumns(tmp_path)).calls(MODEL) == []


def test_it_ends_with_the_first_call_that_cannot_be_answered(columns):
    model = Noting()
    calls = [pl.DataFrame({"x": [value]}) for value in (1.0, 13.0, 2.0)]
    assert rehearse(model, SIGNATURE, calls) == 1
    assert rehearse(model, SIGNATURE, [pl.DataFrame({"y": [1.0]}), *calls]) == 0
    assert model.fed == [[1.0]]


def test_it_ends_when_its_time_is_over(monkeypatch):
    model = Noting()
    monkeypatch.setattr(recorded, "WITHIN_S", 0.0)
    assert rehearse(model, SIGNATURE, [pl.DataFrame({"x": [1.0]})]) == 0
    assert model.fed == []


class Notes(Constants):
    """A runtime of models that note what they are fed."""

    def __init__(self) -> None:
        self.made: list[Noting] = []

    def load(self, package) -> Noting:
        self.made.append(Noting())
        return self.made[-1]


@pytest.fixture
def warm(columns, tmp_path):
    """Warm a version of a package, and return its data plane and what its model was fed."""
    runtimes, blobs = Notes(), FolderBlobs(tmp_path / "blobs")
    planes = DataPlanes(runtimes, blobs, recorded=Recorded(columns))  # type: ignore[bad-argument-type]

    def warmed(what: Package):
        planes.warm(MODEL, Version(1), blobs.put(packed(what)))
        return planes.plane(MODEL), runtimes.made[0].fed

    return warmed


def test_a_version_answers_recorded_calls_once_and_then_no_more(columns, warm):
    columns.append(TABLE, "1", segment((Instant(1), 2)))
    warm(package(0.25))
    _, fed = warm(package(0.25))
    assert fed[1:] == [[0.0, 1.0]], "after its probe rows"


def test_a_version_that_cannot_answer_recorded_calls_is_warm(columns, warm):
    columns.append(TABLE, "1", segment((1, 1), first=13.0))
    plane, fed = warm(package(0.25))
    assert plane.warm_versions == {1}
    assert len(fed) == 1


def test_a_model_that_answers_elsewhere_is_not_asked_recorded_calls(columns, warm):
    columns.append(TABLE, "1", segment((1, 1)))
    of_constant = package(0.25)
    _, fed = warm(msgspec.structs.replace(of_constant, files={**of_constant.files, FILE: b"{}"}))
    assert len(fed) == 1
