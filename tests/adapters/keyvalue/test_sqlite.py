"""Files of packed features that are not what was written; what stores share is in `tests.contracts`."""

from __future__ import annotations

import pytest

from varv.adapters.keyvalue.sqlite import SqliteKeyValue
from varv.features.online.ports import Table
from varv.kernel.errors import Corrupt

ONE = Table("last-0123", 1)


@pytest.fixture
def folder(tmp_path):
    store = SqliteKeyValue(tmp_path, durable=False)
    store.put_many(ONE, [(b"%d" % number, b"x" * 100) for number in range(1000)], b"whole")
    store.swap(ONE, b"whole")
    store.close()
    return tmp_path


def test_a_file_that_is_no_database_is_refused_with_what_to_do(folder):
    (folder / ONE.name / "1.db").write_bytes(b"not a database" * 1000)
    store = SqliteKeyValue(folder)
    for ask in (
        lambda: store.get_many({ONE.name: [b"1"]}),
        lambda: store.get_from(ONE, [b"1"]),
        lambda: store.note(ONE),
        lambda: store.put_many(ONE, [], b"more"),
    ):
        with pytest.raises(Corrupt, match="remove the folder online/last-0123"):
            ask()


def test_a_pointer_that_is_unreadable_is_refused(folder):
    (folder / ONE.name / "current").write_bytes(b"{")
    with pytest.raises(Corrupt, match="materialise"):
        SqliteKeyValue(folder).current(ONE.name)


def test_a_reader_needs_no_folder(tmp_path):
    store = SqliteKeyValue(tmp_path / "nothing")
    assert store.get_many({ONE.name: [b"1"]})[ONE.name] == (None, [None])
    assert store.generations(ONE.name) == []
    assert not (tmp_path / "nothing").exists()
