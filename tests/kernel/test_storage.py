from __future__ import annotations

import errno
import os
from pathlib import Path

import polars as pl
import pytest

from varv.kernel.blobs import FolderBlobs
from varv.kernel.errors import StorageFull
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.storage import storing


def refuse(monkeypatch, code=errno.ENOSPC):
    def fsync(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG])
def test_a_disk_that_refuses_is_told_with_the_place_the_room_and_a_cure(tmp_path, code):
    with pytest.raises(StorageFull) as refused, storing("segment", tmp_path / "a.parquet"):
        raise OSError(code, os.strerror(code))
    assert refused.value.retryable
    assert str(tmp_path) in refused.value.problem
    assert refused.value.facts["free_bytes"] > 0
    assert "free space" in refused.value.hint


def test_other_errors_of_the_system_are_left_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), storing("file", tmp_path / "a"):
        (tmp_path / "none" / "a").write_bytes(b"")


def test_a_blob_that_the_disk_refused_leaves_nothing_and_can_be_put_again(tmp_path, monkeypatch):
    blobs = FolderBlobs(tmp_path)
    with monkeypatch.context() as patched:
        refuse(patched)
        with pytest.raises(StorageFull):
            blobs.put(b"package")
    assert files(tmp_path) == []
    assert blobs.get(blobs.put(b"package")) == b"package"


def test_a_segment_that_the_disk_refused_leaves_nothing_and_can_be_added_again(tmp_path, monkeypatch):
    columns, frame = FolderColumns(tmp_path), pl.DataFrame({"x": [1, 2]})
    with monkeypatch.context() as patched:
        refuse(patched)
        with pytest.raises(StorageFull):
            columns.append("data/parcels", "one", frame)
    assert files(tmp_path) == []
    columns.append("data/parcels", "one", frame)
    assert columns.scan("data/parcels", ["one"]).collect().equals(frame)
