"""Whoever is killed while files of a published dataset are merged, or vacuumed, leaves tables that say, after
the next start, what the ledger does.
"""

from __future__ import annotations

import pytest
from tests.data.delta.protocol import require_protocol
from tests.data.delta.test_publishing import read_by
from tests.data.versioning.stores import TRIPS
from tests.faults.killed import kill, wrong_files
from tests.faults.merging_writer import N_BATCHES, write

from varv.data.delta.log import live_files
from varv.data.views import DatasetsView

POINTS = [
    "columns.before_rename:15",
    "ledger.before_commit:24",
    "delta.after_commit:7",
    "columns.before_unlink:2",
]
MORE = [
    *(f"columns.before_rename:{nth}" for nth in (13, 14, 16)),
    *(f"ledger.before_commit:{nth}" for nth in (20, 21, 22, 23, 25)),
    *(f"delta.before_commit:{nth}" for nth in (7, 8, 9, 10)),
    *(f"delta.after_commit:{nth}" for nth in (6, 8)),
    *("columns.before_unlink:1", "columns.after_merge:2"),
]
MOMENTS = [*POINTS, *(pytest.param(one, marks=pytest.mark.soak) for one in MORE)]
"""20, of the third publication, which merges, and of what comes after it."""


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_tables_and_ledger_agree_after_a_merge_was_killed(tmp_path, moment):
    kill("merging_writer", tmp_path, moment)
    store = write(tmp_path)
    last = {event.part: event for event in store.publications.events(TRIPS)}
    for part, event in last.items():
        require_protocol(store.table(part))
        expected = store.datasets.read_part(TRIPS, part)
        rows = read_by("polars", store.table(part), event.delta_version)
        assert rows.select(expected.columns).sort(part, "id").equals(expected)
        with store.views.reading(DatasetsView) as view:
            held = view.catalogue("trips", part)
        there = {f"{one.name}.parquet" for one in held.stored() if not one.removed_by}
        assert live_files(store.table(part)) <= there
        assert {path.name for path in store.table(part).glob("*.parquet")} <= there
        assert len(held.superseded) >= 3 or any(one.removed_by for one in held.superseded)
    assert store.sizes() == {"k1": 1, "k2": 20, "k3": 3, "k4": 4}
    for version in range(1, 2 * N_BATCHES + 1):
        assert store.datasets.read(TRIPS, version=version).height == (version + 1) // 2
    store.ledger.close()
    assert wrong_files(tmp_path) == []
