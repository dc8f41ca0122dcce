from __future__ import annotations

import pytest

from varv.kernel.errors import FailedPrecondition, InvalidInput, NotFound
from varv.runs.traces import rules, storing
from varv.runs.traces.model import ERROR, OK, TraceInfo, TracesDeleted, TraceTagged

from .conftest import id_of, span


def test_spans_make_the_trace_that_they_are_of(traced):
    traced.take(span(2, parent=1, started_ms=1002, took_ms=20, status=OK))
    assert traced.read(id_of()).info.state == "IN_PROGRESS"
    traced.take(span(1, status=ERROR, attributes={"mlflow.spanInputs": {"x": 1}, "session.id": "s1"}))
    info = traced.read(id_of()).info
    assert (info.state, info.at_ms, info.took_ms) == ("ERROR", 1000, 22)
    assert (info.request, info.metadata) == ('{"x": 1}', {"mlflow.trace.session": "s1"})
    assert info.tags["mlflow.trace.spansLocation"] == "TRACKING_STORE"
    assert [one.name for one in traced.spans(id_of())] == ["step 1", "step 2"]


def test_spans_are_no_entries_of_the_ledger(traced):
    head = traced.home.ledger.head().version
    traced.take(*(span(id) for id in range(1, 20)))
    traced.begin("tr-a", tags={"team": "risk"})
    assert traced.home.ledger.head().version == head


def test_what_a_client_says_of_a_trace_holds_over_its_spans(traced):
    traced.begin(id_of(), at_ms=500, took_ms=7, state="OK", request="asked", metadata={"a": "b"})
    traced.take(span(1, status=ERROR, attributes={"mlflow.spanInputs": "other", "user.id": "ana"}))
    info = traced.read(id_of()).info
    assert (info.at_ms, info.took_ms, info.state, info.request) == (500, 7, "OK", "asked")
    assert info.metadata == {"a": "b", "mlflow.trace.infoFinalized": "true", "mlflow.trace.user": "ana"}
    traced.begin(id_of(), at_ms=600, state="ERROR", tags={"team": "risk"})
    info = traced.read(id_of()).info
    assert (info.at_ms, info.state, info.request, info.tags["team"]) == (600, "ERROR", "asked", "risk")


def test_a_span_that_comes_again_takes_its_own_place(traced):
    traced.take(span(1, name="once"), span(2, parent=1))
    traced.take(span(1, name="twice"))
    assert [one.name for one in traced.spans(id_of())] == ["twice", "step 2"]
    with traced.traces.recorder.reading() as db:
        n, size = db.execute("SELECT spans, size FROM trace").fetchone()
        assert (n, size) == db.execute("SELECT count(*), sum(size) FROM span").fetchone()


def test_where_spans_are_from_becomes_tags(traced):
    resource = {"service.name": "shop", "telemetry.sdk.name": "x", "mlflow.trace.spansLocation": "y", "n": 3}
    traced.take(span(attributes={"mlflow.traceTag.colour": "red"}), resource=resource)
    tags = traced.read(id_of()).info.tags
    assert (tags["service.name"], tags["n"], tags["colour"]) == ("shop", "3", "red")
    assert "telemetry.sdk.name" not in tags
    assert tags["mlflow.trace.spansLocation"] == "TRACKING_STORE"


def test_a_trace_stays_in_its_experiment(traced):
    other = traced.do(traced.home.tracking.experiments.create("other"))
    traced.take(span())
    with pytest.raises(InvalidInput, match="another experiment"):
        traced.take(span(2), experiment=other)
    with pytest.raises(InvalidInput, match="another experiment"):
        traced.begin(id_of(), experiment=other)
    traced.do(traced.home.tracking.experiments.move(other, deleted=True))
    with pytest.raises(FailedPrecondition):
        traced.take(span(trace=2), experiment=other)


def test_what_is_too_much_is_refused_and_nothing_of_it_stays(traced, monkeypatch):
    monkeypatch.setattr(rules, "MOST_SPANS", 3)
    traced.take(span(1), span(2))
    with pytest.raises(InvalidInput, match="too many spans"):
        traced.take(span(1, trace=2), *(span(id) for id in range(1, 5)))
    traced.take(span(1), span(2), span(3))
    assert len(traced.spans(id_of())) == 3
    with pytest.raises(NotFound):
        traced.read(id_of(2))
    with pytest.raises(InvalidInput, match="too many attributes"):
        traced.take(span(trace=3, attributes={f"a{n}": n for n in range(1001)}))
    with pytest.raises(InvalidInput, match="too many bytes"):
        traced.take(span(trace=3, attributes={"a": "x" * (rules.MOST_SPAN_BYTES + 1)}))
    with pytest.raises(InvalidInput, match="out of range"):
        traced.take(span(trace=3, started_ms=2**62))


@pytest.mark.parametrize("id", ["", "../x", "tr/x", "tr-\n", "tr-x\n", "x" * 129, "tr-%2e", "é", "-x", "."])
def test_an_id_that_could_be_a_path_is_none(traced, id):
    with pytest.raises(InvalidInput, match="trace id"):
        traced.begin(id)


def test_a_tag_that_is_set_later_is_in_the_ledger(traced):
    traced.begin("tr-a")
    traced.do(traced.traces.tag("tr-a", {"team": "risk", "long": "x" * 9000}))
    assert isinstance(traced.home.ledger.read()[-1].event, TraceTagged)
    assert len(traced.home.ledger.read()[-1].data) < 400
    assert traced.read("tr-a").info.tags["long"] == "x" * 8000
    traced.do(traced.traces.untag("tr-a", "team"))
    with pytest.raises(NotFound):
        traced.do(traced.traces.untag("tr-a", "team"))
    with pytest.raises(InvalidInput, match="server alone"):
        traced.do(traced.traces.tag("tr-a", {"mlflow.artifactLocation": "file:///etc"}))


def test_tags_that_never_end_are_refused(traced, monkeypatch):
    monkeypatch.setattr(storing, "MOST_TAGS", 3)
    traced.begin("tr-a", tags={"a": "1", "b": "2"})
    traced.do(traced.traces.tag("tr-a", {"c": "3", "d": "4"}))
    for write in (
        traced.traces.tag("tr-a", {"e": "5"}),
        traced.traces.begin(TraceInfo(id="tr-a", experiment="0", at_ms=1)),
    ):
        with pytest.raises(InvalidInput, match="too many tags"):
            traced.do(write)


def test_traces_are_linked_to_runs_and_prompts_once(traced):
    run = traced.home.begin()
    traced.begin("tr-a")
    traced.do(traced.traces.link(["tr-a", "tr-a", "tr-none"], run))
    head = traced.home.ledger.head().version
    traced.do(traced.traces.link(["tr-a"], run))
    assert traced.home.ledger.head().version == head
    traced.do(traced.traces.link_prompts("tr-a", ["greet/1"]))
    assert traced.found(f"run_id = '{run}'") == traced.found("prompt = 'greet/1'") == ["tr-a"]
    traced.take(span(), run=run)
    assert set(traced.found(f"run_id = '{run}'")) == {"tr-a", id_of()}
    with pytest.raises(NotFound):
        traced.take(span(trace=2), run="none")


def test_a_deleted_trace_takes_all_with_it(traced):
    for n in range(1, 4):
        traced.take(span(trace=n, started_ms=n * 1000))
        traced.judge(id_of(n))
    assert traced.do(traced.traces.delete("0", traces=[id_of(3), "tr-none"])) == 1
    assert traced.do(traced.traces.delete("0", before_ms=5000, most=1)) == 1
    assert traced.found() == [id_of(2)]
    assert isinstance(traced.home.ledger.read()[-1].event, TracesDeleted)
    with traced.traces.recorder.reading() as db:
        for table in ("span", "trace_tag", "assessment"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 1, table


def test_spans_that_are_still_to_come_are_waited_for(traced):
    traced.take(span())
    traced.begin(id_of(), metadata={"mlflow.trace.sizeStats": '{"num_spans": 2}'})
    with pytest.raises(NotFound, match="not fully exported"):
        traced.spans(id_of())
    assert len(traced.spans(id_of(), partial=True)) == 1
    traced.take(span(2, parent=1))
    assert len(traced.spans(id_of())) == 2
    traced.begin("tr-a")
    with pytest.raises(FailedPrecondition, match="no spans here"):
        traced.spans("tr-a")


def test_what_was_said_of_traces_is_folded_again_from_the_ledger(traced):
    traced.begin("tr-a")
    traced.do(traced.traces.tag("tr-a", {"team": "risk"}))
    traced.judge("tr-a", value="0.5")
    before = traced.read("tr-a")
    traced.home.close()
    for file in traced.home.folder.glob("tracking.db*"):
        file.unlink()
    traced.home.open()
    with pytest.raises(NotFound):
        traced.read("tr-a")
    traced.begin("tr-a")
    after = traced.read("tr-a")
    assert (after.info.tags, after.assessments) == (before.info.tags, before.assessments)
