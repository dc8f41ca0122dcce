"""Archives elsewhere: another folder, and an object store."""

from __future__ import annotations

import shutil

import pytest
from tests.data.sources.servers import free_port
from tests.data.tiers.stores import TierStore
from tests.data.tiers.test_archiving import ROWS, filled

from varv.data.cold import ColdFiles, require_place
from varv.data.cold.places import archive_at
from varv.kernel.codec import Digest, digest
from varv.kernel.errors import Corrupt, FailedPrecondition, InvalidInput, NotFound, Unavailable


def test_a_place_is_a_folder_or_the_address_of_a_store(tmp_path):
    assert require_place("") == ""
    assert require_place("s3://cold/varv/") == "s3://cold/varv"
    assert require_place(str(tmp_path)) == str(tmp_path)
    for wrong in ("s3://", "://x", "s3://user:secret@host/x", "https://x/y?token=1"):
        with pytest.raises(InvalidInput, match="is no place for an archive") as refused:
            require_place(wrong)
        assert "secret" not in str(refused.value)


def test_what_went_to_another_place_is_found_there_after_the_setting_changed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    store = filled(TierStore(tmp_path / "home", place=str(elsewhere)))
    store.archive("2013-01-02")
    assert len(list(elsewhere.glob("??/*"))) == 1
    store.place = ""
    store.reopen()
    store.archive()
    assert len(store.blobs()) == 2
    assert store.restore().n_files == 3
    assert (store.sizes(), store.blobs(), list(elsewhere.glob("??/*"))) == (ROWS, set(), [])


@pytest.mark.slow
def test_files_go_to_an_object_store_and_come_back(tmp_path, monkeypatch):
    obstore, moto = pytest.importorskip("obstore"), pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(port=free_port(), verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT": f"http://{host}:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "hunter2",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
    }.items():
        monkeypatch.setenv(name, value)
    try:
        import httpx

        httpx.put(f"http://{host}:{port}/cold").raise_for_status()
        store = filled(TierStore(tmp_path, place="s3://cold/varv"))
        assert store.archive().n_files == 3
        bucket = obstore.store.from_url("s3://cold")
        paths = [one["path"] for several in obstore.list(bucket) for one in several]
        assert len(paths) == 3
        assert all(path.startswith("varv/") for path in paths)
        with pytest.raises(FailedPrecondition, match="in the archive"):
            store.sizes()
        # Keys are read from where they are.
        store.reopen()
        store.append("at", filled_again(), "w-000009")
        obstore.put(bucket, paths[0], b"other bytes")
        with pytest.raises(Corrupt, match="does not hold what it is named after"):
            store.restore()
        obstore.delete(bucket, paths[0])
        with pytest.raises(NotFound, match="blob"):
            store.restore()
    finally:
        server.stop()
    with pytest.raises(Unavailable, match="cannot be reached") as refused:
        ColdFiles(tmp_path).archive("s3://cold/varv").has(Digest(digest(b"")))
    assert "hunter2" not in str(refused.value)


def filled_again():
    """Return a row that is archived, once more."""
    from tests.data.versioning.stores import base

    return base(("a", 1, 1))


def test_the_archive_of_a_home_that_lost_it_says_what_is_missing(tmp_path):
    store = filled(TierStore(tmp_path))
    store.archive()
    shutil.rmtree(tmp_path / "archive")
    with pytest.raises(NotFound, match="archive/"):
        store.restore()
    assert not archive_at(tmp_path, "").has(Digest(digest(b"")))
