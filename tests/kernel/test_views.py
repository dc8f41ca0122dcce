"""Views follow the ledger together, can be folded anew, and are read whole."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from varv.kernel.errors import NotFound
from varv.kernel.ledger import Append, Change
from varv.kernel.ledger_sqlite import MEMORY, SqliteLedger
from varv.kernel.views import Views

from .samples import NOON, Noted


class Texts:
    def __init__(self):
        self.texts = []

    def apply(self, entry, event):
        if isinstance(event, Noted):
            self.texts.append(event.text)


class Count:
    def __init__(self):
        self.n = 0

    def apply(self, entry, event):
        self.n += 1
        assert entry.seq == self.n


@pytest.fixture
def ledger():
    with closing(SqliteLedger(MEMORY)) as made:
        yield made


def note(ledger, text):
    ledger.commit(Change(at=NOON, facts=(Append("s", Noted(text=text)),)))


def test_reading_catches_up(ledger):
    views = Views(ledger, Texts, Count)
    note(ledger, "a")
    with views.reading(Texts) as texts:
        assert texts.texts == ["a"]
    note(ledger, "b")
    assert views.catch_up() == 2
    with views.reading(Count) as count:
        assert count.n == 2


def test_rebuilding_gives_the_same(ledger):
    views = Views(ledger, Texts)
    note(ledger, "a")
    with views.reading(Texts) as before:
        kept = list(before.texts)
    views.rebuild()
    with views.reading(Texts) as after:
        assert after is not before
        assert after.texts == kept


def test_a_view_that_is_not_kept_is_not_found(ledger):
    with pytest.raises(NotFound, match="Count"), Views(ledger, Texts).reading(Count):
        pass


def test_many_threads_read_while_others_write(ledger):
    views = Views(ledger, Count, Texts)
    uneven = []

    def read():
        for _ in range(50):
            with views.reading(Count) as count, views.reading(Texts) as texts:
                if count.n != len(texts.texts):
                    uneven.append(count.n)

    def write():
        for n in range(50):
            note(ledger, str(n))

    threads = [threading.Thread(target=work) for work in (read, write, read, write)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert uneven == []
    assert views.catch_up() == 100
