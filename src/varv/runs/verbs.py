"""The use cases of runs that MLflow's protocol has no name for."""

from __future__ import annotations

import msgspec

from varv.kernel.codec import Digest
from varv.kernel.errors import FailedPrecondition
from varv.kernel.verbs import EXPORT, OPERATE, WRITE, verb
from varv.runs import artifacts, reading
from varv.runs.capture import TAG as CAPTURED
from varv.runs.model import ENDED, Difference, RunId, Status, Verdict
from varv.runs.service import Tracking

STOP = "varv.stop"
"""The tag that asks whoever runs a script to end it."""

MULTIRUN = "varv.multirun"
"""The tag of a run that others are children of, each with other arguments: how many they are."""


def heeds_stop(run: reading.Run) -> bool:
    """Return whether a run is under way and somebody looks whether it is to end: ``varv run``."""
    return run.status not in ENDED and (CAPTURED in run.tags or MULTIRUN in run.tags)


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


class RunOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """A run with what came of it: the last value of each metric, and the digest of each artifact."""

    run: str
    experiment: str
    """Its name."""
    name: str
    status: Status
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, float | None]
    """None is not a number."""
    artifacts: dict[str, Digest]


class ReproducedRequest(RunRequest, frozen=True, kw_only=True):
    """What rerunning a run has shown; the fields are those of `RunReproduced`."""

    verdict: Verdict
    repeats: Verdict | None = None
    differing: tuple[str, ...] = ()
    components: tuple[Difference, ...] = ()
    reruns: tuple[str, ...] = ()
    captures: tuple[Digest, ...] = ()
    because: str = ""


class Reproduced(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict that is on record."""

    run: str
    verdict: Verdict


@verb("runs.stop", needs=OPERATE)
def stop(tracking: Tracking, asked: StopRequest) -> StopAsked:
    """Ask whoever runs a script to end it."""
    with tracking.recorder.reading() as db:
        run = reading.run(db, asked.run)
    if run.status in ENDED:
        raise FailedPrecondition("run", asked.run, "has ended", status=run.status)
    tracking.recorder.do(tracking.log(asked.run, tags={STOP: asked.by}))
    return StopAsked(run=run.id, name=run.name, status=run.status)


@verb("runs.outcome", needs=EXPORT)
def outcome(tracking: Tracking, asked: RunRequest) -> RunOutcome:
    """Return a run with its last metrics and the digests of its artifacts."""
    with tracking.recorder.reading() as db:
        run = reading.run(db, asked.run)
        experiment = reading.experiment(db, id=run.experiment)
        files = artifacts.files_of(db, f"runs/{run.id}")
    return RunOutcome(
        run=run.id,
        experiment=experiment.name,
        name=run.name,
        status=run.status,
        params=run.params,
        tags=run.tags,
        metrics={one.name: one.glance.value for one in run.metrics},
        artifacts={path: digest for path, (digest, _) in files.items()},
    )


@verb("runs.reproduced", needs=WRITE)
def reproduced(tracking: Tracking, asked: ReproducedRequest) -> Reproduced:
    """Put on record what rerunning a run has shown."""
    reruns = tuple(RunId(run) for run in asked.reruns)
    fields = {name: getattr(asked, name) for name in asked.__struct_fields__ if name not in ("run", "reruns")}
    tracking.recorder.do(tracking.reproduced(asked.run, reruns=reruns, **fields))
    return Reproduced(run=asked.run, verdict=asked.verdict)
