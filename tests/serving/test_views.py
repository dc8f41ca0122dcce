"""The routing view keeps the table of the highest epoch and counts who answered."""

from __future__ import annotations

from tests.serving.samples import table

from varv.kernel.clock import Instant
from varv.kernel.codec import Digest
from varv.kernel.ids import ModelName
from varv.kernel.ledger import Entry
from varv.serving.model import RequestsServed, RoutingChanged
from varv.serving.views import RoutingView

MODEL = ModelName("late")


def fold(*events):
    view = RoutingView()
    for seq, event in enumerate(events, 1):
        view.apply(Entry(seq, "s", seq, event.event_name, 1, Instant(0), None, b"", b""), event)
    return view


def served(segment, counts):
    return RequestsServed(
        model=MODEL, segment=segment, n_requests=sum(counts.values()), n_by_version=counts, digest=Digest("d")
    )


def test_the_table_of_the_highest_epoch_is_in_force_in_whatever_order_they_come():
    changes = [RoutingChanged(model=MODEL, table=table(epoch, champion=epoch)) for epoch in (1, 3, 2)]
    assert fold(*changes).tables[MODEL].epoch == 3


def test_requests_are_counted_by_version_and_segments_kept_in_order():
    view = fold(served("b", {"1": 5, "2": 1}), served("a", {"2": 4, "0": 2}))
    assert view.n_requests[MODEL] == {"1": 5, "2": 5, "0": 2}
    assert [one.name for one in view.catalogue(MODEL).extents()] == ["b", "a"]
