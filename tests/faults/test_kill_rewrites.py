"""Whoever is killed while rows are replaced, stored together or removed leaves no half of a version, and what
is done again after that happens once.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.data.versioning.stores import TRIPS, Store
from tests.faults.killed import kill, wrong_files
from tests.faults.rewriting_writer import write

from varv.kernel.content import rows_digest
from varv.kernel.errors import Expired

POINTS = [
    *(f"columns.before_rename:{nth}" for nth in (8, 9, 12)),
    *(f"ledger.before_commit:{nth}" for nth in (10, 16)),
    *("ledger.after_commit:10", "columns.before_unlink:2"),
]
MORE = [
    *(f"columns.before_rename:{nth}" for nth in (10, 11, 15, 16, 17)),
    *(f"ledger.before_commit:{nth}" for nth in (9, 11, 12, 15, 17)),
    *("ledger.after_commit:16", "ledger.after_commit:17", "columns.before_unlink:1"),
]
MOMENTS = [*POINTS, *(pytest.param(one, marks=pytest.mark.soak) for one in MORE)]
"""Of rewrites, of compactions before and after them, and of the vacuum."""


def told(store):
    """Return what every version holds, or that it expired."""
    found = []
    for version in range(store.datasets.version(TRIPS) + 1):
        try:
            parts = [store.datasets.read_part(TRIPS, part, version=version) for part in TRIPS.parts]
            found.append(tuple(map(rows_digest, parts)))
        except Expired:
            found.append("expired")
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    store = write(tmp_path_factory.mktemp("whole"))
    found = told(store), store.files()
    store.ledger.close()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_writer_that_is_killed_leaves_no_half_and_doubles_nothing(tmp_path, whole, moment):
    kill("rewriting_writer", tmp_path, moment)
    store = write(tmp_path)
    assert (told(store), store.files()) == whole
    assert "expired" in whole[0]
    store.ledger.close()
    assert wrong_files(tmp_path) == []


@pytest.mark.slow
def test_two_processes_that_write_lose_no_row(tmp_path):
    command = [sys.executable, "-m", "tests.faults.two_writers", str(tmp_path)]
    both = [subprocess.Popen([*command, writer]) for writer in "vw"]
    assert [one.wait(120) for one in both] == [0, 0]
    store = Store(tmp_path, in_memory=False)
    rows = store.datasets.read_part(TRIPS, "at")["id"].to_list()
    assert sorted(rows) == sorted({f"{w}-{n}" for w in "vw" for n in range(10)} | {"shared"})
    store.ledger.close()
