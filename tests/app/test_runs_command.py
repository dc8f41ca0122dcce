"""`varv runs` and what it reads, over a home that nobody serves; and who may ask a server for the same."""

from __future__ import annotations

import base64
import json

import msgspec
import pytest
from tests.fronts.asking import asking
from tests.runs.conftest import TrackedHome

import varv
from varv.app.cli import main
from varv.app.client import connecting
from varv.app.compose import open_views
from varv.app.desk import Desk
from varv.app.server.control import application
from varv.app.settings import Settings
from varv.fronts.client import Client
from varv.kernel.clock import SystemClock
from varv.kernel.errors import FailedPrecondition

TOKEN = "owner-token"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with four runs, the last one deleted; nobody has it open."""
    made = TrackedHome(tmp_path_factory.mktemp("home"))
    made.ids = []
    for depth, auc in ((3, (0.7, 0.9)), (4, (0.6, 0.8)), (5, (0.5, 0.85)), (6, ())):
        run = made.begin(name=f"depth-{depth}", started_ms=1000 * depth)
        made.log(
            run, *[("auc", value, 10 + n, n) for n, value in enumerate(auc)], params={"depth": str(depth)}
        )
        made.ids.append(run)
    made.do(made.tracking.update_run(made.ids[0], status="FINISHED", ended_ms=63_000))
    made.do(made.tracking.move_run(made.ids[3], deleted=True))
    made.close()
    return made


@pytest.fixture
def run(capsys, home, monkeypatch):
    monkeypatch.delenv("VARV_HOME", raising=False)

    def told(*arguments):
        status = main(["--home", str(home.folder), "runs", *arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return told


def test_runs_are_listed_by_filter_and_order(run):
    where = "max(metrics.auc) > .84 or params.depth = '4'"
    status, out, _ = run("ls", "--where", where, "--order", "max(metrics.auc) desc")
    assert status == 0
    assert [line.split()[1] for line in out.splitlines()] == ["name", "depth-3", "depth-5", "depth-4"]
    assert run("ls", "--where", "params.depth = 'x'")[1] == "no run matches\n"
    status, _, error = run("ls", "--where", "foo(")
    assert (status, "next:" in error) == (1, True)


def test_a_list_says_how_it_goes_on(run):
    first = run("ls", "--limit", "2")[1]
    after = first.splitlines()[-1].partition("--after ")[2]
    rest = run("ls", "--limit", "2", "--after", after)[1]
    assert [text.count("depth-") for text in (first, rest)] == [2, 1]


def test_a_run_is_shown_and_compared_by_how_its_id_begins(run, home):
    shown = run("show", home.ids[0][:10])[1]
    assert "finished, in experiment Default" in shown
    assert "started 1970-01-01 00:00, took 1m" in shown
    status, out, _ = run("diff", *(id[:10] for id in home.ids[:2]))
    assert status == 0
    lines = {line.split()[0]: line for line in out.splitlines() if line.startswith("  ")}
    assert lines["param"].split() == ["param", "depth", "3", "4"]
    assert lines["auc"].split() == ["auc", "0.9*", "[0.7,", "0.9]", "0.8", "[0.6,", "0.8]"]
    assert run("diff", home.ids[0])[0] == 1


def test_the_best_runs_come_first(run):
    out = run("best", "auc", "--by", "max", "--limit", "2")[1]
    assert [line.split()[1] for line in out.splitlines()[2:]] == ["depth-3", "depth-5"]
    found = json.loads(run("best", "auc", "--goal", "min", "--json")[1])
    assert [one["name"] for one in found["runs"]] == ["depth-4", "depth-5", "depth-3"]


def test_nobody_is_asked_to_stop_where_nobody_serves(run, home):
    status, _, error = run("stop", home.ids[1])
    assert (status, "served by nobody" in error) == (1, True)


def test_a_deleted_run_is_purged_and_no_other(run, home):
    assert run("ls", "--deleted")[1].count("depth-6") == 1
    assert run("purge", home.ids[1])[0] == 1
    status, out, _ = run("purge", home.ids[3][:12], "--by", "ana")
    assert (status, out.startswith("gone for good: 1 runs")) == (0, True)
    assert run("ls", "--deleted")[1] == "no runs yet\n"


def test_runs_are_a_frame_in_python(home):
    with varv.open(home.folder) as opened:
        frame = opened.runs.frame("params.depth != '5'", order=["params.depth"])
        assert frame["params.depth"].to_list()[:2] == ["3", "4"]
        assert frame["metrics.auc"].to_list()[:2] == [0.9, 0.8]
        assert opened.runs.frame(limit=1).height == 1
        assert opened.runs.list(limit=1).after
        assert "curves" in dir(opened.runs)


@pytest.fixture
def server(tmp_path):
    """A server's application with a token, over a home with one run."""
    home = TrackedHome(tmp_path)
    home.id = home.begin(name="secret")
    desk = Desk(tmp_path, home.ledger, open_views(home.ledger), SystemClock(), None, running=True)
    desk.tracking, desk.runs = home.desk, home.desk.runs_read()
    settings = Settings(home=tmp_path, token=TOKEN, allowed_hosts="testserver")
    with asking(application(settings, desk, home.desk, dict, lambda: iter(()))) as client:
        client.home = home
        yield client
    home.close()


def basic(token):
    return {"authorization": "Basic " + base64.b64encode(f"any:{token}".encode()).decode()}


def test_pages_of_runs_ask_for_the_token_and_take_it_as_a_password(server):
    run = server.home.id
    for path in (
        "/experiments",
        f"/runs/{run}.json",
        f"/runs/{run}",
        f"/live?run={run}",
        f"/compare?runs={run},x",
    ):
        for headers in ({}, basic("wrong"), basic("")):
            assert (path, server.get(path, headers=headers).status_code) == (path, 401)
    answer = server.get(f"/runs/{run}", headers=basic(TOKEN))
    assert (answer.status_code, "secret" in answer.text) == (200, True)


def test_a_server_that_only_tracks_is_read_in_python_and_predicts_nothing(server):
    server.headers.update({"authorization": f"Bearer {TOKEN}"})
    health = msgspec.convert({"state": "tracking"}, type=connecting._Health)
    found = connecting.Server(Client("http://testserver", http=server), health, token="", timeout_s=1.0)
    assert found.runs.frame()["name"].to_list() == ["secret"]
    with pytest.raises(FailedPrecondition, match="tracks runs"):
        found.predict("late-parcel", [{"a": 1}])


def test_verbs_of_runs_are_for_who_has_the_token(server):
    acts = ("list", "show", "diff", "best", "curves", "stop", "purge")
    for act in acts:
        assert (act, server.post(f"/api/v1/runs/{act}", json={}).status_code) == (act, 403)
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert server.post("/api/v1/runs/list", json={}, headers=bearer).json()["runs"][0]["name"] == "secret"
    stopped = server.post("/api/v1/runs/stop", json={"run": server.home.id}, headers=bearer)
    assert stopped.json()["status"] == "RUNNING"
    assert server.home.run(server.home.id).tags["varv.stop"] == "operator"
