"""Searches of the registry and of logged models."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.home.tracking.registry_home import RegistryHome

from varv.home.tracking import registry_search
from varv.home.tracking.logged_search import Dataset, ModelOrder
from varv.kernel.errors import InvalidInput
from varv.registry import reading


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    made = RegistryHome(tmp_path_factory.mktemp("home"))
    run = made.begin()
    for name, tags in (("apple", {"team": "risk"}), ("Äpfel", {"team": "Growth"}), ("cherry", {})):
        made.register(name, tags=tags)
        for _ in range(3):
            made.version(name, run=run, tags=tags)
    made.register("greeting", tags={"mlflow.prompt.is_prompt": "true"})
    made.version("greeting", "word", run=run, tags={"mlflow.prompt.is_prompt": "true"})
    ids = {name: made.log_model(name=name, run=run, params={"depth": name[0]}) for name in ("a", "b", "c")}
    made.measure(run, ("loss", 0.5, 1, 0, ids["a"]), ("loss", 0.2, 2, 1, ids["a"], "train", "d1"))
    made.measure(run, ("loss", 0.4, 1, 0, ids["b"]), ("loss", float("nan"), 1, 0, ids["c"]))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("filter", "names"),
    [
        ("", ["apple", "cherry", "Äpfel"]),
        ("name LIKE '%p%'", ["apple", "Äpfel"]),
        ("name ILIKE 'ä%'", ["Äpfel"]),
        ("name LIKE 'ä%'", []),
        ("name IN ('cherry', 'none')", ["cherry"]),
        ("tags.team = 'risk'", ["apple"]),
        ("tags.team ILIKE 'growth'", ["Äpfel"]),
        ("tags.team != 'risk'", ["Äpfel"]),
        ("tags.`mlflow.prompt.is_prompt` = 'true'", ["greeting"]),
        ("tags.`mlflow.prompt.is_prompt` != 'true'", ["apple", "cherry", "Äpfel"]),
        ("name = 'it''s'", []),
    ],
)
def test_models_are_found_and_prompts_only_if_they_are_asked_for(home, filter, names):
    assert home.names(filter) == names


@pytest.mark.parametrize(
    "filter", ["colour = 'red'", "name", "name = 'a' OR name = 'b'", "metrics.x > 1", "name > 'a'"]
)
def test_a_filter_that_says_nothing_sensible_is_refused(home, filter):
    with pytest.raises(InvalidInput):
        home.names(filter)


@given(st.integers(1, 5), st.sampled_from(["name", "version_number", "creation_timestamp"]), st.booleans())
def test_pages_of_versions_are_the_whole_in_order(home, most, field, ascending):
    orders = [f"{field} {'ASC' if ascending else 'DESC'}"]
    pages, token = [], ""
    while True:
        with home.desk.recorder.reading() as db:
            page = registry_search.versions(db, orders=orders, most=most, token=token)
            pages += [(one.model, one.number) for one in reading.versions(db, page.numbers)]
        if not (token := page.token):
            break
    assert pages == home.numbers(orders=orders)
    assert len(set(pages)) == 9


def test_a_token_is_of_its_query_alone(home):
    with home.desk.recorder.reading() as db:
        token = registry_search.models(db, most=1).token
    for said in ({"token": token, "orders": ["name DESC"]}, {"token": "garbage"}, {"token": token[:-4]}):
        with pytest.raises(InvalidInput, match="token"):
            home.names(most=1, **said)


@pytest.mark.parametrize(
    ("filter", "datasets", "names"),
    [
        ("metrics.loss < 0.3", (), ["a"]),
        ("metrics.loss = 0.5", (), []),
        ("metrics.loss > 0", (Dataset("train"),), ["a"]),
        ("metrics.loss > 0", (Dataset("train", "other"),), []),
        ("", (Dataset("train", "d1"),), ["a"]),
        ("params.depth = 'b'", (), ["b"]),
        ("name IN ('a', 'c') AND params.depth LIKE '%'", (), ["c", "a"]),
        ("status = 'PENDING'", (), ["c", "b", "a"]),
    ],
)
def test_logged_models_are_compared_by_their_latest_metrics(home, filter, datasets, names):
    assert sorted(home.logged_names(filter, datasets=datasets)) == sorted(names)


def test_logged_models_without_a_metric_come_last(home):
    for ascending, names in ((True, ["a", "b", "c"]), (False, ["b", "a", "c"])):
        assert home.logged_names(orders=[ModelOrder("metrics.loss", ascending)]) == names
        pages = home.logged_names(orders=[ModelOrder("metrics.loss", ascending)], most=2)
        assert pages == names[:2]
