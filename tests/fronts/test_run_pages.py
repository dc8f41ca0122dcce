"""Pages of runs: sound and escaped whatever names say, complete as JSON, and for those who may read."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.requests import Request
from tests.app.serving import eventually
from tests.home.tracking.logged_files import log_files, safe, unsafe
from tests.home.tracking.registry_home import RegistryHome

from varv.app.compose import open_views
from varv.fronts.web import live
from varv.fronts.web.console import create_console
from varv.fronts.web.live import Live
from varv.kernel.errors import Unauthenticated
from varv.runs.verbs import StopRequest, stop

from .browsing import Tree, get
from .tracked import HOSTILE, KEYED, SVG, Tracked, png

N_PAGES = 18


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    made = Tracked(tmp_path_factory.mktemp("home"))
    yield made
    made.home.close()


@pytest.fixture(scope="module")
def console(tracked):
    return tracked.console()


def beside(path):
    path, _, query = path.partition("?")
    return f"{path}.json{'?' if query else ''}{query}"


def data_of(console, path):
    answer = get(console, beside(path))
    assert answer.status_code == 200
    return json.loads(answer.text)


def test_every_page_is_named(tracked):
    assert len(tracked.pages()) == N_PAGES


def posted(console, path, **headers):
    return get(console, path, headers=headers, method="POST")


@pytest.fixture
def scripted(tracked):
    return tracked.home.begin(name="script", tags={"varv.capture": "0" * 64})


def test_a_run_that_heeds_it_is_stopped_from_its_page(tracked, scripted):
    def ask(request, run):
        stop(tracked.home.tracking, StopRequest(run=run, by="Ana <b>"))

    console, path = tracked.console(stop=ask), f"/runs/{scripted}"
    page = get(console, path)
    forms = [given for tag, given in Tree(page.text).elements if tag == "form" and given["method"] == "post"]
    assert [given["action"] for given in forms] == [f"{path}/stop"]
    assert page.headers["referrer-policy"] == "same-origin"
    answer = posted(console, f"{path}/stop", origin="http://console")
    assert (answer.status_code, answer.headers["location"]) == (303, path)
    assert tracked.home.run(scripted).tags["varv.stop"] == "Ana <b>"
    again = get(console, path)
    assert "Asked to end by Ana &lt;b&gt;" in again.text
    assert 'method="post"' not in again.text
    tracked.home.do(tracked.home.tracking.update_run(scripted, status="KILLED", ended_ms=1))
    assert "Asked to end" not in get(console, path).text
    assert posted(console, f"{path}/stop").status_code == 409


def test_no_other_site_and_nobody_who_may_not_stops_a_run(tracked, scripted):
    asked = []

    def refuse(request, run):
        asked.append(run)
        raise Unauthenticated("request", "/", "needs a token")

    console, path = tracked.console(stop=refuse), f"/runs/{scripted}/stop"
    for origin in ("http://evil.example", "null"):
        assert posted(console, path, origin=origin).status_code == 403
    assert asked == []
    assert posted(console, path).status_code == 401
    assert get(console, path).status_code == 405
    assert posted(tracked.console(), path).status_code == 404
    assert posted(console, f"/runs/{'f' * 32}/stop").status_code == 404


def test_a_run_that_nobody_watches_has_no_button(tracked, console):
    assert 'method="post"' not in get(console, f"/runs/{tracked.runs[0]}").text


@pytest.mark.parametrize("number", range(N_PAGES))
def test_a_page_is_sound_small_and_shows_markup_as_text(tracked, console, number):
    path = tracked.pages()[number]
    answer = get(console, path)
    assert answer.status_code == 200
    tree = Tree(answer.text)
    assert tree.faults == []
    assert len(tree.all("h1")) == 1
    assert not any("style" in attributes or "onerror" in attributes for _, attributes in tree.elements)
    assert all(one.get("src", "").startswith("/static/") for one in tree.all("script"))
    assert all(one["src"].startswith("/runs/") for one in tree.all("img"))
    ids = [attributes["id"] for _, attributes in tree.elements if "id" in attributes]
    assert sorted(set(ids)) == sorted(ids)
    assert len(answer.content) < 60_000
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert data_of(console, path)["title"]


def test_a_hostile_name_is_shown_as_it_is(tracked, console):
    for path in tracked.pages()[2:7]:
        assert HOSTILE[:40] in Tree(get(console, path).text).text


def test_a_page_may_run_a_script_only_if_it_has_one(tracked, console):
    scripted = get(console, f"/runs/{tracked.runs[0]}")
    ended = get(console, f"/runs/{tracked.runs[1]}")
    assert "script-src 'self'" in scripted.headers["content-security-policy"]
    assert Tree(scripted.text).all("script")[0]["data-from"] == f"/live?run={tracked.runs[0]}"
    assert "script-src" not in ended.headers["content-security-policy"]
    assert Tree(ended.text).all("script") == []
    assert '<noscript><meta http-equiv="refresh"' in scripted.text


def test_an_unchanged_overview_keeps_the_policy_of_its_script(console):
    first = get(console, "/")
    again = get(console, "/", {"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert "content-security-policy" not in again.headers


def test_runs_are_filtered_ordered_and_grouped_by_the_address(tracked, console):
    path = f"/experiments/{tracked.experiment}"
    where = f"{path}?where=params.depth='1' or params.depth='3'&order=metrics.loss"
    found = data_of(console, where)
    assert [run["params"]["depth"] for group in found["groups"] for run in group["rows"]] == ["3", "1"]
    grouped = data_of(console, f"{path}?group=params.{KEYED}")
    assert [len(one["rows"]) for one in grouped["groups"]] == [2, 2]
    assert [one["name"] for one in found["params"]] == ["depth"]
    assert found["equal"].keys() == {"kind", KEYED}


def test_a_folder_holds_the_runs_whose_names_begin_so(tracked, console):
    path = f"/experiments/{tracked.experiment}"
    folders = data_of(console, path)["folders"]
    assert [one["name"] for one in folders] == [f"{HOSTILE}/"]
    assert data_of(console, folders[0]["href"])["n_shown"] == 4


@pytest.mark.parametrize(
    "query", ["where=foo(", "order=metrics.loss%20sideways", "group=depth", "values=mean", "after=zz"]
)
def test_what_is_not_understood_is_a_400_that_says_so(tracked, console, query):
    answer = get(console, f"/experiments/{tracked.experiment}?{query}")
    assert answer.status_code == 400
    assert Tree(answer.text).faults == []


@pytest.mark.parametrize(
    "path", ["/experiments/nix", "/runs/nix", "/runs/nix/artifacts", "/compare?runs=nix&runs=nox"]
)
def test_what_is_not_there_is_a_404(console, path):
    assert get(console, path).status_code == 404


def test_a_picture_is_sent_as_what_its_bytes_are(tracked, console):
    run = tracked.runs[0]
    answer = get(console, f"/runs/{run}/picture?path=plot.png")
    assert (answer.content, answer.headers["content-type"]) == (png(), "image/png")
    assert answer.headers["content-security-policy"].startswith("sandbox")
    for path in ("bad.svg", "text.txt", "nix"):
        assert get(console, f"/runs/{run}/picture?path={path}").status_code == 404


def test_a_drawing_that_is_text_is_shown_as_text(tracked, console):
    page = get(console, f"/runs/{tracked.runs[0]}/artifacts?path=bad.svg").text
    assert SVG.decode() in Tree(page).text
    assert "<script>" not in page


def test_a_comparison_shows_what_differs_and_the_best(tracked, console):
    found = data_of(console, f"/compare?runs={','.join(tracked.runs)}")
    assert {"depth", KEYED} <= {row["name"] for row in found["rows"]}
    assert not any(row["name"] == "kind" for row in found["rows"])
    loss = next(row for row in found["measured"] if row["name"] == "loss")
    assert (loss["goal"], loss["best"]) == ("min", 3)
    assert {len(one["x"]) for one in found["curves"]["loss"]["curves"]} == {9}


def test_the_same_text_of_two_runs_is_compared_by_its_lines(tracked, console):
    one, other = tracked.runs[:2]
    diff = data_of(console, f"/compare?runs={one}&runs={other}&file=text.txt")["diff"]
    assert diff["lines"][-2:] == ["-line 0", "+line 1"]
    picture = data_of(console, f"/compare?runs={one}&runs={other}&file=plot.png")["diff"]
    assert (picture["is_text"], picture["lines"]) == (False, [])
    assert get(console, f"/compare?runs={one}&runs={other}&file=nix").status_code == 404


def test_who_may_not_read_runs_sees_none(tracked):
    def refuse(request):
        raise Unauthenticated("request", "", "needs a token")

    console = tracked.console(allow=refuse)
    shut = [path for path in tracked.pages() if path != "/models"]
    for path in (*shut, *map(beside, shut), f"/runs/{tracked.runs[0]}/picture?path=plot.png", "/live?run=x"):
        answer = get(console, path)
        assert (path, answer.status_code) == (path, 401)
        assert answer.headers["www-authenticate"].startswith("Basic")
    assert "Registered by clients" not in get(console, "/models").text
    assert "Registered by clients" in get(tracked.console(), "/models").text


def test_without_tracking_the_page_says_so(tracked):
    bare = create_console(open_views(tracked.home.ledger), tracked.home.ledger)
    assert get(bare, "/experiments").status_code == 404
    assert get(bare, "/models").status_code == 200


def test_every_link_leads_somewhere(tracked, console):
    waiting, seen = [f"/experiments/{tracked.experiment}", *tracked.pages()], set()
    while waiting and len(seen) < 120:
        path = waiting.pop(0).partition("#")[0]
        if not path or path in seen or path.startswith("/get-artifact"):
            continue
        seen.add(path)
        answer = get(console, path)
        assert (path, answer.status_code) == (path, 200)
        if answer.headers["content-type"].startswith("text/html"):
            tree = Tree(answer.text)
            waiting += [one["href"] for kind in ("a", "link") for one in tree.all(kind)]
            waiting += [one["src"] for kind in ("img", "script") for one in tree.all(kind)]
    assert len(seen) > 60


# Live


def asked(query, headers=()):
    raw = [(name.encode(), value.encode()) for name, value in headers]
    return Request(
        {"type": "http", "method": "GET", "path": "/live", "query_string": query.encode(), "headers": raw}
    )


async def told(stream, query, act=lambda: None, *, turns=3, headers=()):
    answer = await stream.stream(asked(query, headers))
    parts = []
    async for part in answer.body_iterator:
        parts.append(part.decode())
        if len(parts) == 1:
            act()
        if len(parts) > turns:
            break
    return [part for part in parts if part.startswith("id:")]


@pytest.fixture
def stream(tracked, monkeypatch):
    monkeypatch.setattr(live, "EVERY_S", 0.01)
    return Live(tracked.home.desk.runs_read(), tracked.home.ledger, lambda request: None, {})


def test_a_point_of_a_run_is_told_and_nothing_else(tracked, stream):
    one, other = tracked.runs[0], tracked.runs[1]
    log = lambda run: tracked.home.log(run, ("late", 1.0, 9999))  # noqa: E731
    events = asyncio.run(told(stream, f"run={one}", lambda: log(one)))
    assert len(events) == 1
    assert f'"seq":{tracked.home.ledger.head().version}' in events[0]
    assert asyncio.run(told(stream, f"run={one}", lambda: log(other))) == []
    assert len(asyncio.run(told(stream, f"experiment={tracked.experiment}", lambda: log(other)))) == 1


def test_who_comes_back_is_told_at_once_what_was_missed(tracked, stream):
    one = tracked.runs[0]
    seen = asyncio.run(told(stream, f"run={one}", lambda: tracked.home.log(one, ("a", 1.0, 1))))[0]
    last = seen.partition("\n")[0].removeprefix("id: ")
    again = [("last-event-id", last)]
    assert asyncio.run(told(stream, f"run={one}", headers=again)) == []
    tracked.home.log(one, ("a", 2.0, 2))
    assert len(asyncio.run(told(stream, f"run={one}", headers=again))) == 1


def test_a_stream_ends_with_its_server(tracked, monkeypatch):
    monkeypatch.setattr(live, "EVERY_S", 0.01)
    looks = iter([False, False, True])
    stream = Live(
        tracked.home.desk.runs_read(), tracked.home.ledger, lambda request: None, {}, looks.__next__
    )

    async def parts():
        answer = await stream.stream(asked(f"run={tracked.runs[0]}"))
        return [part async for part in answer.body_iterator]

    assert len(asyncio.run(parts())) == 3


def test_so_many_streams_are_open_and_no_more(tracked, stream, monkeypatch):
    monkeypatch.setattr(live, "MOST_STREAMS", 0)
    console = tracked.console()
    assert get(console, f"/live?run={tracked.runs[0]}").status_code == 503
    monkeypatch.setattr(live, "MOST_STREAMS", 1)
    for query, status in (("", 400), ("?run=nix", 404), ("?" + "&".join(["run=x"] * 21), 400)):
        assert get(console, f"/live{query}").status_code == status


def test_a_version_says_what_can_answer_for_it_whatever_its_files_are_called(tmp_path):
    home, bomb = RegistryHome(tmp_path), tmp_path / "made-by-a-pickle"
    home.register("churn")
    home.version("churn", f"models:/{log_files(home, safe())}")
    files = {**unsafe(bomb), "a<script>.py": b"pass"}
    home.version("churn", f"models:/{log_files(home, files)}")
    for number in (1, 2):
        eventually(lambda number=number: home.found("churn", number).tags.get("varv.scan"))
    console = create_console(open_views(home.ledger), home.ledger, tracked=home.desk.runs_read())
    good, bad = (get(console, f"/models/churn/versions/{number}").text for number in (1, 2))
    assert "can answer for it without running code" in good
    assert "nothing can answer for it" in bad
    assert "a&lt;script&gt;.py: is code" in bad
    assert Tree(bad).faults == []
    assert data_of(console, "/models/churn/versions/2")["version"]["tags"]["varv.runtime"] == "none"
    assert not bomb.exists()
    home.close()
