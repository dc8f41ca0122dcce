"""One request from its bytes to its answer, with what each stage took.

Between the two it is asked whether somebody still waits for it, and whether its rows may be so many.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from varv.fronts.access import Caller, Door
from varv.fronts.access.deadlines import NEVER, sooner, too_late
from varv.fronts.inference.oip import Asked
from varv.fronts.inference.served import Inference, Took
from varv.fronts.inference.watch import Watch
from varv.kernel.clock import SystemClock, wall_seconds
from varv.kernel.errors import VarvError
from varv.kernel.tracing import Within
from varv.serving import Answering, Answers

Answer = TypeVar("Answer")
_CLOCK = SystemClock()


class Visit(NamedTuple):
    """A request that was taken: from whom, since when, and until when its answer is waited for."""

    caller: Caller
    began: float
    deadline: float = NEVER
    watch: Watch | None = None
    request_id: str = ""
    """What its metadata call it; nothing if they do not."""

    def require_time(self, door: Door, now: float) -> None:
        """Refuse a request that nobody waits for any more.

        Raises
        ------
        DeadlineExceeded
            If its deadline has passed.
        """
        if self.deadline <= now:
            door.refused("deadline", self.caller)
            raise too_late(self.began, now)


def timed(
    inference: Inference,
    answering: Answering,
    visit: Visit,
    read: Callable[[], Asked],
    write: Callable[[Asked, Answers], Answer],
    *,
    version: int | None = None,
) -> Answer:
    """Return what `write` makes of the answer to what `read` understands, and count it.

    Parameters
    ----------
    version
        The version that is asked, where the caller has named one; by default who answers is the routing
        table's to say.

    Raises
    ------
    VarvError
        What reading, answering or writing raises; it is counted too.
    """
    statistics, began = inference.statistics[answering.model], wall_seconds()
    if visit.watch is not None:
        visit.watch.model = answering.model
    try:
        visit.require_time(inference.door, began)
        asked = read()
        known = wall_seconds()
        admit(inference.door, visit, answering.model, asked, known)
        with Within(None if visit.watch is None else visit.watch.context):
            if version is None:
                answered = answering.answer(asked.columns, asked.id)
            else:
                answered = answering.questions.answer(version, asked.columns, asked.id)
        found = wall_seconds()
        answer = write(asked, answered)
    except VarvError:
        statistics.failed(wall_seconds() - began)
        raise
    ended = wall_seconds()
    at = _CLOCK.now() / 1e6
    call = Took(answer_s=found - known, write_s=ended - found)
    statistics.answered([Took(known - began)], [answered], call, at)
    if inference.observing and version is None:
        inference.observe(answering, asked, answered)
    if visit.watch is not None:
        visit.watch.answered(asked.id, known, known, found, ended, answered)
    return answer


def admit(door: Door, visit: Visit, model: str, asked: Asked, now: float) -> None:
    """Take a request whose body is known, or refuse it.

    Raises
    ------
    RateLimited
        If its rows are more than its caller's rate allows.
    DeadlineExceeded
        If its deadline has passed.
    """
    if visit.caller.limit is not None:
        door.admit_rows(visit.caller, model, asked.n_rows, now)
    if asked.timeout_us:
        visit = visit._replace(deadline=sooner(visit.deadline, visit.began, asked.timeout_us))
    visit.require_time(door, now)
