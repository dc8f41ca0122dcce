"""The behaviour of a blob store."""

from __future__ import annotations

import pytest

from varv.kernel.blobs import FolderBlobs
from varv.kernel.codec import digest
from varv.kernel.errors import Corrupt, InvalidInput, NotFound
from varv.kernel.faults import Crash, Faults


@pytest.fixture
def blobs(tmp_path):
    return FolderBlobs(tmp_path / "blobs")


@pytest.mark.parametrize("data", [b"", b"model", bytes(range(256)) * 5000])
def test_what_is_put_is_read_back_under_its_digest(blobs, data):
    name = blobs.put(data)
    assert name == digest(data)
    assert blobs.put(data) == name
    assert blobs.get(name) == data
    assert blobs.path(name).read_bytes() == data
    assert blobs.digests() == [name]


def test_an_unknown_digest_is_not_found(blobs):
    name = digest(b"nothing")
    assert not blobs.has(name)
    for ask in (blobs.get, blobs.path):
        with pytest.raises(NotFound):
            ask(name)


def test_deleting_forgets_and_may_be_repeated(blobs):
    name = blobs.put(b"x")
    blobs.delete(name)
    blobs.delete(name)
    assert not blobs.has(name)
    assert blobs.digests() == []


@pytest.mark.parametrize(
    "name", ["", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 65, "a" * 63 + "\n", 7, None]
)
def test_a_name_that_is_no_digest_is_refused(blobs, name):
    for ask in (blobs.get, blobs.path, blobs.has, blobs.delete):
        with pytest.raises(InvalidInput):
            ask(name)


def test_bytes_that_changed_on_disk_are_corrupt_until_put_again(blobs):
    name = blobs.put(b"weights")
    blobs.path(name).write_bytes(b"weighty")
    for ask in (blobs.get, blobs.path):
        with pytest.raises(Corrupt, match=f"{name[:2]}/{name[2:]}"):
            ask(name)
    blobs.put(b"weights")
    assert blobs.get(name) == b"weights"


def test_a_crash_before_the_rename_leaves_nothing(tmp_path):
    with pytest.raises(Crash):
        FolderBlobs(tmp_path, faults=Faults("blobs.before_rename")).put(b"x")
    again = FolderBlobs(tmp_path)
    assert again.digests() == []
    assert again.get(again.put(b"x")) == b"x"
