"""One request from its bytes to its answer, with what each stage took."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from varv.fronts.inference.oip import Asked
from varv.fronts.inference.served import Inference, Took
from varv.kernel.clock import SystemClock, wall_seconds
from varv.kernel.errors import VarvError
from varv.serving import Answering, Answers

Answer = TypeVar("Answer")
_CLOCK = SystemClock()


def timed(
    inference: Inference,
    answering: Answering,
    read: Callable[[], Asked],
    write: Callable[[Asked, Answers], Answer],
) -> Answer:
    """Return what `write` makes of the answer to what `read` understands, and count it.

    Raises
    ------
    VarvError
        What reading, answering or writing raises; it is counted too.
    """
    statistics, began = inference.statistics[answering.model], wall_seconds()
    try:
        asked = read()
        known = wall_seconds()
        answered = answering.answer(asked.columns, asked.id)
        found = wall_seconds()
        answer = write(asked, answered)
    except VarvError:
        statistics.failed(wall_seconds() - began)
        raise
    ended = wall_seconds()
    at = _CLOCK.now() / 1e6
    call = Took(answer_s=found - known, write_s=ended - found)
    statistics.answered([Took(known - began)], [answered], call, at)
    return answer
