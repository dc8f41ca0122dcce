from __future__ import annotations

import json

import pytest
from msgspec.structs import replace
from tests.home.alarming import alarming

from varv.features.skew import FeatureSkew
from varv.fronts.web.console import create_console
from varv.home.change.model import ChangePlanned, ChangeSwitched, PreparationFailed
from varv.home.skew.model import SkewMeasured
from varv.kernel.clock import HOUR, Instant
from varv.kernel.ledger import Append, Change
from varv.loop.model import PolicyChanged, RowsMatured
from varv.loop.views import LoopView
from varv.loop.weighing.model import BenefitPolicy, BenefitWeighed, Price
from varv.monitoring.model import Window
from varv.project.planned import ModelChange, Plan

from .browsing import Tree, get
from .history import HOSTILE, MODEL, START, empty, held_rows, history

LISTS = ["/", "/models", "/rollouts", "/monitors", "/data", "/ledger"]
DETAILS = [
    "/models/late-arrival",
    "/models/late-arrival/versions/1",
    "/models/late-arrival/versions/3",
    "/rollouts/late-arrival/1",
    "/rollouts/late-arrival/2",
    "/rollouts/late-arrival/5?turn=1",
    "/monitors/late-arrival",
    "/monitors/late-arrival?from=2013-02-10&to=2013-02-20",
    "/monitors/late-arrival?from=2020-01-01",
    "/data/flights",
    "/data/flights?before=20",
    "/data/flights/profile",
    "/data/flights/profile?part=arrived_at",
    "/data/flights/impact",
    "/data/flights/impact?column=temp",
    "/ledger?name=rollout.stepped",
    "/ledger?stream=loop/late-arrival&before=100",
    "/ledger?name=nothing.such",
    "/ledger/1",
    "/ledger/60",
]


@pytest.fixture(scope="module")
def console():
    views, ledger = history()
    return create_console(views, ledger)


@pytest.fixture(scope="module")
def bare():
    views, ledger = empty()
    return create_console(views, ledger)


def beside(path: str) -> str:
    path, _, query = path.partition("?")
    return ("/overview" if path == "/" else path) + ".json" + (f"?{query}" if query else "")


@pytest.mark.parametrize("path", LISTS + DETAILS)
def test_a_page_is_sound_html_under_a_strict_policy(console, path):
    answer = get(console, path)
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    tree = Tree(answer.text)
    assert tree.faults == []
    assert len(tree.all("h1")) == 1
    assert tree.all("a")[0]["href"] == "#main"
    assert not any("style" in attributes or "onclick" in attributes for _, attributes in tree.elements)
    ids = [attributes["id"] for _, attributes in tree.elements if "id" in attributes]
    assert sorted(set(ids)) == sorted(ids)


@pytest.mark.parametrize("path", LISTS + DETAILS)
def test_a_page_has_its_numbers_as_json_beside_it(console, path):
    answer = get(console, beside(path))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert {"title", "as_of", "times"} <= set(json.loads(answer.text))
    assert beside(path).replace("&", "&amp;") in get(console, path).text


@pytest.mark.parametrize("path", LISTS)
def test_an_empty_page_says_what_to_do(bare, path):
    answer = get(bare, path)
    assert answer.status_code == 200
    assert 'class="empty"' in answer.text
    assert Tree(answer.text).faults == []
    assert get(bare, beside(path)).status_code == 200


@pytest.mark.parametrize("path", LISTS + DETAILS)
def test_hostile_names_in_events_stay_text(console, path):
    own = '<script src="/static/links.js'
    assert "<script" not in get(console, path).text.replace(own, "")


def test_a_hostile_name_is_shown_as_it_is(console):
    assert HOSTILE in Tree(get(console, "/monitors/late-arrival").text).text
    assert HOSTILE in Tree(get(console, "/rollouts/late-arrival/5").text).text


@pytest.mark.parametrize("path", LISTS + DETAILS)
def test_a_page_is_small(console, path):
    assert len(get(console, path).content) < 40_000


def test_a_page_that_has_not_changed_costs_a_304():
    views, ledger = history()
    console = create_console(views, ledger)
    first = get(console, "/")
    again = get(console, "/", {"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    counted = RowsMatured(n_rows=99_999, through=START)
    ledger.commit(Change(at=Instant(START), facts=(Append(f"loop/{MODEL}", counted),)))
    changed = get(console, "/", {"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200
    assert "99,999" in changed.text


def test_skew_of_served_features_is_shown_with_what_it_looks_like():
    views, ledger = history()
    window = Window(Instant(START), Instant(START + HOUR))
    feature = FeatureSkew(name="recent.temp", n=200, different=3, other_entity=2, fresh=HOUR, in_time=197)
    measured = SkewMeasured(
        model=MODEL,
        window=window,
        n_requests=900,
        n_compared=200,
        features=(feature,),
        left_out={HOSTILE: "x"},
    )
    ledger.commit(Change(at=Instant(START), facts=(Append(f"skew/{MODEL}", measured),)))
    page = Tree(get(create_console(views, ledger), "/monitors/late-arrival").text)
    assert page.faults == []
    assert "1.5 % different (2 right for another entity)" in page.text
    assert "98.5 % within 1h" in page.text


def test_two_renderings_of_one_ledger_are_the_same(console):
    assert get(console, "/monitors/late-arrival").content == get(console, "/monitors/late-arrival").content


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/models/nix", "late-arrival"),
        ("/models/late-arrival/versions/77", "v1, v2, v3, v4, v5"),
        ("/models/late-arrival/versions/x", "whole number"),
        ("/rollouts/late-arrival/4", "those of v1"),
        ("/rollouts/late-arrival/2?turn=9", "turns 1 to 1"),
        ("/monitors/nix", "late-arrival"),
        ("/data/nix", "flights"),
        ("/data/flights/impact?column=nix", "temp"),
        ("/ledger/999999", "entries 1 to"),
        ("/ledger/" + "9" * 17, "entries 1 to"),
        ("/nix", "/rollouts"),
    ],
)
def test_what_is_not_there_is_a_404_that_names_what_is(console, path, names):
    answer = get(console, path)
    assert answer.status_code == 404
    assert names in Tree(answer.text).text
    assert Tree(answer.text).faults == []
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert json.loads(get(console, beside(path)).text)["error"]["status"] == 404


@pytest.mark.parametrize(
    "path",
    [
        "/ledger?before=-1",
        "/ledger?before=" + "9" * 5000,
        "/ledger/" + "9" * 5000,
        "/monitors/late-arrival?from=yesterday",
        "/monitors/late-arrival?from=2013-03-01&to=2013-02-01",
        "/rollouts/late-arrival/2?turn=two",
    ],
)
def test_a_query_that_cannot_be_understood_is_a_400_that_says_what_to_write(console, path):
    answer = get(console, path)
    assert answer.status_code == 400
    assert Tree(answer.text).faults == []


def test_the_console_changes_nothing(console):
    answer = get(console, "/models/late-arrival", method="POST")
    assert answer.status_code == 405
    assert "only answers GET" in answer.text


def test_a_planted_version_is_marked_wherever_it_appears(console):
    for path in (
        "/models/late-arrival",
        "/models/late-arrival/versions/3",
        "/rollouts",
        "/rollouts/late-arrival/3",
    ):
        assert 'class="planted">planted' in get(console, path).text


def test_the_overview_names_what_needs_a_person(console):
    text = Tree(get(console, "/").text).text
    assert "late-arrival v5: doubtful" in text
    assert "flights: 883 rows of 2 batches in quarantine" in text
    needs = json.loads(get(console, "/overview.json").text)["needs"]
    assert [need["status"]["word"] for need in needs] == ["Held", "Warning alarm", "Quarantined"]


def test_the_strip_has_a_word_and_a_number_for_every_stage(console):
    (loop,) = json.loads(get(console, "/overview.json").text)["loops"]
    stages = {stage["name"]: (stage["status"]["word"], stage["number"]) for stage in loop["stages"]}
    assert stages == {
        "Data": ("883 quarantined", "96 batches"),
        "Features": ("2 drifted, harmless", "5 features"),
        "Training": ("Ready", "4 retrains"),
        "Registry": ("v2 champion", "5 versions"),
        "Rollout": ("Shadow, held", "4 so far"),
        "Serving": ("v2 serving", "43,200 answered"),
        "Monitoring": ("1 alarm open", "2 alarms so far"),
        "Labels": ("100 % arrived", "65,150 outcomes"),
    }


def test_following_is_asked_for_in_the_url(console):
    assert "http-equiv" not in get(console, "/").text
    assert '<meta http-equiv="refresh"' in get(console, "/?follow=1").text


def test_a_filter_of_the_ledger_finds_what_it_names_and_keeps_itself_in_the_links(console):
    found = json.loads(get(console, "/ledger.json?name=data.version_appended").text)
    assert {row["name"] for row in found["rows"]} == {"data.version_appended"}
    assert [row["seq"] for row in found["rows"]] == sorted(
        (row["seq"] for row in found["rows"]), reverse=True
    )
    older = f"?before={found['older']}&amp;name=data.version_appended"
    assert older in get(console, "/ledger?name=data.version_appended").text


def test_pages_of_the_ledger_hold_every_entry_once(console):
    seen: list[int] = []
    before = ""
    while before is not None:
        page = json.loads(get(console, f"/ledger.json?before={before}").text)
        seen += [row["seq"] for row in page["rows"]]
        before = page["older"]
    assert seen == list(range(page["head"]["seq"], 0, -1))


def test_an_entry_shows_what_led_to_it_and_what_it_led_to(console):
    found = json.loads(get(console, "/ledger.json?name=loop.gates_judged").text)["rows"][0]
    page = json.loads(get(console, f"/ledger/{found['seq']}.json").text)
    assert [row["name"] for row in page["chain"]] == [
        "monitoring.alarm_raised",
        "loop.retrain_triggered",
        "registry.version_registered",
    ]
    assert page["effects"][0]["name"] == "rollout.started"
    assert page["data"]["passed"] is True


def test_a_range_of_days_shows_only_those(console):
    page = json.loads(get(console, "/monitors/late-arrival.json?from=2013-02-10&to=2013-02-20").text)
    assert len(page["series"]) == 10


@pytest.mark.slow
def test_every_link_leads_somewhere(console):
    waiting, seen = ["/"], set()
    while waiting and len(seen) < 200:
        path = waiting.pop(0)
        if path in seen or path.startswith("#"):
            continue
        seen.add(path)
        answer = get(console, path.partition("#")[0])
        assert answer.status_code == 200, path
        if answer.headers["content-type"].startswith("text/html"):
            base = path.partition("?")[0].partition("#")[0]
            links = [one["href"] for one in Tree(answer.text).all("a")]
            waiting += [base + link if link.startswith("?") else link for link in links]
    assert len(seen) == 200


def test_static_files_may_be_kept_for_long(console):
    answer = get(console, "/static/varv.css")
    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"].startswith("text/css")


def test_rows_in_quarantine_are_shown_with_their_reasons_and_nothing_of_them_is_markup(tmp_path):
    views, ledger = history()
    console = create_console(views, ledger, columns=held_rows(tmp_path))
    page = get(console, "/data/flights/quarantine/requested_at/day-021")
    assert Tree(page.text).faults == []
    assert "impossible value of temp" in page.text
    assert "<script" not in page.text
    assert (
        len(json.loads(get(console, "/data/flights/quarantine/requested_at/day-021.json").text)["rows"]) == 3
    )


def test_rows_that_were_deleted_leave_a_page_that_says_so(console):
    page = get(console, "/data/flights/quarantine/requested_at/day-020-again")
    assert "not kept any more" in page.text
    assert get(console, "/data/flights/quarantine/requested_at/day-099").status_code == 404


def test_the_data_pages_count_what_was_left_out(console):
    found = json.loads(get(console, "/data.json").text)
    base = next(one for one in found["parts"] if one["part"] == "requested_at")
    assert (base["n_equal"], base["n_different"], base["n_quarantined"]) == (7, 2, 883)
    assert [one["reason"] for one in found["reasons"]] == [
        "batch: out of range of temp",
        "impossible value of temp",
    ]


def test_what_a_training_printed_is_shown_as_text_and_changes_without_the_ledger(tmp_path):
    views, ledger = history()
    console = create_console(views, ledger, home=tmp_path)
    path = f"/models/{MODEL}/versions/1/output"
    file = tmp_path / "output" / MODEL / "1.log"
    file.parent.mkdir(parents=True)
    file.write_text(f"epoch 1 {HOSTILE}\n")
    answer = get(console, path)
    tree = Tree(answer.text)
    assert (answer.status_code, tree.faults) == (200, [])
    assert f"epoch 1 {HOSTILE}" in tree.text
    assert "etag" not in answer.headers
    file.write_text("epoch 2\n")
    assert "epoch 2" in get(console, path).text
    assert json.loads(get(console, f"{path}.json").text)["text"] == "epoch 2\n"


def test_a_console_without_a_home_shows_no_output(console):
    assert get(console, f"/models/{MODEL}/versions/1/output").status_code == 404
    assert get(console, f"/models/{MODEL}/versions/99/output").status_code == 404


def test_changes_of_the_declaration_are_listed_and_one_that_failed_needs_a_person():
    views, ledger = empty()
    change = ModelChange(model=MODEL, act="change", added=(HOSTILE,))
    planned = ChangePlanned(number=1, plan=Plan(models=(change,)), prepared=(MODEL,))
    failed = PreparationFailed(number=1, model=MODEL, reason="a column is gone")
    facts = tuple(Append("change/1", event) for event in (planned, ChangeSwitched(number=1), failed))
    ledger.commit(Change(at=START, facts=facts))
    answer = get(create_console(views, ledger), "/")
    tree = Tree(answer.text)
    assert tree.faults == []
    assert "Change failed" in answer.text
    assert "could not be prepared: a column is gone" in answer.text
    assert HOSTILE not in answer.text
    assert "/ledger/1" in {found["href"] for found in tree.all("a")}


def test_a_model_that_weighs_its_trainings_shows_the_price_and_how_the_last_weighing_came_out():
    views, ledger = history()
    views.catch_up()
    with views.reading(LoopView) as loops:
        policy = loops.loops[MODEL].policy
    worth = replace(policy, benefit=BenefitPolicy(Price(100.0, said="0.01 on 10000 requests"), 0.9))
    weighed = BenefitWeighed(
        model=MODEL,
        version=2,
        through=START,
        periods=(),
        known=(),
        n_periods=5,
        n_pairs=12,
        coefficients=(0.001, 0.0, 0.0002),
        predicted=61.2,
        at_least=33.4,
        at_most=80.0,
        price=100.0,
        certainty=0.9,
        is_due=False,
    )
    told = [PolicyChanged(policy=worth, declaration="e" * 64), weighed]
    facts = tuple(Append(f"loop/{MODEL}", event) for event in told)
    ledger.commit(Change(at=Instant(START + 60 * 86_400_000_000), facts=facts))
    answer = get(create_console(views, ledger), f"/models/{MODEL}")
    tree = Tree(answer.text)
    assert tree.faults == []
    assert "100.0 (0.01 on 10000 requests), 90 % certain" in answer.text
    assert "a fresh model would have saved 61.2 of summed loss since the last training" in answer.text


def test_the_overview_lists_open_alarms_each_with_its_page_and_what_to_do():
    views, ledger = alarming()
    answer = get(create_console(views, ledger), "/")
    assert Tree(answer.text).faults == []
    needs = json.loads(get(create_console(views, ledger), "/overview.json").text)["needs"]
    assert [(one["status"]["word"], one["href"]) for one in needs] == [
        ("Data alarm", "/data/parcels"),
        *[("Data alarm", "/data/trips")] * 3,
        ("Features alarm", "/monitors/late-parcel#skew"),
        ("Labels alarm", "/labels"),
    ]
    assert needs[0]["todo"].endswith("varv data pull parcels.")
