"""Pandera and Great Expectations load what varv writes, and find the same rows of mutated frames."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import polars as pl
import pytest
import yaml
from tests.data.contracts.rows import TYPES, at, batch, look

from varv import expect
from varv.data.moving.pandera_reading import read_pandera
from varv.data.moving.pandera_writing import write_pandera
from varv.data.moving.suite_reading import read_suite
from varv.data.moving.suite_writing import write_suite
from varv.data.moving.translation import Shape

CHECKS = Path(__file__).parent / "clients" / "contract_checks.py"
SHAPE = Shape(name="d", part="at", types={name: TYPES[name] for name in ("x", "y", "n", "town", "code")})
ROWS = 30
N_FRAMES = 300

TOWNS = ("Oslo", "Rome", "Bonn")
OF_ROWS = [
    expect.between("x", 0, 1),
    expect.between("y", 0, closed="none"),
    expect.between("n", high=100),
    expect.one_of("town", ["Oslo", "Rome", "Bonn"]),
    expect.none_of("n", [13, 66]),
    expect.present("code"),
    expect.matches("code", "^[A-Z][0-9]+$"),
    expect.length("code", 1, 4),
    expect.unique("code"),
]
MORE = [
    expect.not_matches("town", "^[a-z]"),
    expect.compare("x", "<=", "y", skip="all"),
    expect.compare("x", "==", "y", when=pl.col("town") == "Rome", name="equal in Rome"),
    # Great Expectations raises where this one has a condition.
    expect.pair_in("town", "code", [(town, f"A{i}") for town in TOWNS for i in range(40)], skip="all"),
    expect.unique(["x", "town"], skip="all"),
    expect.differing(["x", "y"], skip="all"),
    expect.total(["x", "y"], 1.5, when=pl.col("n") > 50, skip="all"),
    expect.monotone("n"),
    expect.z_score("x", 4),
]
OF_FRAMES = [
    expect.statistic("x", "mean", 0.2, 0.6),
    expect.statistic("y", "stdev", high=0.5),
    expect.statistic("x", "quantile", 0, 0.5, q=0.5),
    expect.statistic("code", "unique_share", 1),
    expect.statistic("x", "present_share", 0.9),
    expect.contains("town", ["Oslo", "Rome"]),
    expect.most_common("town", ["Oslo"]),
    expect.rows("at", 28),
    expect.between("x", 0, 1, share=0.1, name="most of x"),
]
ODD = {
    "x": [None, -0.5, 1.0, 0.0, 7.0, 0.25],
    "y": [None, 0.0, -1.0, 0.25, 3.0],
    "n": [None, 13, 66, 101, 100, 0],
    "town": [None, "oslo", "Paris", "Bonn", "Rome", ""],
    "code": [None, "A1", "a1", "A12345", "", "Ä1", "B1", "AA"],
}


def sound(drawn):
    return {
        "x": [0.25 + drawn.randrange(5) / 10 for _ in range(ROWS)],
        "y": [1.25] * ROWS,
        "n": list(range(1, ROWS + 1)),
        "town": ["Oslo"] * (ROWS - 4) + ["Rome", "Bonn", "Rome", "Bonn"],
        "code": [f"A{i}" for i in range(ROWS)],
    }


def mutated(seed):
    """Return columns of which up to four values are odd, or of which the last rows are gone."""
    drawn = random.Random(seed)
    columns = sound(drawn)
    for _ in range(drawn.randrange(5)):
        name = drawn.choice(list(ODD))
        columns[name][drawn.randrange(ROWS)] = drawn.choice(ODD[name])
    left = ROWS - drawn.choice([0, 0, 0, 0, 5])
    return {name: values[:left] for name, values in columns.items()}


def ours(columns, rules):
    n = len(columns["x"])
    frame = batch(**columns, id=list(range(n)), at=[at(i) for i in range(n)])
    found = set()
    for rule in rules:
        said = look(frame, rule)
        if not said.report.violations:
            continue
        rows = {row for row, why in enumerate(said.reasons) if why not in (None, "batch")}
        found |= rows or {-1}
    return sorted(found)


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    path = tmp_path_factory.mktemp("frames") / "frames.json"
    path.write_text(json.dumps([mutated(seed) for seed in range(N_FRAMES)]))
    return path


def theirs(python, peer, document, frames):
    command = [python, str(CHECKS), peer, str(document), str(frames)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads(ended.stdout.splitlines()[-1])


def assert_same(found, rules):
    differing = []
    for seed, rows in enumerate(found):
        columns = mutated(seed)
        if rows != (expected := ours(columns, rules)):
            differing.append((seed, rows, expected))
    assert not differing, differing[:5]
    assert sum(map(bool, found)) > N_FRAMES / 4


def test_pandera_finds_the_rows_that_we_find(program, tmp_path, frames):
    written = write_pandera(OF_ROWS, SHAPE)
    assert written.left_out == ()
    path = tmp_path / "schema.yaml"
    path.write_text(yaml.safe_dump(written.document, sort_keys=False))
    assert_same(theirs(program("pandera"), "pandera", path, frames), OF_ROWS)


@pytest.mark.parametrize("rules", [OF_ROWS, MORE, OF_FRAMES], ids=["rows", "more", "frames"])
def test_great_expectations_finds_the_rows_that_we_find(program, tmp_path, frames, rules):
    written = write_suite(rules, SHAPE)
    assert written.left_out == ()
    path = tmp_path / "suite.json"
    path.write_text(json.dumps(written.document))
    assert_same(theirs(program("gx"), "gx", path, frames), rules)


def test_what_was_written_is_read_again_as_the_same_rules():
    again = read_pandera(write_pandera(OF_ROWS, SHAPE).document, SHAPE)
    suite = read_suite(
        write_suite([*MORE, *OF_FRAMES], SHAPE).document, Shape(name="d", part="at", types=TYPES)
    )
    assert (again.left_out, suite.left_out) == ((), ())
    assert {one.kind for one in suite.expectations} == {one.kind for one in (*MORE, *OF_FRAMES)}
