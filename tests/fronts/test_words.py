from __future__ import annotations

from markupsafe import Markup

from varv.fronts.web import words
from varv.fronts.web.words import Status

from .history import HOSTILE, START


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
