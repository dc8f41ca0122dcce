from __future__ import annotations

import sqlite3

import pytest

from varv.app.verifying import verify_report
from varv.kernel.codec import digest
from varv.runs.artifacts import keep
from varv.runs.points import chunk, unchunk


@pytest.fixture
def sealed(home):
    run = home.begin(name="kept")
    home.log(run, *[("loss", 1 / (n + 1), n, n) for n in range(40)], params={"sql": "select " * 100})
    home.log(run, ("auc", 0.5, 1), ("auc", 0.6, 2))
    data = b"weights"
    name, size = home.tracking.blobs.put(data), len(data)
    home.do(keep(f"runs/{run}", "model.bin", name, size))
    home.do(home.tracking.update_run(run, status="FINISHED", ended_ms=5))
    home.tracking.seal_due()
    home.log(run, ("loss", 0.1, 99, 99))
    home.close()
    yield home, run
    home.open()


def tampered(home, *statements):
    with sqlite3.connect(home.folder / "tracking.db") as db:
        for statement, values in statements:
            db.execute(statement, values)
    db.close()


def found(home, **how):
    return [f"{finding.place} {finding.problem}" for finding in verify_report(home.folder, **how).findings]


def test_what_nobody_touched_is_sound(sealed):
    home, _ = sealed
    assert found(home) == []
    assert found(home, points=True) == []


def test_a_point_that_was_changed_shows(sealed):
    home, run = sealed
    with sqlite3.connect(home.folder / "tracking.db") as db:
        no, data = db.execute("SELECT no, data FROM chunk WHERE key != 0").fetchone()
    db.close()
    points = unchunk(data)
    points["value"][3] += 1e-9
    tampered(home, ("UPDATE chunk SET data = ? WHERE no = ?", (chunk(points), no)))
    assert found(home, points=True) == [f"metrics of run {run} are not those of seal 1"]
    assert found(home) == [f"metrics of run {run} are not those of seal 1"]
    assert found(home, quick=True) == []


def test_points_that_are_gone_show(sealed):
    home, run = sealed
    tampered(home, ("DELETE FROM chunk WHERE key = 0", ()))
    assert found(home, points=True) == [f"metrics of run {run} has other points in seal 1"]


def test_a_run_that_is_gone_shows(sealed):
    home, run = sealed
    tampered(home, ("DELETE FROM run WHERE id = ?", (run,)))
    assert found(home, points=True) == [f"run {run} is missing"]


def test_an_artifact_that_was_exchanged_shows(sealed):
    home, run = sealed
    tampered(home, ("UPDATE artifact SET digest = ?", (digest(b"others"),)))
    problems = found(home)
    assert f"artifacts of runs/{run} are not those of the last seal" in problems
    assert any("blobs/" in problem for problem in problems)


def test_a_text_that_was_changed_shows(sealed):
    home, _ = sealed
    name = digest(("select " * 100).encode())
    (home.folder / "blobs" / name[:2] / name[2:]).write_text("select 1")
    assert any(name[2:] in problem for problem in found(home))


def test_a_file_that_is_gone_shows(sealed):
    home, _ = sealed
    moved = (home.folder / "tracking.db").rename(home.folder / "elsewhere.db")
    assert "tracking.db is missing" in found(home, points=True)
    moved.rename(home.folder / "tracking.db")
