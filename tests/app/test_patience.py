from __future__ import annotations

import threading

import pytest

from varv.app.server import patience as patience_module
from varv.app.server.patience import Patience
from varv.kernel.errors import InvalidInput, StorageFull


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(patience_module, "FIRST_PAUSE_S", 0.001)


def test_refused_work_is_done_again_and_what_it_waits_for_is_told_meanwhile():
    seen = []
    refusals = [StorageFull("ledger", "ledger.db")] * 3

    def work():
        seen.append(patience.problem)
        if refusals:
            raise refusals.pop()
        return "done"

    patience = Patience(threading.Event())
    assert patience.until_done(work) == "done"
    assert [bool(problem) for problem in seen] == [False, True, True, True]
    assert "ledger.db" in seen[-1]
    assert patience.problem == ""


def test_what_no_waiting_cures_is_raised():
    def work():
        raise InvalidInput("row", "x")

    with pytest.raises(InvalidInput):
        Patience(threading.Event()).until_done(work)


def test_a_stop_ends_the_waiting():
    stop = threading.Event()

    def work():
        stop.set()
        raise StorageFull("ledger", "ledger.db")

    assert Patience(stop).until_done(work) is None
