"""What a worker remembers when it begins, of rows that are archived too."""

from __future__ import annotations

from tests.data.tiers.stores import TierStore
from tests.data.versioning.stores import TRIPS, base

from varv.app.compose import open_snapshots
from varv.app.server.memory import Memory
from varv.kernel.clock import DAY


def test_a_column_that_was_empty_in_an_archived_row_may_still_be_left_out(tmp_path):
    store = TierStore(tmp_path)
    store.append("at", base(("a", 1, None)), "w-000001")
    store.append("at", base(("b", 20, 2)), "w-000002")
    store.clock.move_to(store.clock.now() + 2 * DAY)
    store.archive()
    memory = Memory(store.secret, open_snapshots(tmp_path))
    memory.restore(store.datasets, [TRIPS], store.ledger)
    assert memory.ever_empty(TRIPS) == {"size"}
