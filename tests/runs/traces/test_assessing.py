from __future__ import annotations

import pytest

from varv.kernel.errors import AlreadyExists, InvalidInput, NotFound
from varv.runs.model import long_texts
from varv.runs.traces.assessing import Change, change, withdraw
from varv.runs.traces.model import Source, TraceAssessed


@pytest.fixture
def judged(traced):
    traced.begin("tr-a")
    traced.judge("tr-a", rationale="it is", source=Source("HUMAN", "ana"), metadata={"m": "1"})
    return traced


def only(traced):
    (one,) = traced.read("tr-a").assessments
    return one


def changed(traced, **to):
    return traced.do(change("tr-a", "a-1", Change(**to), traced.traces.blobs))


def test_an_assessment_is_an_entry_of_the_ledger(judged):
    event = judged.home.ledger.read()[-1].event
    assert isinstance(event, TraceAssessed)
    assert event.line() == 'feedback ok: {"value":true}'
    assert event.assessment == only(judged)
    assert only(judged).created_ms == only(judged).updated_ms > 0


def test_a_change_keeps_what_it_does_not_name(judged):
    changed(judged, name="fine", kind="feedback", body='{"value":false}', metadata={"n": "2"})
    one = only(judged)
    assert (one.name, one.body, one.rationale) == ("fine", '{"value":false}', "it is")
    assert (one.metadata, one.source) == ({"m": "1", "n": "2"}, Source("HUMAN", "ana"))
    with pytest.raises(InvalidInput, match="is feedback"):
        changed(judged, kind="expectation", body='{"value":1}')


def test_what_replaces_an_assessment_makes_it_invalid_until_it_goes(judged):
    judged.judge("tr-a", "a-2", "false", overrides="a-1")
    assert [one.valid for one in judged.read("tr-a").assessments] == [False, True]
    changed(judged, rationale="still")
    judged.do(withdraw("tr-a", "a-2"))
    assert only(judged).valid
    judged.do(withdraw("tr-a", "a-2"))
    with pytest.raises(NotFound):
        judged.judge("tr-a", "a-3", overrides="a-2")


def test_an_id_is_given_to_one_assessment_of_a_trace(judged):
    with pytest.raises(AlreadyExists):
        judged.judge("tr-a")
    judged.begin("tr-b")
    judged.judge("tr-b")
    with pytest.raises(NotFound):
        judged.judge("tr-none")


def test_long_texts_are_in_blobs_that_are_vouched_for(judged):
    judged.judge("tr-a", "a-2", f'"{"x" * 5000}"', rationale="y" * 3000)
    entry = judged.home.ledger.read()[-1]
    assert len(entry.data) < 700
    assert len(list(long_texts(entry.event))) == 2
    assert judged.found(f"feedback.ok = '{'x' * 4000}'") == []
    with pytest.raises(InvalidInput, match="says too much"):
        judged.judge("tr-a", "a-3", f'"{"x" * (1 << 20)}"')


def test_assessments_that_come_with_a_trace_are_kept_once(judged):
    (one,) = judged.read("tr-a").assessments
    judged.begin("tr-c", assessments=[one])
    judged.begin("tr-c", assessments=[one])
    assert judged.read("tr-c").assessments == [one]
