from __future__ import annotations

import sqlite3

import pytest

from varv.kernel.errors import NotFound
from varv.kernel.table_reading import TableReader


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tables.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE t (x TEXT)")
        db.execute("INSERT INTO t VALUES ('a')")
    db.close()
    return path


def test_a_reader_shows_one_moment_and_writes_nothing(file):
    reader = TableReader(file)
    with reader.reading() as db, sqlite3.connect(file) as writing:
        assert db.execute("SELECT count(*) FROM t").fetchone() == (1,)
        writing.execute("INSERT INTO t VALUES ('b')")
        writing.commit()
        assert db.execute("SELECT count(*) FROM t").fetchone() == (1,)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            db.execute("DELETE FROM t")
    writing.close()
    with reader.reading() as again:
        assert again is db
        assert again.execute("SELECT count(*) FROM t WHERE x LIKE 'A'").fetchone() == (0,)
        assert again.execute("SELECT count(*) FROM t").fetchone() == (2,)
    reader.close()


def test_a_connection_in_use_is_closed_once_it_is_given_back(file):
    reader = TableReader(file)
    with reader.reading() as db:
        reader.close()
        assert db.execute("SELECT x FROM t").fetchone() == ("a",)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        db.execute("SELECT x FROM t")


def test_a_file_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(NotFound, match="is not there"), TableReader(tmp_path / "nix.db").reading():
        pass
    assert list(tmp_path.iterdir()) == []
