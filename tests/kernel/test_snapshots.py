"""Snapshots: given back to the bit, or passed over."""

from __future__ import annotations

import errno
import fcntl
import logging
import shutil

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varv.kernel import snapshots as module
from varv.kernel.faults import Crash, Faults
from varv.kernel.ledger import Append, Change
from varv.kernel.ledger_sqlite import SqliteLedger
from varv.kernel.secret import Secret
from varv.kernel.snapshots import Position, Snapshots, fingerprint

from .samples import NOON, Ordered


class Part(msgspec.Struct, frozen=True):
    hashes: np.ndarray
    columns: dict[str, np.ndarray]


class Held(msgspec.Struct, frozen=True):
    number: int
    parts: list[Part]
    frame: pl.DataFrame


NAME = "features.parcels"


def held(number):
    return Held(
        number,
        [
            Part(
                np.arange(100_000, dtype=np.uint64) + number,
                {"texts": np.array(["\u00e9", None, ""], object), "codes": np.ones((3, 2), np.int32)},
            ),
            Part(np.zeros(0, np.uint64), {"texts": np.zeros(0, object), "codes": np.ones((0, 2), np.int32)}),
        ],
        pl.DataFrame({"at": [1, None], "who": ["a", None]}).cast({"at": pl.Datetime("us", "UTC")}),
    )


def same(one, other):
    assert one.number == other.number
    assert one.frame.equals(other.frame)
    assert one.frame.schema == other.frame.schema
    for ours, theirs in zip(one.parts, other.parts, strict=True):
        assert ours.hashes.tolist() == theirs.hashes.tolist()
        assert list(ours.columns) == list(theirs.columns)
        for name, values in ours.columns.items():
            assert (values.dtype, values.shape) == (theirs.columns[name].dtype, theirs.columns[name].shape)
            assert values.tolist() == theirs.columns[name].tolist()


def ledger_of(folder, numbers):
    ledger = SqliteLedger(folder / "ledger.db")
    made = [
        Position(entry.seq, entry.hash)
        for n in numbers
        for entry in ledger.commit(Change(at=NOON, facts=(Append("yard", Ordered(n)),)))
    ]
    return ledger, made


class World:
    """A home with a ledger of three entries, and its snapshots."""

    def __init__(self, folder):
        self.folder = folder / "snapshots"
        self.secret = Secret(folder / "digest.key")
        self.ledger, self.positions = ledger_of(folder, [1, 2, 3])
        self.snapshots = self.opened()

    def opened(self, **more):
        return Snapshots(self.folder, self.secret, more.pop("fingerprint", fingerprint("1")), **more)

    def write(self, number):
        return self.snapshots.write(NAME, self.positions[number], held(number))

    def number(self, snapshots=None, ledger=None):
        """Return the number of the state that is found, None if none is."""
        found = (snapshots or self.snapshots).newest(NAME, Held, ledger or self.ledger)
        if found is None:
            return None
        same(found.state, held(found.state.number))
        return found.state.number

    @property
    def files(self):
        return sorted(path for path in self.folder.iterdir())


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.ledger.close()


@pytest.fixture
def told(caplog):
    """What was logged, by action, with its facts."""
    logger = logging.getLogger("varv")
    before, logger.propagate = logger.propagate, True
    caplog.set_level(logging.INFO, "varv")
    yield lambda: [(one.getMessage(), getattr(one, "facts", {})) for one in caplog.records]
    logger.propagate = before


def test_what_was_written_is_given_back_and_replaces_what_was_before(world):
    assert world.number() is None
    assert world.write(0)
    assert world.write(1)
    assert len(world.files) == 1
    found = world.snapshots.newest(NAME, Held, world.ledger)
    assert found.position == world.positions[1]
    assert not found.state.parts[0].hashes.flags.writeable
    same(found.state, held(1))


def test_what_is_in_use_stays_readable_once_another_takes_its_place(world):
    world.write(0)
    found = world.snapshots.newest(NAME, Held, world.ledger)
    world.write(1)
    found.lies_in.let_go()
    same(found.state, held(0))
    assert world.snapshots.are_unchanged


def test_names_stand_beside_each_other(world):
    world.write(0)
    world.snapshots.write("features.parcels-more", world.positions[1], held(5))
    assert world.number() == 0
    assert world.snapshots.newest("features.parcels-more", Held, world.ledger).state.number == 5


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("home"))
    made.write(0)
    yield made, made.files[0].read_bytes()
    made.ledger.close()


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 1 << 30), flip=st.integers(1, 255), last=st.booleans())
def test_a_file_with_an_edited_byte_is_passed_over(written, place, flip, last):
    world, whole = written
    edited = bytearray(whole)
    # Half of them near the end, where the sizes are.
    edited[-1 - place % 200 if last else place % len(whole)] ^= flip
    world.files[0].write_bytes(edited)
    assert world.number() is None
    world.files[0].write_bytes(whole)
    assert world.number() == 0


@settings(max_examples=40, deadline=None)
@given(size=st.integers(0, 1 << 30), more=st.binary(max_size=100))
def test_a_file_that_is_cut_or_goes_on_is_passed_over(written, size, more):
    world, whole = written
    changed = whole[: size % len(whole)] + more
    world.files[0].write_bytes(changed)
    assert world.number() is (0 if changed == whole else None)
    world.files[0].write_bytes(whole)


def test_those_of_another_version_home_ledger_or_name_are_passed_over_and_it_is_said(
    world, tmp_path, told, caplog
):
    world.write(1)
    other, _ = ledger_of(another_folder(tmp_path), [1, 9, 9])
    assert world.number(ledger=other) is None
    other.close()
    assert world.number(world.opened(fingerprint=fingerprint("2"))) is None
    secret = Secret(tmp_path / "another.key")
    assert world.number(Snapshots(world.folder, secret, fingerprint("1"))) is None
    shutil.copy(world.files[0], world.folder / world.files[0].name.replace("parcels", "others"))
    assert world.snapshots.newest("features.others", Held, world.ledger) is None
    why = [facts["why"] for action, facts in told() if action == "snapshot.passed_over"]
    assert len(why) == 4
    assert "not of this ledger" in why[0]
    assert "another version" in why[1]
    assert "lost its key" in why[2]
    assert "something else" in why[3]
    # An upgrade is nothing to be warned of.
    assert [one.levelname for one in caplog.records] == ["WARNING", "INFO", "WARNING", "WARNING"]


def another_folder(tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    return folder


def test_an_older_ledger_takes_the_snapshot_that_it_holds(world, tmp_path):
    world.write(0)
    kept = world.files[0].read_bytes(), world.files[0].name
    world.write(2)
    (world.folder / kept[1]).write_bytes(kept[0])
    older, _ = ledger_of(another_folder(tmp_path), [1, 2])
    assert world.number(ledger=older) == 0
    assert world.number() == 2
    older.close()


def test_a_death_before_the_end_leaves_the_one_before(world):
    world.write(0)
    dying = world.opened(faults=Faults("snapshots.before_rename"))
    with pytest.raises(Crash):
        dying.write(NAME, world.positions[1], held(1))
    assert world.number() == 0
    # A process that is killed cannot clean up; the next writer does, unless the other one still writes.
    abandoned, busy = (world.folder / f".{name}.{NAME}~{4:015d}.snapshot" for name in "ab")
    abandoned.write_bytes(b"half")
    with busy.open("wb") as writing:
        fcntl.flock(writing, fcntl.LOCK_EX)
        world.write(2)
        assert (abandoned.exists(), busy.exists()) == (False, True)
    assert world.number() == 2


def test_a_disk_that_takes_no_more_is_no_failure(world, told, monkeypatch):
    world.write(0)

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", refuse)
    assert not world.write(1)
    monkeypatch.undo()
    monkeypatch.setattr(module, "LEFT_FREE", 1 << 62)
    assert not world.write(1)
    assert world.number() == 0
    assert len(world.files) == 1
    assert [action for action, _ in told()] == ["snapshot.skipped"] * 2


def test_an_edit_of_what_is_in_use_is_seen(world):
    world.write(0)
    found = world.snapshots.newest(NAME, Held, world.ledger)
    assert world.snapshots.are_unchanged
    with world.files[0].open("r+b") as file:
        file.seek(100)
        file.write(b"x")
    assert not world.snapshots.are_unchanged
    del found
    assert world.snapshots.are_unchanged
