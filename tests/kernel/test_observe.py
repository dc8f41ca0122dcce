"""Log lines carry an action and its facts."""

from __future__ import annotations

import io
import json
import logging

import pytest

from varv.kernel.clock import VirtualClock
from varv.kernel.observe import log, start_logging

from .samples import NOON


@pytest.fixture
def root():
    logger = logging.getLogger("varv")
    kept = logger.handlers[:], logger.level, logger.propagate
    yield logger
    logger.handlers[:], logger.level, logger.propagate = kept


def lines(form, write):
    out = io.StringIO()
    start_logging(form, out, VirtualClock(NOON))
    write(logging.getLogger("varv.sample"))
    return out.getvalue().splitlines()


def test_a_json_line_is_an_object_with_action_and_facts(root):
    (line,) = lines(
        "json", lambda logger: log(logger, logging.INFO, "model.promoted", version=7, by=NOON.__class__)
    )
    told = json.loads(line)
    assert (told["action"], told["version"], told["level"]) == ("model.promoted", 7, "info")
    assert told["at"] == "2013-02-01T12:00:00Z"


def test_a_text_line_is_for_people_and_below_the_level_nothing_is_written(root):
    def write(logger):
        log(logger, logging.DEBUG, "quiet")
        log(logger, logging.WARNING, "loud", n=1)

    assert lines("text", write) == ["2013-02-01T12:00:00Z WARNING loud n=1"]


def test_an_exception_stays_on_its_line(root):
    def write(logger):
        try:
            raise ValueError("two\nlines")
        except ValueError:
            logger.exception("failed")

    (line,) = lines("json", write)
    assert "two\nlines" in json.loads(line)["exception"]
