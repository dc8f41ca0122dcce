"""Traces that MLflow's server wrote are here afterwards, from its database and from a server alike."""

from __future__ import annotations

import json
import sqlite3

import pytest

from varv.adapters.moving.cursor import by_start
from varv.adapters.moving.mlflow_traces import span_told
from varv.app.verifying import verify_report
from varv.kernel.errors import Conflict
from varv.runs.traces.model import TraceInfo

from . import recorded

ANSWER, BAD = "tr-129ed52a6cad96a2d168181b5417aa13", "tr-17ec0ac83a3fc1ab5fb0dc43d5ec0b54"
OLD = "4c1f0f5a8d0b4a6f9f6a4b0f8d2c7e11"


@pytest.fixture
def source(tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    return recorded.store(there)


@pytest.fixture
def moved(home, source):
    home.report = home.take_mlflow(source)
    return home


def changed(source, *statements):
    with sqlite3.connect(source.removeprefix("sqlite:///")) as db:
        for statement in statements:
            db.execute(statement)
    db.close()


def test_traces_come_and_nothing_differs(moved):
    report = moved.report
    assert (report.traces.new, report.n_spans, report.n_traces_compared) == (3, 4, 3)
    assert (report.differences.n, report.left_out.n) == (0, 0)


def test_a_trace_keeps_its_times_state_words_and_previews(moved):
    info = moved.traces()[ANSWER].info
    assert (info.experiment, info.at_ms, info.took_ms, info.state) == ("1", 1795936824724, 260, "OK")
    assert (info.request, info.response) == ('{"q": "hi"}', '{"a": "hi!", "n": [1, 2, {"z": null}]}')
    assert info.tags["color"] == "red"
    assert info.metadata["mlflow.sourceRun"] == "359dcddd5e4a450fbd4d3c3002230bc3"
    assert moved.traces()[BAD].info.state == "ERROR"


def test_spans_come_with_values_events_and_their_tree(moved):
    root, inner = moved.spans(ANSWER)
    assert (root.name, root.parent, inner.name, inner.parent) == ("answer", "", "fetch", root.id)
    assert root.attributes["mlflow.spanOutputs"] == {"a": "hi!", "n": [1, 2, {"z": None}]}
    assert (root.attributes["k"], root.attributes["flag"]) == (1.5, True)
    assert (inner.started_ns, inner.ended_ns) == (1795936824984351511, 1795936824984594554)
    [bad] = moved.spans(BAD)
    assert (bad.message, bad.events[0].name) == ("ValueError: no", "exception")
    assert bad.events[0].attributes["exception.type"] == "ValueError"


def test_spans_of_before_3_come_from_the_file_beside_their_trace(moved):
    [span] = moved.spans(OLD)
    assert (span.trace, span.id, span.ended_ns) == (OLD, "1f3ab9d4c6e80712", 0)
    assert (span.attributes["mlflow.spanInputs"], span.attributes["plain"]) == ({"q": 1}, "no json")
    assert (span.events[0].at_ns, span.events[0].attributes) == (1720000000000000001, {"n": 1})


def test_what_was_judged_comes_with_who_judged_and_what_it_replaced(moved):
    good, expected, error, later = moved.traces()[ANSWER].assessments
    assert (good.kind, good.source.type, good.source.id, good.rationale) == (
        "feedback",
        "HUMAN",
        "ana",
        "because",
    )
    assert (good.valid, later.valid, later.overrides, good.metadata) == (False, True, good.id, {"m": "1"})
    assert json.loads(expected.body)["serialized_value"]["value"] == '{"x": [1, 2]}'
    assert json.loads(error.body)["error"]["error_message"] == "boom"
    assert good.created_ms == 1795936827677


def test_a_trace_belongs_to_the_runs_that_it_did_there(moved):
    assert moved.traces_of("run/359dcddd5e4a450fbd4d3c3002230bc3") == [ANSWER]
    assert moved.traces_of("run/44aef9df50b742a5a6ab94fa3869a8b2") == [BAD]
    assert moved.traces_of("prompt/greet/1") == [BAD]


def test_traces_that_are_here_are_passed_over(moved, source):
    before = moved.taken()
    report = moved.take_mlflow(source)
    assert (report.traces.same, report.traces.new, report.traces.changed) == (3, 0, 0)
    assert moved.taken() == before


def test_what_was_judged_later_is_added(moved, source):
    changed(
        source,
        "UPDATE assessments SET rationale = 'truly', last_updated_timestamp = 1795936830000 "
        "WHERE name = 'exp'",
    )
    report = moved.take_mlflow(source)
    assert (report.traces.changed, report.differences.n) == (1, 0)
    assert moved.traces()[ANSWER].assessments[1].rationale == "truly"


def test_another_trace_of_the_same_id_stops_it(home, source):
    home.take_mlflow(source)
    home.desk.recorder.do(home.desk.traces.begin(TraceInfo(id="tr-mine", experiment="1", at_ms=5)))
    changed(source, "INSERT INTO trace_info VALUES('tr-mine',1,6,NULL,'OK',NULL,NULL,NULL)")
    with pytest.raises(Conflict, match="tr-mine"):
        home.take_mlflow(source)


def test_a_trace_that_is_more_than_is_taken_here_is_named(home, source):
    changed(
        source, f"UPDATE spans SET content = json_set(content, '$.name', '{'x' * 2000}') WHERE name = 'bad'"
    )
    report = home.take_mlflow(source)
    assert (report.traces.new, report.left_out.n, report.differences.n) == (2, 1, 0)
    assert BAD in report.left_out.some[0]


def test_a_span_that_is_another_here_is_found(moved, source):
    changed(source, "UPDATE spans SET content = json_set(content, '$.name', 'other') WHERE name = 'bad'")
    report = moved.take_mlflow(source)
    assert report.differences.some == [f"trace {BAD} has 1 spans here that are not the 1 at the source"]


def test_imported_traces_pass_verification(moved):
    moved.close()
    assert verify_report(moved.folder).findings == ()


def test_a_span_of_the_protocol_holds_every_kind_of_value():
    values = [{"int_value": "3"}, {"double_value": "NaN"}, {"bytes_value": "AQI="}, {}]
    told = {
        "trace_id": "Ep7VKmytlqLRaBgbVBeqEw==",
        "span_id": "lUUrfO3kCuE=",
        "attributes": [{"key": "all", "value": {"array_value": {"values": values}}}],
        "links": [{"trace_id": "Ep7VKmytlqLRaBgbVBeqEw==", "span_id": "R6DQ8UMvpj8="}],
    }
    span = span_told(told)
    assert repr(span.attributes["all"]) == repr([3, float("nan"), b"\x01\x02", None])
    assert span.links[0].span == "47a0d0f1432fa63f"


@pytest.mark.parametrize("instants", [[1, 2, 3, 4, 5], [1, 1, 1, 1, 1], [1, 2, 2, 2, 3], [], [7]])
def test_a_cursor_yields_each_thing_once(instants):
    things = [(str(place), at) for place, at in enumerate(instants)]

    def page(since, token):
        skip = int(token or 0)
        found = [one for one in things if one[1] >= since][skip : skip + 2]
        return found, str(skip + 2)

    assert [one for some in by_start(page, 2, lambda one: one) for one in some] == things
