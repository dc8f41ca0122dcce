"""What is encrypted for a subject is the same bytes each time, and opens in its place under its key alone."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.home.erasure.people import ANA, BOB, People, people

from varv.data import Dataset, Frame
from varv.data.privacy import Encrypt, Pseudonymise
from varv.data.privacy.encrypting import Encryptor
from varv.data.privacy.minimising import Minimiser
from varv.kernel.errors import InvalidDeclaration
from varv.kernel.purpose_keys import PurposeKeys
from varv.kernel.sealing import Place, is_sealed, opened, sealed

OWNED = {"email": Pseudonymise(), "name": Encrypt("email")}
ROWS = pl.DataFrame({"id": ["a", "b"], "email": [ANA, BOB], "name": ["Ana", "Bob"]})


@pytest.fixture
def keys(tmp_path):
    return PurposeKeys(tmp_path / "home.keys")


@pytest.fixture
def minimiser(keys):
    return Minimiser(OWNED, keys, "people", ("id",))


@pytest.fixture
def encryptor(keys):
    return Encryptor("people", ("id",), keys.subjects)


def test_the_same_row_is_the_same_bytes_through_every_door(minimiser, keys):
    stored = minimiser.frame(ROWS)
    assert stored.equals(minimiser.frame(stored))
    assert stored.equals(Minimiser(OWNED, PurposeKeys(keys.folder), "people", ("id",)).frame(ROWS))
    assert minimiser.rows(ROWS.to_dicts()) == stored.to_dicts()
    assert not set(stored["name"]) & set(ROWS["name"])


def test_a_value_opens_beside_its_subject_and_nowhere_else(minimiser, encryptor):
    stored = minimiser.frame(ROWS)
    assert encryptor.opened(stored, "name", "email").values == ["Ana", "Bob"]
    swapped = stored.with_columns(stored["name"].reverse())
    assert encryptor.opened(swapped, "name", "email") == ([None, None], 0, 2)
    moved = stored.rename({"name": "title"})
    assert encryptor.opened(moved, "title", "email") == ([None, None], 0, 2)


def test_without_its_key_a_value_is_lost_in_every_copy(minimiser, encryptor, keys):
    stored = minimiser.frame(ROWS)
    owner = encryptor.owner("email", stored["email"][0]).hex()
    assert keys.subjects.count([owner]) == 1
    keys.subjects.destroy([owner])
    assert keys.subjects.count([owner]) == 0
    assert encryptor.opened(stored, "name", "email") == ([None, "Bob"], 1, 0)
    # Merged once more, it is left as it is: to encrypt it again would make it look like a value.
    assert minimiser.frame(stored).equals(stored)
    # Whoever comes back is a new one.
    again = minimiser.frame(ROWS)
    assert again["name"][0] != stored["name"][0]
    assert encryptor.opened(again, "name", "email").values == ["Ana", "Bob"]
    assert b"Ana" not in (keys.folder / "subjects.db").read_bytes()
    assert (keys.folder / "subjects.db").stat().st_mode & 0o077 == 0


def test_a_key_that_another_process_has_destroyed_encrypts_nothing_more(minimiser, encryptor, keys):
    stored = minimiser.frame(ROWS)
    other = PurposeKeys(keys.folder).subjects
    other.destroy([encryptor.owner("email", stored["email"][0]).hex()])
    again = minimiser.frame(ROWS)
    assert encryptor.opened(again, "name", "email") == (["Ana", "Bob"], 0, 0)
    assert again["name"][1] == stored["name"][1]


@given(st.text(max_size=60))
def test_every_text_comes_back_and_no_change_of_it_does(tmp_path_factory, text):
    keys = PurposeKeys(tmp_path_factory.mktemp("keys")).subjects
    [key] = keys.of({keys.owner("d", "c", "who")}).values()
    place = Place("d", "c")
    found = sealed(text, place, key, keys)
    assert found == sealed(text, place, key, keys)
    assert is_sealed(found, keys)
    assert opened(found, place, key) == text
    middle = len(found) // 2
    changed = found[:middle] + ("A" if found[middle] != "A" else "B") + found[middle + 1 :]
    assert not is_sealed(changed, keys)
    assert opened(changed, place, key) is None


def test_a_text_that_looks_encrypted_is_encrypted_all_the_same(minimiser, encryptor):
    made_up = ROWS.with_columns(name=pl.lit("en-" + "A" * 80))
    stored = minimiser.frame(made_up)
    assert stored["name"][0] != made_up["name"][0]
    assert encryptor.opened(stored, "name", "email").values == made_up["name"].to_list()


@pytest.mark.parametrize(
    ("pii", "problem"),
    [
        ({"id": "encrypt"}, "cannot encrypt 'id'"),
        ({"at": "encrypt"}, "cannot encrypt 'at'"),
        ({"email": "encrypt:email"}, "does not name its subject"),
        ({"email": "encrypt:done_at"}, "does not name its subject"),
        ({"email": "encrypt:zip", "zip": "generalise:2"}, "does not name its subject"),
        ({"late": "encrypt"}, "nothing is encrypted"),
    ],
)
def test_what_nobody_could_own_is_refused(pii, problem):
    with pytest.raises(InvalidDeclaration, match=problem):
        people(pii=pii).types()


def test_stored_rows_are_encrypted_and_a_batch_that_comes_again_is_the_same(tmp_path):
    home = People(tmp_path / "home", dataset=people(pii={"email": "encrypt"})).fill()
    rows = home.datasets.read(home.dataset)
    assert rows["email"].str.starts_with("en-").all()
    version = home.datasets.version(home.dataset)
    again = home.datasets.read_part(home.dataset, "at").filter(id="k7")
    home.datasets.append(home.dataset, "at", again, segment="w-000009")
    assert home.datasets.version(home.dataset) == version
    found = Encryptor("people", ("id",), home.secret.purposes.subjects).opened(rows, "email", "")
    assert sorted(set(found.values)) == sorted({ANA.upper(), ANA, BOB})
    home.close()


def test_a_dataset_may_say_so_as_text():
    kinds = {"id": pl.String, "at": pl.Datetime("us", "UTC"), "name": pl.String}
    source = Frame(pl.DataFrame(schema=kinds))
    dataset = Dataset("people", source=source, key="id", event_time="at", pii={"name": "encrypt:id"})
    assert dataset.pii["name"] == Encrypt("id")
    assert str(dataset.pii["name"]) == "encrypt:id"
