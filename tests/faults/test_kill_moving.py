"""Whoever is killed while files of rows are archived and restored leaves each of them in one place at least.

What is done again after that leaves it in one place only.
"""

from __future__ import annotations

import pytest
from tests.data.tiers.stores import TierStore
from tests.data.versioning.stores import TRIPS
from tests.faults.killed import kill, wrong_files
from tests.faults.moving_writer import write

from varv.kernel.content import rows_digest
from varv.kernel.errors import Expired

POINTS = [
    *("tiers.after_copy:2", "tiers.after_copy:6", "tiers.before_drop:1"),
    *("blobs.before_rename:1", "blobs.before_rename:5", "columns.before_unlink:1", "columns.before_unlink:4"),
    *("ledger.before_commit:10", "ledger.after_commit:10"),
]
MORE = [
    *(f"tiers.after_copy:{nth}" for nth in (1, 3, 4, 5, 7, 8, 9)),
    *(f"tiers.before_drop:{nth}" for nth in (2, 3, 4)),
    *(f"columns.before_unlink:{nth}" for nth in (2, 3, 5, 6)),
    *(f"columns.before_rename:{nth}" for nth in (8, 9, 10)),
    *(f"ledger.before_commit:{nth}" for nth in (9, 11, 12, 13, 14)),
    *(f"ledger.after_commit:{nth}" for nth in (9, 11, 12, 13, 14)),
]
MOMENTS = [*POINTS, *(pytest.param(one, marks=pytest.mark.soak) for one in MORE)]


def told(store: TierStore):
    """Return what is where, and, once everything is restored, what every version holds."""
    where = store.files(), store.cold(), store.blobs()
    store.restore()
    found = []
    for version in range(store.datasets.version(TRIPS) + 1):
        try:
            parts = [store.datasets.read_part(TRIPS, part, version=version) for part in TRIPS.parts]
            found.append(tuple(map(rows_digest, parts)))
        except Expired:
            found.append("expired")
    return where, found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    store = write(tmp_path_factory.mktemp("whole"))
    found = told(store)
    store.ledger.close()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_writer_that_is_killed_loses_no_file_and_keeps_none_twice(tmp_path, whole, moment):
    kill("moving_writer", tmp_path, moment)
    # Every file of rows is what its entry says, wherever it is.
    assert wrong_files(tmp_path, strays=True) == []
    store = write(tmp_path)
    assert wrong_files(tmp_path) == []
    assert told(store) == whole
    assert "expired" in whole[1]
    store.ledger.close()
