"""What a fit is given survives its way to another process, to the last bit."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from tests.training.samples import RUNTIMES

from varv.kernel.columns import TIME
from varv.kernel.errors import Corrupt
from varv.kernel.ids import Version
from varv.tasks import task_of
from varv.training import FitInput, Train
from varv.training.fit import fit_package


def given(rows: pl.DataFrame | None = None, *, previous: bytes | None = None) -> FitInput:
    frame = pl.DataFrame(
        {
            "load": pl.Series([0.1, None, float("nan")], dtype=pl.Float32),
            "route": ["north", None, "süd"],
            "n": pl.Series([2**60, 1, 2], dtype=pl.Int64),
            "outcome": pl.Series([0, 1, 0], dtype=pl.Int8),
            "requested_at": pl.Series([1, 2, 3]).cast(TIME),
        }
    )
    names = ("load", "route", "n")
    return FitInput(
        rows=frame if rows is None else rows,
        probe=frame.head(2).select(names),
        names=names,
        params={"C": 0.1, "layers": [3, 2], "max_iter": 20},
        seed=7,
        previous=previous,
        parent=None if previous is None else Version(3),
    )


def written(one: FitInput, before: bytes = b"") -> io.BytesIO:
    stream = io.BytesIO()
    stream.write(before)
    one.write(stream)
    return stream


@pytest.mark.parametrize("previous", [None, b"", b"\x00package" * 100])
@pytest.mark.parametrize("before", [b"", b"what comes before"])
def test_what_is_written_is_read_back(previous, before):
    one = given(previous=previous)
    back = FitInput.read(written(one, before))
    assert back.rows.equals(one.rows, null_equal=True)
    assert back.rows.schema == one.rows.schema
    assert back.probe.equals(one.probe)
    assert (back.names, back.params, back.seed) == (one.names, one.params, one.seed)
    assert list(back.params) == list(one.params)
    assert (back.previous, back.parent) == (previous, one.parent)


def test_no_rows_are_rows_too():
    one = given(given().rows.clear())
    assert FitInput.read(written(one)).rows.schema == one.rows.schema


def test_many_rows_in_many_chunks_are_read_back():
    parts = [
        pl.DataFrame({"x": np.arange(n, n + 50_000, dtype=np.float32)}) for n in range(0, 200_000, 50_000)
    ]
    rows = pl.concat(parts, rechunk=False)
    back = FitInput.read(written(given(rows)))
    assert back.rows.equals(rows)


@pytest.mark.parametrize("cut", [0, 1, 7, 100])
def test_half_an_input_is_refused(cut):
    whole = written(given()).getvalue()
    with pytest.raises(Corrupt, match="cannot be read"):
        FitInput.read(io.BytesIO(whole[:cut]))
    with pytest.raises(Corrupt, match="cannot be read"):
        FitInput.read(io.BytesIO(whole[: len(whole) - 1 - cut]))


def test_rows_without_an_outcome_are_passed_over():
    n = 400
    rng = np.random.default_rng(5)
    rows = pl.DataFrame(
        {
            "load": rng.normal(size=n).astype(np.float32),
            "route": ["north", "south"] * (n // 2),
            "outcome": pl.Series(rng.integers(0, 2, n), dtype=pl.Int8),
            "requested_at": pl.Series(range(n)).cast(TIME),
        }
    )
    # A route of their own, too: what is passed over is no category either.
    lost = rows[::7].with_columns(outcome=pl.lit(None, pl.Int8), route=pl.lit("west"))
    every = pl.concat([rows, lost], rechunk=False).sort("requested_at")
    names, task, seen = ("load", "route"), task_of("binary"), []

    def fit(train, params):
        seen.append((train.X, train.frame, train.y, train.requested_at, len(train)))
        return LogisticRegression().fit(np.nan_to_num(train.X), train.y)

    packages = []
    for part in (every, every.drop_nulls("outcome")):
        asked = FitInput(rows=part, probe=rows.select(names), names=names, params={}, seed=1)
        packages.append(fit_package(Train(fit), task, asked, RUNTIMES))
        assert asked.n_taken(task) == n
    assert packages[0] == packages[1]
    for one, other in zip(*seen, strict=True):
        assert one.equals(other) if isinstance(one, pl.DataFrame) else np.array_equal(one, other)
