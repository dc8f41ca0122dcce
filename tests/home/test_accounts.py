"""Accounts of a replay: every row of a source is counted once, and lost rows are told first."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import polars as pl
import pytest
from tests.loop.synthetic import FIRST, TRAIN_AT, declared, head_of, parcels, replayed

from varv.app.cli.comparison_blocks import row_blocks
from varv.app.cli.rendering import text
from varv.home.accounts import PartRows
from varv.home.comparison import COMPARISON_FILE
from varv.kernel.clock import instant
from varv.kernel.errors import InvalidDeclaration

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
UNTIL = "2024-04-10T00:00:00Z"


def dirty() -> pl.DataFrame:
    """Return parcels of which some repeat a key, have impossible loads, or come without a time."""
    past = parcels()
    row = pl.int_range(pl.len())
    spoiled = past.with_columns(
        load=pl.when(row % 40 == 7).then(1e9).otherwise("load"),
        asked_at=pl.when(row % 1000 != 11).then("asked_at"),
        late=pl.when(row % 500 == 13).then(None).otherwise("late"),
    )
    other = past.gather_every(100).with_columns(pl.col("asked_at", "arrived_at").dt.offset_by("3h"))
    return pl.concat([spoiled, past.gather_every(50), other.with_columns(pl.col("heat") + 1)])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dirty") / "home"
    found = replayed(declared(dirty(), until=UNTIL, on=()), folder)
    return folder, found


def adds_up(rows: PartRows) -> bool:
    left_out = rows.n_equal + rows.n_different + rows.n_waiting + rows.n_early
    return rows.n_source == rows.n_outside + rows.n_used + left_out + rows.n_quarantined + rows.n_discarded


def test_every_row_of_a_source_is_counted_once(home):
    _, found = home
    base, later = found.rows
    assert [adds_up(rows) for rows in found.rows] == [True, True]
    asked = dirty()["asked_at"].to_physical()
    since, until = instant(FIRST), instant(UNTIL)
    assert base.n_arrived == int(((asked >= since) & (asked < until)).sum()) + asked.null_count()
    assert base.reasons["null of asked_at"] == asked.null_count()
    assert base.n_different > 20
    assert base.n_equal > 60
    assert later.n_waiting > 0


def test_rows_that_came_before_the_contract_are_told_apart(home):
    _, found = home
    base, _ = found.rows
    asked, load = dirty()["asked_at"].to_physical(), dirty()["load"]
    wild = load > 1e6
    before = wild & (asked >= instant(FIRST)) & (asked < instant(TRAIN_AT))
    after = wild & (asked >= instant(TRAIN_AT)) & (asked < instant(UNTIL))
    assert base.n_before_contract == int(before.sum()) > 10
    assert base.reasons["impossible value of load"] == int(after.sum()) > 10


def test_lost_rows_are_told_first_in_the_result_and_in_the_report(home):
    folder, found = home
    assert [warning.split(" were")[0].split("of ")[-1] for warning in found.warnings] == [
        "parcels/asked_at",
        "parcels/arrived_at",
    ]
    document = json.loads((folder / COMPARISON_FILE).read_text())
    assert document["warnings"] == list(found.warnings)
    report = (folder / "report.html").read_text()
    assert report.index(found.warnings[0]) < report.index('id="verdict"')
    shown = text(row_blocks(found.rows))
    assert "impossible value of load" in shown


def test_the_same_dirt_gives_the_same_ledger_in_another_home(home, tmp_path):
    folder, found = home
    again = replayed(declared(dirty(), until=UNTIL, on=()), tmp_path / "again")
    assert head_of(tmp_path / "again") == head_of(folder)
    assert again.rows == found.rows
    other = dirty().with_columns(heat=pl.col("heat") + 1)
    replayed(declared(other, until="2024-03-25T00:00:00Z", on=()), tmp_path / "other")
    keys = [(path / "digest.key").read_text() for path in (folder, tmp_path / "again", tmp_path / "other")]
    assert keys[0] == keys[1] != keys[2]


def test_a_third_class_is_refused_and_a_stray_value_is_not():
    classes = parcels().with_columns(
        late=pl.when(pl.int_range(pl.len()) % 20 == 0).then(2).otherwise(pl.col("late").cast(pl.Int64))
    )
    replay = declared(classes)
    with pytest.raises(
        InvalidDeclaration, match=r"'late' holds .*, 2 \(5\.\d+%\), where a binary"
    ) as refused:
        replayed(replay, Path("/nonexistent"))
    assert "0 or 1" in refused.value.hint
    stray = parcels().with_columns(
        late=pl.when(pl.int_range(pl.len()) == 3000).then(7.0).otherwise(pl.col("late").cast(pl.Float64))
    )
    declared(stray).models[0].require_history(stray["late"])


def test_a_stray_outcome_is_put_aside_with_its_row(tmp_path):
    row = pl.int_range(pl.len())
    past = parcels().with_columns(
        late=pl.when(row == 3000).then(7.0).when(row == 3001).then(0.5).otherwise(pl.col("late").cast(float))
    )
    found = replayed(declared(past, until=UNTIL, on=()), tmp_path)
    assert found.rows[1].reasons == {"value of late": 2}
    assert found.n_without_outcome > 0


@pytest.mark.slow
def test_the_flights_made_dirty_are_used_but_for_the_dirt(tmp_path):
    spec = importlib.util.spec_from_file_location("bench_dirty_year", BENCHMARKS / "bench_dirty_year.py")
    assert spec is not None
    assert spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    found, shares, accounts, _ = bench.measured("2013-02-20", tmp_path)
    assert min(shares.values()) >= bench.LEAST_CLEAN
    assert all(map(adds_up, found.rows))
    assert [(kind, n) for kind, n, n_put in accounts if n != n_put] == []
