from __future__ import annotations

import msgspec
import pytest
from markupsafe import Markup

from varv.fronts.web import words
from varv.fronts.web.words import Status
from varv.kernel.codec import registered_events
from varv.kernel.ledger import Ledger
from varv.kernel.sagas import TimerFired
from varv.rollout import Rollout
from varv.rollout.model import Evidence

from .history import HOSTILE, START, history


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return history()[1]


def test_every_event_of_a_history_has_a_line(ledger):
    lines = {entry.name: words.said(entry.event) for entry in ledger.read()}
    assert all(lines.values())
    assert set(lines) <= set(registered_events())
    assert len(lines) > 20


def test_no_line_is_longer_than_a_line(ledger):
    assert max(len(words.said(entry.event)) for entry in ledger.read()) <= words.LONGEST


def test_a_status_is_a_word_and_a_mark_that_is_hidden_from_those_who_listen():
    shown = str(Markup.escape(Status("bad", HOSTILE)))
    assert "<script" not in shown
    assert '<span aria-hidden="true">■</span>' in shown


def test_every_kind_of_status_has_a_mark_of_its_own():
    assert len(set(words.MARKS.values())) == len(words.MARKS)


def test_a_time_is_machine_readable_and_utc():
    assert words.when(START) == '<time datetime="2013-02-01T05:00:00Z">2013-02-01 05:00</time>'
    assert words.when(None) == "–"


def test_a_number_without_its_interval_is_shown_alone():
    assert words.interval(0.5, None, None) == "0.500"
    assert words.interval(None, None, None) == "–"
    assert words.number(float("nan")) == "–"


def test_an_instant_in_an_event_is_shown_as_a_time(ledger):
    lines = [words.said(entry.event) for entry in ledger.read() if entry.name == "rollout.shadow_started"]
    assert lines[0].endswith("since 2013-02-16T05:00:00Z")


def test_a_timer_says_when_it_was_due():
    assert words.said(TimerFired(key="day", due=START)) == "timer day, due 2013-02-01T05:00:00Z"


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({}, "difference"),
        ({"shift": 6.3, "share": 0.05, "step_difference": 0.5}, "at 5 %"),
        ({"shift": 6.3, "excess": 400.0, "excess_at": 280.0}, "excess 400 nats, 280 allowed"),
        ({"shift": 6.3, "excess": 400.0, "excess_at": 280.0, "log_harm": 9.0}, "in the shadow"),
    ],
)
def test_a_verdict_begins_with_what_decided_it(changes, first):
    seen = msgspec.structs.replace(Evidence.none(Rollout().plan), difference=-0.1, low=-0.2, high=0.0)
    told = words.evidence(msgspec.structs.replace(seen, **changes)).replace("\u00a0", " ")
    assert told.startswith(first)
