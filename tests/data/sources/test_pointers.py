"""Pointers are never data: what they stand for is found on this machine, or has to be fetched by command."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import polars as pl
import pytest

from varv.data.sources import Csv, Parquet
from varv.data.sources.pointers import lfs_pointer, resolved
from varv.kernel.errors import Corrupt, FailedPrecondition, NotFound

ROWS = pl.DataFrame({"a": [1, 2, 3]})


@pytest.fixture(autouse=True)
def repository(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    (tmp_path / ".dvc").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pointer(path, data):
    oid = hashlib.sha256(data).hexdigest()
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n"
    Path(path).write_text(text)
    return Path(".git/lfs/objects", oid[:2], oid[2:4], oid)


def parquet():
    ROWS.write_parquet("rows.bin")
    data = Path("rows.bin").read_bytes()
    Path("rows.bin").unlink()
    return data


def put(place, data):
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)


def dvc(path, data, *, store=".dvc/cache", md5="", old=False):
    """Track a file as DVC 3 does, or 2, and keep it in a folder of its files."""
    md5 = md5 or hashlib.md5(data).hexdigest()
    entry = f"- md5: {md5}\n  size: {len(data)}\n" + ("" if old else "  hash: md5\n")
    Path(f"{path}.dvc").write_text(f"outs:\n{entry}  path: {Path(path).name}\n")
    if store:
        put(Path(store, "" if old else "files/md5", md5[:2], md5[2:]), data)


@pytest.mark.parametrize(("source", "name"), [(Csv, "a.csv"), (Parquet, "a.parquet")])
def test_a_pointer_of_lfs_is_refused_with_its_command(source, name):
    pointer(name, b"a\n1\n")
    with pytest.raises(FailedPrecondition, match=f"git lfs pull --include {name}"):
        source(name).load()


def test_what_a_pointer_stands_for_is_read_and_checked():
    place = pointer("a.csv", b"a\n1\n2\n")
    put(place, b"a\n1\n2\n")
    assert Csv("*.csv").load()["a"].to_list() == [1, 2]
    pointer("a.csv", b"a\n1\n3\n")
    put(pointer("b.csv", b"a\n7\n"), b"a\n8\n")
    with pytest.raises(Corrupt, match=r"b\.csv"):
        Csv("b.csv").load()


def test_what_looks_like_a_pointer_and_is_none_is_data():
    Path("a.csv").write_text("version\nhttps://git-lfs.github.com/spec/v1\n")
    assert lfs_pointer(Path("a.csv")) is None
    assert resolved("a.csv") is None
    assert Csv("a.csv").load().height == 1


def test_a_file_that_dvc_tracks_comes_from_its_cache():
    dvc("a.parquet", parquet())
    assert Parquet("a.parquet").load().equals(ROWS)
    assert Parquet("a.parquet.dvc").load().equals(ROWS)
    assert list(Parquet("*.parquet").types()) == ["a"]


def test_a_file_that_is_checked_out_is_read_itself():
    dvc("a.parquet", parquet())
    pl.DataFrame({"b": [1]}).write_parquet("a.parquet")
    assert list(Parquet("a.parquet").types()) == ["b"]


def test_a_remote_that_is_a_folder_is_looked_into(tmp_path):
    (tmp_path / ".dvc" / "config").write_text("['remote \"shared\"']\n    url = ../shared\n")
    dvc("a.parquet", parquet(), store="shared")
    assert Parquet("a.parquet").load().equals(ROWS)


def test_what_is_nowhere_has_to_be_pulled():
    dvc("a.parquet", parquet(), store="")
    with pytest.raises(FailedPrecondition, match=r"dvc pull a\.parquet\.dvc"):
        Parquet("a.parquet").load()


def test_a_cache_that_went_bad_shows():
    dvc("a.parquet", parquet(), md5="0" * 32)
    with pytest.raises(Corrupt, match="not what DVC has noted"):
        Parquet("a.parquet").load()


def test_files_of_dvc_2_are_found_under_their_names():
    dvc("a.parquet", parquet(), md5="0" * 32, old=True)
    assert Parquet("a.parquet").load().equals(ROWS)


def test_a_folder_that_dvc_tracks_is_read_by_pattern():
    data = parquet()
    md5 = hashlib.md5(data).hexdigest()
    listing = json.dumps(
        [{"md5": md5, "relpath": "one/a.parquet"}, {"md5": md5, "relpath": "x.txt"}]
    ).encode()
    dvc("flights", listing, md5=f"{hashlib.md5(listing).hexdigest()}.dir")
    put(Path(".dvc/cache/files/md5", md5[:2], md5[2:]), data)
    assert Parquet("flights/one/*.parquet").load().equals(ROWS)
    with pytest.raises(NotFound):
        Parquet("flights/two/*.parquet").load()


def test_a_file_that_is_not_here_is_not_left_out_beside_others():
    ROWS.write_parquet("a.parquet")
    dvc("b.parquet", parquet(), store="")
    with pytest.raises(FailedPrecondition, match=r"dvc pull b\.parquet\.dvc"):
        Parquet("*.parquet").load()
    dvc("b.parquet", parquet())
    assert Parquet("**/*.parquet").load().height == 6


def test_a_list_that_leads_outside_is_refused():
    md5 = hashlib.md5(b"").hexdigest()
    listing = json.dumps([{"md5": md5, "relpath": "../../key"}]).encode()
    dvc("flights", listing, md5=f"{hashlib.md5(listing).hexdigest()}.dir")
    with pytest.raises(Corrupt, match="outside"):
        Parquet("flights/*").load()
