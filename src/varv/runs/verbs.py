"""The use cases of runs that MLflow's protocol has no name for."""

from __future__ import annotations

import msgspec

from varv.kernel.errors import FailedPrecondition
from varv.kernel.verbs import OPERATE, verb
from varv.runs import reading
from varv.runs.model import ENDED, Status
from varv.runs.service import Tracking

STOP = "varv.stop"
"""The tag that asks whoever runs a script to end it."""


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a run."""

    run: str


class StopRequest(RunRequest, frozen=True, kw_only=True):
    """Names a run that is to end, and says who asks."""

    by: str = "operator"


class StopAsked(msgspec.Struct, frozen=True, kw_only=True):
    """A run that was asked to end, and how it was then."""

    run: str
    name: str
    status: Status


@verb("runs.stop", needs=OPERATE)
def stop(tracking: Tracking, asked: StopRequest) -> StopAsked:
    """Ask whoever runs a script to end it."""
    with tracking.recorder.reading() as db:
        run = reading.run(db, asked.run)
    if run.status in ENDED:
        raise FailedPrecondition("run", asked.run, "has ended", status=run.status)
    tracking.recorder.do(tracking.log(asked.run, tags={STOP: asked.by}))
    return StopAsked(run=run.id, name=run.name, status=run.status)
