"""A search finds a text wherever a file may hold it."""

from __future__ import annotations

import sqlite3
import zipfile
import zlib

import polars as pl
import pytest

from varv.home.erasure import searching
from varv.home.erasure.searching import search

WHO = "ana.maria@example.org"


def text(place):
    place.write_text("x" * 13 + WHO.upper())


def parquet(place):
    pl.DataFrame({"a": [WHO, None]}).write_parquet(place)


def arrow(place):
    pl.DataFrame({"a": [f"to {WHO}"]}).write_ipc(place, compression="zstd")


def archive(place):
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("inner.txt", WHO * 3)


def packed_cell(place):
    with sqlite3.connect(place) as db:
        db.execute("CREATE TABLE t (a BLOB)")
        db.execute("INSERT INTO t VALUES (?)", [zlib.compress(f"span of {WHO}".encode())])


def long_cell(place):
    # Longer than a page, so its bytes do not lie together.
    with sqlite3.connect(place) as db:
        db.execute("CREATE TABLE t (a TEXT)")
        db.execute("INSERT INTO t VALUES (?)", ["y" * 4050 + WHO + "y" * 9000])


def deleted_row(place):
    with sqlite3.connect(place) as db:
        db.execute("PRAGMA secure_delete = OFF")
        db.execute("CREATE TABLE t (a TEXT)")
        db.execute("INSERT INTO t VALUES (?)", [WHO])
        db.execute("DELETE FROM t")


@pytest.mark.parametrize(
    "write",
    [text, parquet, arrow, archive, packed_cell, long_cell, deleted_row],
    ids=lambda one: one.__name__,
)
def test_a_text_is_found_in_every_kind_of_file(tmp_path, monkeypatch, write):
    # What lies across two stretches of bytes is found too.
    monkeypatch.setattr(searching, "_CHUNK", 16)
    write(tmp_path / "held")
    assert "held" in search(tmp_path, [WHO]).places
    assert search(tmp_path, ["nobody@example.org"]).places == {}


def test_a_file_that_is_named_after_somebody_is_found(tmp_path):
    (tmp_path / f"{WHO}.txt").touch()
    found = search(tmp_path, [WHO])
    assert (found.n_files, list(found.places)) == (1, [f"{WHO}.txt"])


def test_a_file_that_is_cut_is_searched_by_its_bytes(tmp_path):
    parquet(tmp_path / "whole")
    (tmp_path / "cut").write_bytes((tmp_path / "whole").read_bytes()[:-8] + WHO.encode())
    assert "cut" in search(tmp_path, [WHO]).places
