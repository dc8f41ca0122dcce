"""Views follow the ledger together, can be folded anew, and are read whole."""

from __future__ import annotations

import threading
from contextlib import closing

import msgspec
import pytest

from varv.kernel.errors import Corrupt, NotFound
from varv.kernel.ledger import Append, Change
from varv.kernel.ledger_sqlite import MEMORY, SqliteLedger
from varv.kernel.secret import Secret
from varv.kernel.snapshots import Snapshots
from varv.kernel.views import Views

from .samples import NOON, Noted


class Texts(msgspec.Struct):
    texts: list[str] = []

    def apply(self, entry, event):
        if isinstance(event, Noted):
            self.texts.append(event.text)


class Count(msgspec.Struct):
    n: int = 0

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


@pytest.fixture
def snapshots(tmp_path):
    return Snapshots(tmp_path / "snapshots", Secret(tmp_path / "key"), "of this code", durable=False)


class Unread:
    """A ledger that says which entries are asked for."""

    def __init__(self, ledger):
        self._ledger, self.after = ledger, []

    def read(self, after=0, stream=None, limit=None):
        self.after.append(after)
        return self._ledger.read(after, stream, limit)


def test_views_go_on_from_a_snapshot_and_read_only_what_came_after(ledger, snapshots):
    for text in "abc":
        note(ledger, text)
    Views(ledger, Texts, Count).save(snapshots)
    note(ledger, "d")
    asked = Unread(ledger)
    views = Views(asked, Texts, Count, snapshots=snapshots)
    with views.reading(Texts) as texts, views.reading(Count) as count:
        assert (texts.texts, count.n) == (["a", "b", "c", "d"], 4)
    assert min(asked.after[1:]) == 3  # the first asks for the snapshot's own entry


def test_an_entry_that_does_not_follow_a_snapshot_is_told(ledger, snapshots, monkeypatch):
    note(ledger, "a")
    Views(ledger, Texts).save(snapshots)
    note(ledger, "b")
    views = Views(ledger, Texts, snapshots=snapshots)
    real = ledger.read

    def edited(after=0, stream=None, limit=None):
        found = real(after, stream, limit)
        return [msgspec.structs.replace(one, at=one.at + (one.seq == 2)) for one in found]

    monkeypatch.setattr(ledger, "read", edited)
    with pytest.raises(Corrupt, match="entry '2'"):
        views.catch_up()


def test_a_snapshot_that_lacks_a_view_or_does_not_read_is_not_used(ledger, snapshots):
    note(ledger, "a")
    Views(ledger, Texts).save(snapshots)
    both = Views(ledger, Texts, Count, snapshots=snapshots)
    with both.reading(Count) as count:
        assert count.n == 1

    class Changed(msgspec.Struct):
        texts: dict[str, int] = {}

        def apply(self, entry, event):
            self.texts[event.text] = entry.seq

    Changed.__name__ = "Texts"
    with Views(ledger, Changed, snapshots=snapshots).reading(Changed) as changed:
        assert changed.texts == {"a": 1}


def test_nothing_is_kept_of_an_empty_ledger(ledger, snapshots, tmp_path):
    Views(ledger, Texts).save(snapshots)
    assert not (tmp_path / "snapshots").exists()
