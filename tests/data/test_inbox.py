"""The inbox: what can be known at the door is refused there, row by row, and what is accepted stays."""

from __future__ import annotations

import pytest
from tests.home.live_home import NOW, REQUEST, LiveHome
from tests.loop.synthetic import declared, parcels

from varv.data.views import DatasetsView
from varv.kernel.clock import DAY, HOUR, iso
from varv.kernel.errors import InvalidInput


@pytest.fixture
def model(lived, tmp_path):
    found = lived(tmp_path)
    yield found
    found.close()


@pytest.fixture(scope="module")
def shared(lived, tmp_path_factory):
    """One for all tests that leave it as it is."""
    found = lived(tmp_path_factory.mktemp("home"))
    yield found
    found.close()


def outcome(key, late=True, **more):
    return {"parcel": key, "late": late, **more}


def counts(model, part="arrived_at"):
    with model.home.views.reading(DatasetsView) as view:
        return view.arrivals.counts("parcels", part)


BAD = [
    ({"late": True}, "parcel", "is missing"),
    ({"parcel": "a"}, "late", "is missing"),
    ({"parcel": "a", "late": None}, "late", "is null"),
    ({"parcel": "a", "late": "yes"}, "late", "truth values"),
    ({"parcel": "a", "late": 7}, "late", "truth values"),
    ({"parcel": "a", "late": 0.5}, "late", "truth values"),
    ({"parcel": "a", "late": True, "colour": 1}, "colour", "does not exist"),
    ({"parcel": "a", "late": True, "arrived_at": "soon"}, "arrived_at", "ISO 8601"),
    ({"parcel": "a", "late": True, "arrived_at": "9999-01-01T00:00:00Z"}, "arrived_at", "out of range"),
    ({"parcel": "a", "late": True, "arrived_at": "1900-01-01T00:00:00Z"}, "arrived_at", "out of range"),
    ({"parcel": "a", "late": True, "delay": 1e12}, "delay", "impossible value"),
    ({"parcel": 7, "late": True}, "parcel", "texts"),
]


@pytest.mark.parametrize(("row", "column", "problem"), BAD)
def test_a_row_that_does_not_fit_is_refused_with_its_reason(shared, row, column, problem):
    with pytest.raises(InvalidInput, match=problem) as refused:
        shared.accept_outcomes([row])
    assert (refused.value.name, refused.value.facts["row"]) == (column, 0)
    assert shared.ingest() == 0


def test_bad_rows_cost_nothing_but_themselves(model):
    model.answering.answer(REQUEST, "r-1")
    model.ingest()
    rows = [row for row, *_ in BAD]
    accepted = model.accept_outcomes([outcome("r-1"), *rows, outcome("r-2")])
    assert (accepted.n_rows, accepted.n_refused) == (2, len(BAD))
    assert [(one.row, one.column) for one in accepted.refused] == [
        (number, column) for number, (_, column, _) in enumerate(BAD, start=1)
    ]
    assert all(problem in one.problem for one, (*_, problem) in zip(accepted.refused, BAD, strict=True))
    model.ingest()
    assert counts(model).n_quarantined == 0
    labelled = model.parts.predictions.labelled(NOW, NOW + 1, known_by=NOW + DAY)
    assert labelled["key"].to_list() == ["r-1"]


def test_where_all_rows_are_refused_each_is_named(shared):
    with pytest.raises(InvalidInput, match="is missing") as refused:
        shared.accept_outcomes([row for row, *_ in BAD])
    assert refused.value.facts["n_refused"] == len(BAD)
    assert [one["row"] for one in refused.value.facts["refused"]] == list(range(len(BAD)))


@pytest.mark.parametrize(("given", "kept"), [(1, 1), (0.0, 0), (True, 1), (1.0, 1), (0, 0)])
def test_an_outcome_may_be_a_truth_value_or_the_number_0_or_1(model, given, kept):
    model.answering.answer(REQUEST, "r-1")
    model.accept_outcomes([outcome("r-1", late=given)])
    model.ingest()
    assert model.parts.predictions.labelled(NOW, NOW + 1, known_by=NOW + DAY)["outcome"].to_list() == [kept]


def test_an_outcome_from_before_its_request_is_refused_and_one_without_a_time_never_is(model):
    model.answering.answer(REQUEST, "r-1")
    model.ingest()
    with pytest.raises(InvalidInput, match="is before its request"):
        model.accept_outcomes([outcome("r-1", arrived_at=iso(NOW - HOUR))])
    model.wall.hold(NOW - 1)  # a clock that was set back
    assert model.accept_outcomes([outcome("r-1")]).n_rows == 1
    model.wall.release()
    model.ingest()
    labelled = model.parts.predictions.labelled(NOW, NOW + 1, known_by=NOW + DAY)
    assert labelled["known_at"].to_physical().to_list() == [NOW]


def test_an_outcome_of_an_unknown_key_is_kept_counted_and_joins_its_request(model):
    first = model.accept_outcomes([outcome("r-1"), outcome("never")])
    assert (first.n_rows, first.n_unknown) == (2, 2)
    model.ingest()
    assert counts(model).n_waiting == 2
    model.answering.answer(REQUEST, "r-1")
    model.ingest()
    assert counts(model).n_waiting == 1
    labelled = model.parts.predictions.labelled(NOW, NOW + 1, known_by=NOW + DAY)
    assert labelled["key"].to_list() == ["r-1"]


def test_an_outcome_that_came_before_its_request_was_made_is_counted_and_not_used(model):
    model.accept_outcomes([outcome("r-1", arrived_at=iso(NOW))])
    model.ingest()
    model.clock.move_to(NOW + HOUR)
    model.answering.answer(REQUEST, "r-1")
    model.ingest()
    assert (counts(model).n_waiting, counts(model).n_early) == (0, 1)
    assert model.parts.predictions.labelled(NOW, NOW + DAY, known_by=NOW + DAY).is_empty()
    read = model.home.datasets.read(model.parts.schema.requests)
    assert read.filter(parcel="r-1")["late"].to_list() == [None]


def test_what_was_accepted_is_never_put_aside_for_its_company(model):
    """A delay that is new, but not impossible, passes alone; many of one request are refused at the door."""
    for number in range(8):
        assert model.accept_outcomes([outcome(f"x{number}", delay=90.0)]).n_rows == 1
    model.ingest()
    assert counts(model).n_quarantined == 0
    accepted = model.accept_outcomes(
        [outcome("fine", delay=1.0), *(outcome(f"y{number}", delay=90.0) for number in range(20))]
    )
    assert (accepted.n_rows, accepted.n_refused) == (1, 20)
    assert "range of delay" in accepted.refused[0].problem


def test_a_second_outcome_of_a_key_is_dropped_and_counted(model):
    model.answering.answer(REQUEST, "r-1")
    model.accept_outcomes([outcome("r-1", arrived_at=iso(NOW))])
    model.ingest()
    model.accept_outcomes([outcome("r-1", arrived_at=iso(NOW)), outcome("r-1", late=False)])
    model.ingest()
    assert (counts(model).n_equal, counts(model).n_different) == (1, 1)
    labelled = model.parts.predictions.labelled(NOW, NOW + 1, known_by=NOW + DAY)
    assert labelled["outcome"].to_list() == [1]


def test_outcomes_in_floats_are_learned_and_sent(tmp_path):
    past = parcels().with_columns(late=parcels()["late"].cast(float))
    found = LiveHome(tmp_path, declared(past).models[0])
    found.answering.answer(REQUEST, "r-1")
    found.accept_outcomes([outcome("r-1", late=True)])
    found.ingest()
    assert found.parts.predictions.labelled(NOW - 90 * DAY, NOW, known_by=NOW).height > 6000
    assert found.parts.predictions.labelled(NOW, NOW + 1, known_by=NOW + DAY)["outcome"].to_list() == [1]
    found.close()
