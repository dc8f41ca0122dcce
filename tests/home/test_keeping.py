"""When snapshots are written, and as of what."""

from __future__ import annotations

import pytest
from tests.home.live_home import LiveHome

from varv.home import keeping, live
from varv.kernel.snapshots import SNAPSHOTS


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "FEWEST_ROWS", 4)
    monkeypatch.setattr(keeping, "SHARE", 0.0)
    made = LiveHome(tmp_path)
    made.ingest()
    yield made
    made.close()


def say(home, n, name):
    home.accept_outcomes([{"parcel": f"{name}-{i}", "late": True} for i in range(n)])
    return home.ingest()


def test_a_start_keeps_what_the_history_was_and_nothing_twice(home):
    assert len(home.kept) == 1
    position, versions = home.kept[0]
    [dataset] = home.home.declared
    assert versions == {dataset.name: len(home.home.datasets.versions(dataset))}
    assert home.home.ledger.read(position.seq - 1, limit=1)[0].hash == position.hash
    home.ingest()
    assert len(home.kept) == 1


def test_rows_are_kept_once_enough_have_come(home):
    [dataset] = home.home.declared
    assert say(home, 3, "a") == 1
    assert len(home.kept) == 1
    assert say(home, 1, "b") == 1
    assert len(home.kept) == 2
    assert home.kept[1][1] == {dataset.name: len(home.home.datasets.versions(dataset))}
    assert len(list((home.home.folder / SNAPSHOTS).glob(f"keys.{dataset.name}~*"))) == 1


def test_few_rows_beside_many_are_not_worth_it(home, monkeypatch):
    monkeypatch.setattr(keeping, "SHARE", 1 / 8)
    say(home, 10, "a")
    assert len(home.kept) == 1


def test_everything_is_kept_after_a_compaction(home, monkeypatch):
    monkeypatch.setattr(live, "COMPACT_EVERY", 1)
    say(home, 1, "a")
    assert len(home.kept) == 2


def test_keys_are_read_anew_if_somebody_wrote_to_their_file(home, tmp_path, monkeypatch):
    say(home, 4, "a")
    [file] = (tmp_path / SNAPSHOTS).glob("keys.*")
    monkeypatch.setattr("varv.data.key_runs.ROWS_IN_MEMORY", 1)
    monkeypatch.setattr(keeping, "FEWEST_ROWS", 1000)
    home.close()
    again = LiveHome(tmp_path, capture="two")
    again.live._since_compaction = 0  # nothing takes the file's place
    [dataset] = again.home.declared
    say(again, 1, "b")
    keys = again.home.datasets.keys.of(dataset)
    with file.open("r+b") as edited:
        edited.write(b"V")
    assert say(again, 1, "c") == 1
    assert again.home.datasets.keys.of(dataset) is not keys
    again.close()
