"""An erasure destroys the keys of its subject: what was encrypted for it is lost in every copy."""

from __future__ import annotations

import shutil

import pytest
from tests.home.erasure.people import ANA, BOB, People, people

from varv.app.verifying import verify_report
from varv.data.privacy.encrypting import Encryptor
from varv.home.erasure.checking import ErasureCheck
from varv.home.erasure.searching import search

SEALED = people(pii={"email": "pseudonymise", "age": "encrypt:email"})


@pytest.fixture
def home(tmp_path):
    found = People(tmp_path / "home", dataset=SEALED).fill()
    yield found
    found.close()


def ages(home, rows):
    return Encryptor("people", ("id",), home.secret.purposes.subjects).opened(rows, "age", "email")


def test_a_copy_from_before_is_unreadable_once_its_subject_is_erased(home, tmp_path):
    backup = home.datasets.read_part(home.dataset, "at", version=6)
    assert ages(home, backup).values == ["31", "32", "33", "34", "35", "36"]
    record = home.erasures.carry(home.erasures.request("people", "email", ANA, by="ana"))
    assert record.proven is not None, record.searched
    assert record.proven.n_rows["keys/subjects.db"] == 1
    assert record.proven.places["keys/subjects.db"] == "destroyed"
    found = ages(home, backup)
    assert found.values == ["31", "32", None, "34", "35", None]
    assert found.n_shredded == 2
    # Of those who stay all is readable.
    assert ages(home, home.datasets.read_part(home.dataset, "at")).n_shredded == 0


def test_the_owner_may_be_whoever_the_key_names(tmp_path):
    home = People(tmp_path / "home", dataset=people(pii={"email": "encrypt"})).fill()
    rows = home.datasets.read_part(home.dataset, "at")
    record = home.erasures.carry(home.erasures.request("people", "id", "k2", by="ana"))
    assert record.proven is not None, record.searched
    opened = Encryptor("people", ("id",), home.secret.purposes.subjects).opened(rows, "email", "")
    assert opened.values[rows["id"].to_list().index("k2")] is None
    assert opened.n_shredded == 1
    assert set(opened.values) - {None} == {ANA, ANA.upper(), BOB}
    home.close()


def test_what_comes_back_with_a_copy_is_found_by_verify(home, tmp_path):
    shutil.copytree(home.folder / "columns", tmp_path / "copy")
    home.erasures.carry(home.erasures.request("people", "email", ANA, by="ana"))
    assert verify_report(home.folder).findings == ()
    shutil.copytree(tmp_path / "copy", home.folder / "columns", dirs_exist_ok=True)
    problems = {one.problem for one in verify_report(home.folder).findings}
    assert problems == {"is there again, with rows that e1 has erased"}


def test_a_subject_that_is_still_known_is_found_too(home):
    record = home.erasures.carry(home.erasures.request("people", "email", ANA, by="ana"))
    check = ErasureCheck()
    check.take(record.proven)
    assert list(check.flaws(home.folder)) == []
    again = home.erasures.request("people", "email", BOB, by="ana")
    place = home.secret.purposes.folder / "erasures"
    (place / f"{again}.json").write_bytes((place / f"{again}.json").read_bytes().replace(b'"e2"', b'"e1"'))
    assert [flaw[1] for flaw in check.flaws(home.folder)] == ["still says whose rows were erased"]


def test_a_file_named_after_somebody_is_not_named_in_the_ledger(home):
    (home.folder / f"{BOB}.csv").write_text("nothing")
    record = home.erasures.carry(home.erasures.request("people", "email", BOB, by="ana"))
    assert record.searched.left == {"….csv": 1}
    (home.folder / f"{BOB}.csv").unlink()
    assert home.erasures.carry(record.requested.erasure).proven is not None
    assert search(home.folder, [BOB]).places == {}
