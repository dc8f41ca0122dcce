from __future__ import annotations

import pytest

from varv.app.client.sources import LocalSource
from varv.home.tracking import verbs
from varv.home.tracking.verbs import (
    BestRequest,
    CurvesRequest,
    DiffRequest,
    RunsRequest,
    ShowRunRequest,
)
from varv.kernel.errors import InvalidInput, NotFound
from varv.runs import Point
from varv.runs.artifacts import keep


@pytest.fixture
def sweep(home):
    """Three runs of an experiment and one of another; ids by name."""
    runs = home.desk.runs
    experiment = home.do(runs.experiments.create("sweep"))
    ids = {}
    for number, (name, auc) in enumerate((("a", (0.7, 0.9, 0.8)), ("b", (0.6, 0.7)), ("c", (0.85,)))):
        ids[name] = home.do(runs.create_run(experiment, name=name, started_ms=number))
        points = [Point("auc", value, 10 + step, step) for step, value in enumerate(auc)]
        home.do(runs.log(ids[name], points=points, params={"depth": str(3 + number)}))
    ids["other"] = home.do(runs.create_run("0", name="other", started_ms=9))
    home.do(runs.log(ids["other"], params={"depth": "3"}))
    return ids


@pytest.fixture
def desk(home):
    return home.desk.runs_read()


def names(found):
    return [one.name for one in found.runs]


def test_runs_are_found_by_either_of_two_and_by_their_greatest_value(desk, sweep):
    where = "max(metrics.auc) > .8 or params.depth = '4'"
    asked = RunsRequest(where=where, order=("max(metrics.auc) desc",), experiments=("sweep",))
    assert names(verbs.list_runs(desk, asked)) == ["a", "c", "b"]


def test_without_an_experiment_all_are_searched(desk, sweep):
    assert names(verbs.list_runs(desk, RunsRequest(where="params.depth = '3'"))) == ["other", "a"]
    with pytest.raises(NotFound, match="nix"):
        verbs.list_runs(desk, RunsRequest(experiments=("nix",)))


def test_a_list_goes_on_after_its_page(desk, sweep):
    first = verbs.list_runs(desk, RunsRequest(limit=3))
    rest = verbs.list_runs(desk, RunsRequest(limit=3, after=first.after))
    assert names(first) + names(rest) == ["other", "c", "b", "a"]
    assert rest.after == ""


def test_a_run_is_found_by_how_its_id_begins(home, desk, sweep):
    runs = home.desk.runs
    for id in ("abcd1", "abcd2"):
        home.do(runs.create_run("0", run=id))
    assert verbs.show_run(desk, ShowRunRequest(run=sweep["a"][:8])).run.name == "a"
    with pytest.raises(InvalidInput, match="several begin"):
        verbs.show_run(desk, ShowRunRequest(run="abcd"))
    for named in ("", "abc", "zzzz"):
        with pytest.raises(NotFound):
            verbs.show_run(desk, ShowRunRequest(run=named))


def test_a_run_is_shown_with_what_it_made(home, desk, sweep):
    data = b"weights"
    home.do(keep(f"runs/{sweep['a']}", "model/x", home.desk.runs.blobs.put(data), len(data)))
    home.register("churn")
    home.version("churn", run=sweep["a"])
    found = verbs.show_run(desk, ShowRunRequest(run=sweep["a"]))
    assert found.experiment == "sweep"
    assert [(one.path, one.size_bytes) for one in found.artifacts] == [("model/x", 7)]
    assert [(one.model, one.version) for one in found.versions] == [("churn", 1)]
    measured = found.run.metrics["auc"]
    assert (measured.last, measured.min, measured.max, measured.n) == (0.8, 0.7, 0.9, 3)


def test_what_was_captured_is_compared_leaf_by_leaf(home, desk, sweep):
    for name, document in (
        ("a", b'{"lock": {"digest": "1"}, "file": "t.py"}'),
        ("b", b'{"lock": {"digest": "2"}, "file": "t.py"}'),
    ):
        digest = home.desk.runs.blobs.put(document)
        home.do(keep(f"runs/{sweep[name]}", "varv/capture.json", digest, len(document)))
    found = verbs.diff(desk, DiffRequest(runs=(sweep["a"], sweep["b"])))
    assert ("made from", "lock.digest", ("1", "2")) in [
        (one.part, one.name, one.values) for one in found.rows
    ]
    assert not any(one.name == "file" for one in found.rows)


def test_a_capture_that_is_none_is_an_artifact_like_others(home, desk, sweep):
    for name in ("a", "b"):
        digest = home.desk.runs.blobs.put(b"[" * 100_000)
        home.do(keep(f"runs/{sweep[name]}", "varv/capture.json", digest, 100_000))
    assert [one.name for one in verbs.diff(desk, DiffRequest(runs=(sweep["a"], sweep["b"]))).rows] == [
        "depth"
    ]


def test_one_run_is_compared_with_nothing(desk, sweep):
    with pytest.raises(InvalidInput):
        verbs.diff(desk, DiffRequest(runs=(sweep["a"], sweep["a"])))


def test_the_best_runs_are_those_of_the_best_value_asked_for(desk, sweep):
    by = {by: names(verbs.best(desk, BestRequest(metric="auc", by=by))) for by in ("last", "max", "min")}
    assert by == {"last": ["c", "a", "b"], "max": ["a", "c", "b"], "min": ["c", "a", "b"]}
    assert names(verbs.best(desk, BestRequest(metric="auc", goal="min", limit=1))) == ["b"]
    with pytest.raises(InvalidInput, match="min or max"):
        verbs.best(desk, BestRequest(metric="epoch"))
    with pytest.raises(InvalidInput, match="backtick"):
        verbs.best(desk, BestRequest(metric="auc` desc"))


def test_curves_of_runs_without_the_metric_are_left_out(desk, sweep):
    asked = CurvesRequest(runs=(sweep["a"], sweep["other"]), metrics=("auc",))
    assert [one.run for one in verbs.curves(desk, asked).curves] == [sweep["a"]]
    grouped = CurvesRequest(runs=(sweep["a"], sweep["b"]), metrics=("auc",), group="params.depth")
    assert [one.group for one in verbs.curves(desk, grouped).groups] == ["depth 3", "depth 4"]
    with pytest.raises(InvalidInput, match="neither a parameter nor a tag"):
        verbs.curves(desk, CurvesRequest(runs=(sweep["a"],), metrics=("auc",), group="depth"))


def test_a_home_that_is_only_read_shows_points_that_are_not_folded(home, sweep):
    home.do(home.desk.runs.log(sweep["b"], points=[Point("new", 1.5, 1)]))
    source = LocalSource(home.folder)
    try:
        found = source.ask("runs.list", {"where": "params.depth = '4'"})
        assert found.runs[0].metrics["new"].last == 1.5
        assert source.ask("runs.show", {"run": sweep["b"]}).run.metrics["auc"].n == 2
    finally:
        source.close()
