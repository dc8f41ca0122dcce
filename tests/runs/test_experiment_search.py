from __future__ import annotations

import pytest

from varv.kernel.errors import InvalidInput
from varv.runs import reading
from varv.runs.experiment_search import ExperimentQuery, experiment_page

TEAMS = {"apple": "risk", "Banana": "ops", "cherry": None}


@pytest.fixture
def three(home):
    for name, team in TEAMS.items():
        home.do(home.tracking.experiments.create(name, tags={"team": team} if team else {}))
    return home


def page(home, filter="", *orders, **asked):
    with home.tracking.recorder.reading() as db:
        found = experiment_page(db, ExperimentQuery(filter, orders, **asked))
        return [one.name for one in reading.experiments(db, found.runs)], found.token


def names(home, filter="", *orders, **asked):
    return page(home, filter, *orders, **asked)[0]


def test_experiments_are_found_by_name_time_id_and_tag(three):
    assert names(three, "name LIKE '%a%'", "name") == ["Banana", "Default", "apple"]
    assert names(three, "name ILIKE 'b%' and creation_time > 0") == ["Banana"]
    assert names(three, "tags.team != 'ops'") == ["apple"]
    assert names(three, "tags.team IS NULL", "name DESC") == ["cherry", "Default"]
    assert names(three, "experiment_id IN ('0', '1')", "experiment_id DESC") == ["apple", "Default"]
    with pytest.raises(InvalidInput, match="integer"):
        names(three, "experiment_id = 'x'")


@pytest.mark.parametrize("orders", [(), ("name DESC",), ("experiment_id",), ("last_update_time", "name")])
def test_pages_of_experiments_are_the_whole(three, orders):
    whole = names(three, "", *orders)
    found, token = page(three, "", *orders, most=1)
    while token:
        three.do(three.tracking.experiments.tag("0", {"team": "x"})) if orders == ("name DESC",) else None
        more, token = page(three, "", *orders, most=1, token=token)
        found += more
    assert found == whole
    assert sorted(whole) == ["Banana", "Default", "apple", "cherry"]


def test_deleted_experiments_are_found_when_asked_for(three):
    three.do(three.tracking.experiments.move("1", deleted=True))
    assert "apple" not in names(three)
    assert names(three, view="DELETED_ONLY") == ["apple"]
    assert len(names(three, view="ALL")) == 4


def test_a_page_of_experiments_is_of_the_query_of_its_token(three):
    token = page(three, "", "name", most=1)[1]
    for asked in ({"token": "garbage"}, {"token": token}, {"most": 0}, {"most": 50_001}):
        with pytest.raises(InvalidInput):
            page(three, **asked)
