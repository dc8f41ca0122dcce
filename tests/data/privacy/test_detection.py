"""Columns that may be personal are proposed by their names or their values, and nothing else is."""

from __future__ import annotations

import polars as pl
import pytest

from varv.data.privacy.anonymity import anonymity
from varv.data.privacy.detection import proposals
from varv.data.privacy.identifiers import IDENTIFIERS, is_ip, is_phone
from varv.data.privacy_verbs import AnonymityRequest, PiiRequest, find_pii, measure_anonymity
from varv.data.versioning.verbs import offline_versions
from varv.kernel.errors import InvalidInput, NotFound

SAMPLES = {
    "e-mail address": "ana.maria+x@mail.example.org",
    "telephone number": "+49 30 901820",
    "account number (IBAN)": "GB82 WEST 1234 5698 7654 32",
    "card number": "5555 5555 5555 4444",
    "internet address": "2001:db8::1",
    "US social security number": "219-09-9999",
    "Spanish DNI or NIE": "12345678Z",
    "Dutch BSN": "111222333",
    "Polish PESEL": "44051401359",
    "German tax number": "86095742719",
    "French INSEE number": "184127645108946",
    "British national insurance number": "AB123456C",
}


@pytest.mark.parametrize("identifier", IDENTIFIERS, ids=lambda one: one.kind)
def test_every_kind_knows_its_own_and_no_other(identifier):
    passing = {kind for kind, text in SAMPLES.items() if identifier.is_one(text)}
    assert passing == {identifier.kind}


def test_a_share_of_identifiers_is_told_with_its_interval():
    texts = [f"user{n}@example.org" if n % 4 == 0 else "unknown" for n in range(400)]
    [found] = proposals(pl.DataFrame({"contact": texts}))
    assert (found.kind, found.by, found.share) == ("e-mail address", "values", 0.25)
    assert found.low < 0.25 < found.high


def test_plain_numbers_and_words_are_proposed_as_nothing():
    # One number in eleven passes for a citizen's, and one in ten for a card's.
    rows = pl.DataFrame(
        {
            "amount": range(100_000_000, 100_005_000),
            "order": [str(4_000_000_000_000_000 + 7 * n) for n in range(5000)],
            "city": ["Lisbon", "Porto"] * 2500,
            "at": pl.Series([0] * 5000).cast(pl.Datetime("us", "UTC")),
            "score": [0.5] * 5000,
        }
    )
    assert proposals(rows) == []
    assert not is_phone("2013-01-01")
    assert not is_ip("12345")


def test_names_are_enough_for_a_proposal_and_declared_columns_are_left_out():
    rows = pl.DataFrame({"Last_Name": ["x"], "zip": ["1"], "dob": [None], "email": [None]})
    assert {one.column: one.treatment for one in proposals(rows, ["email"])} == {
        "Last_Name": "drop",
        "zip": "generalise:3",
        "dob": "drop",
    }


def test_classes_and_their_outcomes_are_counted_and_a_way_out_is_suggested():
    ages = [20 + n % 40 for n in range(400)]
    zips = [f"{10000 + n % 7}" for n in range(400)]
    rows = pl.DataFrame({"age": ages, "zip": zips, "ill": [age > 40 for age in ages]})
    found = anonymity(rows, ["age", "zip"], outcome="ill", k=5)
    assert (found.n_rows, found.n_classes, found.min_k, found.share_below) == (400, 280, 1, 1.0)
    assert (found.min_l, found.share_told) == (1, 1.0)
    assert found.without_it == 0.0
    assert found.suggestion is not None
    assert found.suggestion.share_below == 0.0
    assert found.suggestion.min_k >= 5
    crowd = anonymity(rows.with_columns(age=0, zip=pl.lit("1")), ["age", "zip"], outcome="ill")
    assert (crowd.min_k, crowd.min_l, crowd.share_told, crowd.suggestion) == (400, 2, 0.0, None)


def test_what_is_asked_of_nothing_is_refused():
    rows = pl.DataFrame({"age": [1]})
    with pytest.raises(NotFound, match="column 'size'"):
        anonymity(rows, ["size"])
    with pytest.raises(InvalidInput):
        anonymity(rows, ["age", "age"])
    assert anonymity(rows.clear(), ["age"]).share_below == 0.0


def test_a_stored_dataset_is_looked_through(tmp_path):
    from tests.home.erasure.people import People

    home = People(tmp_path / "home").fill()
    desk = offline_versions(home.folder, home.ledger, home.views, home.clock, lambda _: {})
    found = find_pii(desk, PiiRequest(dataset="people"))
    assert [(one.column, one.by) for one in found.proposals] == [("email", "values")]
    told = measure_anonymity(desk, AnonymityRequest(dataset="people@3", columns=("email",), k=2))
    assert (told.n_rows, told.min_k) == (3, 1)
    home.close()
