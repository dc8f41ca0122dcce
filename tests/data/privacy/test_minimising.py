"""Personal values are treated before anything is written, wherever rows come in."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.home.erasure.people import ANA, BOB, TYPES, People, base, people

from varv.data import Frame
from varv.data.dataset import Dataset
from varv.data.inbox import Inbox
from varv.data.privacy import Drop, Generalise, Pseudonymise
from varv.data.privacy.minimising import Minimiser, treatment_of
from varv.home.erasure.searching import search
from varv.kernel.errors import AlreadyExists, Corrupt, FailedPrecondition, InvalidDeclaration, NotFound
from varv.kernel.purpose_keys import PurposeKeys

PII = {"email": "pseudonymise", "age": Generalise(10)}


@pytest.fixture
def keys(tmp_path):
    return PurposeKeys(tmp_path / "home.keys")


@pytest.fixture
def home(tmp_path):
    found = People(tmp_path / "home", dataset=people(pii=PII))
    found.datasets.commit(found.datasets.register(found.dataset))
    yield found
    found.close()


def test_no_door_lets_a_raw_value_through(home):
    datasets, dataset = home.datasets, home.dataset
    datasets.append(dataset, "at", base(("k1", 1, ANA, 37), ("k2", 1, BOB, 38)), segment="w-1")
    datasets.merge(dataset, "at", base(("k1", 1, ANA, 41), ("k3", 1, ANA.upper(), 49)))
    bad = base(("k4", 1, ANA, 50)).with_columns(pl.lit(None, TYPES["at"]).alias("at"))
    datasets.append(dataset, "at", bad, segment="w-2")
    captured = []
    inbox = Inbox(datasets, [dataset], {}, home.clock, lambda _, rows: captured.extend(rows), max_rows=9)
    row = {"id": "k5", "at": "2013-01-02T00:00:00Z", "email": f" {ANA}", "age": 59}
    inbox.accept("people", "", [row])
    rows = datasets.read_part(dataset, "at")
    assert rows["age"].to_list() == [40, 30, 40]
    ana, bob, again = rows["email"].to_list()
    assert ana == again == captured[0]["email"] != bob
    assert captured[0]["age"] == 50
    assert search(home.folder, [ANA, BOB]).places == {}


def test_rows_that_were_read_can_be_written_again(home):
    home.datasets.append(home.dataset, "at", base(("k1", 1, ANA, 37)), segment="w-1")
    rows = home.datasets.read_part(home.dataset, "at")
    assert home.datasets.merge(home.dataset, "at", rows).n_unchanged == 1


def test_a_source_is_treated_as_it_is_read_and_not_without_keys(tmp_path, keys):
    rows = base(("k1", 1, ANA, 37)).with_columns(name=pl.lit("Ana"))
    pii = {**PII, "name": Drop()}
    data = Dataset("people", source=Frame(rows), key="email", event_time="at", pii=pii)
    assert list(data.types()) == ["id", "at", "email", "age"]
    with pytest.raises(FailedPrecondition, match="has personal columns, and no keys"):
        data.load()
    data.bind(keys)
    assert data.load()["email"].to_list() == [keys.pseudonym("pseudonyms", ANA)]


def test_what_is_declared_is_on_record_for_whoever_has_no_declaration(home):
    known = home.datasets.registered("people")
    assert known.pii == {"email": Pseudonymise(), "age": Generalise(10)}
    assert home.datasets.register(people(pii=PII)) == ()
    other = people(pii={"email": "pseudonymise"})
    [fact] = home.datasets.register(other)
    assert fact.event.treatments == {"email": "pseudonymise"}
    home.datasets.commit([fact])
    assert home.datasets.register(other) == ()
    assert home.datasets.registered("people").pii == {"email": Pseudonymise()}
    with pytest.raises(AlreadyExists, match="has lost the column age"):
        home.datasets.register(people(pii={"email": "pseudonymise", "age": "drop"}))


def test_a_pseudonym_is_known_by_its_key_alone(tmp_path, keys):
    one = keys.pseudonym("orders", ANA)
    assert keys.pseudonym("orders", one) == one
    assert keys.pseudonym("letters", ANA) != one
    forged = one[:-1] + ("a" if one[-1] != "a" else "b")
    assert keys.pseudonym("orders", forged) != forged
    assert PurposeKeys(tmp_path / "home.keys").pseudonym("orders", f"{ANA} ") == one
    assert PurposeKeys(tmp_path / "other.keys").pseudonym("orders", ANA) != one
    assert (tmp_path / "home.keys" / "orders.key").stat().st_mode & 0o777 == 0o600


def test_after_a_rotation_new_pseudonyms_differ_and_old_ones_are_known(keys):
    before = keys.pseudonym("orders", ANA)
    assert keys.rotate("orders") == 2
    assert keys.pseudonym("orders", ANA) != before
    assert keys.pseudonym("orders", before) == before
    assert set(keys.pseudonyms("orders", ANA)) == {before, keys.pseudonym("orders", ANA)}


def test_a_purpose_that_has_no_key_is_not_rotated(tmp_path, keys):
    keys.pseudonym("orders", ANA)
    with pytest.raises(NotFound, match="the purposes with keys are orders"):
        keys.rotate("order")
    assert [path.name for path in (tmp_path / "home.keys").iterdir()] == ["orders.key"]


def test_a_key_that_is_damaged_is_not_replaced(keys):
    keys.pseudonym("orders", ANA)
    (keys.folder / "orders.key").write_text("00")
    with pytest.raises(Corrupt, match="does not hold keys"):
        PurposeKeys(keys.folder).pseudonym("orders", ANA)


VALUES = {
    "text": (pl.String(), st.text(max_size=12)),
    "whole": (pl.Int64(), st.integers(-(2**53), 2**53)),
    "time": (pl.Datetime("us", "UTC"), st.integers(0, 2**50)),
}
CASES = [
    *(
        ("text", "pseudonymise"),
        ("whole", "pseudonymise"),
        ("text", "generalise:3"),
        ("whole", "generalise:7"),
    ),
    *(("time", "generalise:day"), ("time", "generalise:month"), ("time", "generalise:year")),
]


@pytest.mark.parametrize(("kind", "how"), CASES)
@given(data=st.data())
def test_rows_and_requests_are_treated_alike_and_twice_is_once(tmp_path_factory, kind, how, data):
    dtype, strategy = VALUES[kind]
    values = data.draw(st.lists(st.none() | strategy, min_size=1, max_size=5))
    keys = PurposeKeys(tmp_path_factory.getbasetemp() / "alike.keys")
    minimiser = Minimiser({"x": treatment_of(how)}, keys)
    rows = pl.DataFrame({"x": pl.Series(values, dtype=pl.Int64 if kind == "time" else dtype).cast(dtype)})
    once = minimiser.frame(rows)
    assert minimiser.frame(once).equals(once)
    plain = minimiser.columns({"x": values})["x"]
    found = once["x"].cast(pl.Int64).to_list() if kind == "time" else once["x"].to_list()
    assert plain == found


@pytest.mark.parametrize(
    ("pii", "problem"),
    [
        ({"email": "hide"}, "treatment 'hide' does not exist"),
        ({"email": "generalise:0"}, "does not say how coarse"),
        ({"at": "generalise:day"}, "cannot generalise:day 'at'"),
        ({"id": "drop"}, "cannot drop 'id'"),
        ({"id": "generalise:2"}, "cannot generalise:2 'id'"),
        ({"late": "pseudonymise"}, "of which no pseudonym is made"),
        ({"age": "generalise:month"}, "not for month"),
        ({"phone": "drop"}, "has no column 'phone'"),
        ({"email": "pseudonymise:No"}, "is not a valid name"),
    ],
)
def test_a_treatment_that_cannot_be_is_refused(pii, problem):
    with pytest.raises(InvalidDeclaration, match=problem):
        people(pii=pii).types()
