"""Reads of views go on record an hour at a time, and are shown by the day."""

from __future__ import annotations

import pytest
from tests.home.live_home import NOW

from varv.features.reads import Reads
from varv.home.skew.reads import ReadsView, ReadsWatch, shown_reads
from varv.home.status import status_report
from varv.kernel.clock import DAY, HOUR


@pytest.fixture
def home(lived, tmp_path):
    found = lived(tmp_path)
    yield found
    found.close()


def test_an_hour_of_reads_is_put_on_record_once_and_days_are_sums(home):
    own, counted = home.home, {"recent": Reads(HOUR, 5, 5)}
    watch = ReadsWatch(lambda: counted, own.engine, home.clock)
    head = own.ledger.head()
    watch.beat()
    assert own.ledger.head() == head
    counted["recent"] = Reads(HOUR, 15, 9)
    home.clock.move_to(NOW + HOUR)
    watch.beat()
    watch.beat()
    counted["recent"] = Reads(HOUR, 18, 12)
    watch.settle()
    watch.settle()
    lines = [entry.event.line() for entry in own.ledger.read(stream="reads")]
    assert lines == [
        "features as fresh as declared: recent 40.0% of 10 within 1h",
        "features as fresh as declared: recent 100.0% of 3 within 1h",
    ]
    (shown,) = shown_reads(own.views, home.clock.now())
    assert (shown.view, shown.n, shown.n_fresh, shown.fresh) == ("recent", 13, 7, "1h")
    assert status_report(own.views, own.ledger, home.clock.now()).reads == (shown,)
    assert shown_reads(own.views, home.clock.now() + 8 * DAY) == ()


def test_days_beyond_those_kept_are_forgotten(home):
    own, counted = home.home, {}
    watch = ReadsWatch(lambda: counted, own.engine, home.clock)
    for day in range(3):
        counted["recent"] = Reads(HOUR, day + 1, day + 1)
        home.clock.move_to(NOW + 30 * day * DAY + HOUR)
        watch.settle()
    with own.views.reading(ReadsView) as view:
        assert len(view.days) == 2
