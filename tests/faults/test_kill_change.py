"""A change that is killed with its server, wherever it is, comes to the same end after the next start."""

from __future__ import annotations

import json
import threading

import pytest
from tests.app.changed_project import CHANGED, NEW, PARCEL, changes_of, done, edited
from tests.app.serving import Server, eventually, varv

from varv.app.compose import open_ledger, open_views
from varv.kernel.catalogue import digests
from varv.kernel.columns import SEGMENT, stretches
from varv.kernel.folder_columns import FolderColumns
from varv.serving.stored import predictions_of
from varv.serving.views import RoutingView

POINTS = ["ledger.before_commit:2", "engine.after_handler:1", "columns.before_rename:1"]
MORE = ["ledger.after_commit:1", "ledger.after_commit:3", "engine.after_claim:1"]


@pytest.fixture
def project(served_project, tmp_path):
    return served_project(tmp_path)


def lacking(home):
    """Return how many stored requests lack a new feature, and how many there are."""
    ledger = open_ledger(home, read_only=True)
    try:
        with open_views(ledger).reading(RoutingView) as view:
            segments = digests(view.catalogue("late-parcel").extents())
            later = dict(view.backfilled["late-parcel"])
    finally:
        ledger.close()
    columns = FolderColumns(home / "columns")
    n_lacking = n_rows = 0
    table = predictions_of("late-parcel", columns)
    for batch in columns.batches(table, segments, segment_as=SEGMENT):
        for segment, rows in stretches(batch):
            there = {*rows.columns, *(name for one in later.get(segment, ()) for name in one.columns)}
            n_lacking += 0 if there >= set(NEW) else rows.height
            n_rows += rows.height
    return n_lacking, n_rows


@pytest.mark.slow
@pytest.mark.parametrize("point", [*POINTS, *(pytest.param(one, marks=pytest.mark.soak) for one in MORE)])
def test_a_server_that_is_killed_while_it_applies_a_change_goes_on_with_it(project, point):
    home = project.parent / "home"
    server = Server(home, project, training_nice=0)
    for number in range(20):
        assert server.predict(f"b-{number}", **PARCEL).status_code == 200
    server.stop()
    edited(project, *CHANGED)
    # Its first commits are those of the change; a kill takes the process, as a power cut would.
    killed = Server(home, project, wait=False, fault=f"{point}:kill", training_nice=0)
    assert killed.process.wait(300) == 137
    again = Server(home, project, training_nice=0)
    change = eventually(lambda: done(home))
    assert change["phase"] == "done"
    assert again.predict("c-1", **PARCEL).status_code == 200
    again.stop()
    assert json.loads(varv(home, "verify", "--json"))["ok"]
    assert lacking(home) == (0, 18021)


@pytest.mark.slow
def test_an_apply_that_is_killed_half_way_is_finished_by_the_next_start(project):
    home = project.parent / "home"
    server = Server(home, project, training_nice=0)
    for number in range(20):
        assert server.predict(f"b-{number}", **PARCEL).status_code == 200
    edited(project, *CHANGED)
    applying = threading.Thread(target=lambda: varv(home, "apply", check=False))
    applying.start()
    eventually(lambda: True if changes_of(home) else None)
    server.kill()
    applying.join()
    again = Server(home, project, training_nice=0)
    eventually(lambda: done(home))
    again.stop()
    assert json.loads(varv(home, "verify", "--json"))["ok"]
    assert lacking(home) == (0, 18020)
