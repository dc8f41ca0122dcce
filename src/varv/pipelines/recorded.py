"""A run of a pipeline on record: a run of tracking, with a run below it for each step that ran.

What was found in the cache has no run of its own: the run that made it has one. Results are artifacts of the
pipeline's run in any case, so that it shows all that it led to.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from varv.kernel.codec import Digest, canonical
from varv.kernel.errors import VarvError
from varv.pipelines import values
from varv.pipelines.declared import Pipeline
from varv.pipelines.graph import Input, PipelineStep, StepResult
from varv.pipelines.running import Watch
from varv.runs.book import PARENT, RunBook
from varv.runs.model import RunId, Status

PIPELINE, STEP, ENDED = "varv.pipeline", "varv.step", "varv.step."
"""Tags: which pipeline a run is of, which step, and how the step of a name has ended."""
_TYPE, _SOURCE = "mlflow.source.type", "mlflow.source.name"
_LONGEST_TAG = 5000


class Recorded(Watch):
    """Takes down what happens to the steps of one run.

    Parameters
    ----------
    book
        Where.
    pipeline
        What runs.
    place
        The file that declares it.
    """

    def __init__(self, book: RunBook, pipeline: Pipeline, place: str) -> None:
        self._book = book
        self._experiment = book.experiment(pipeline.name)
        for tag in (PIPELINE, STEP) if book.is_alone else ():
            for left in book.tagged(self._experiment, tag):
                if left.status == "RUNNING":
                    book.end(left.run, "KILLED")
        tags = {PIPELINE: pipeline.name, "varv.digest": pipeline.digest, _TYPE: "PROJECT", _SOURCE: place}
        self.run = book.begin(self._experiment, "", tags)
        params = {name: shown(value) for name, value in pipeline.params.items()}
        book.log(self.run, params={**params, "seed": str(pipeline.seed)})
        self._below: dict[str, RunId] = {}
        self._lock = threading.Lock()

    def began(self, step: PipelineStep, key: Digest, missed_for: tuple[str, ...]) -> None:
        """Begin a run for the step."""
        why = ", ".join(missed_for)[:_LONGEST_TAG]
        tags = {STEP: step.name, "varv.key": key, "varv.missed_for": why, PARENT: self.run}
        run = self._book.begin(self._experiment, step.name, tags)
        given = {
            name: shown(need.load())
            for name, need in step.needs.items()
            if isinstance(need, Input) and need.label == "parameter"
        }
        if given:
            self._book.log(run, params=given)
        with self._lock:
            self._below[step.name] = run

    def retries(self, step: PipelineStep, attempt: int, error: VarvError, wait_s: float) -> None:
        """Say why an attempt failed."""
        self._book.log(self._below[step.name], tags={f"varv.attempt.{attempt}": str(error)[:_LONGEST_TAG]})

    def ended(self, result: StepResult) -> None:
        """Keep the result, and end the step's run."""
        step = result.step
        name = f"{step.name}.{values.extension(step.produces)}"
        self._book.keep(self.run, name, result.data)
        self._book.log(self.run, tags={ENDED + step.name: "hit" if result.hit else "ran"})
        run = self._below.get(step.name)
        if run is None:
            return
        took = result.took
        metrics = {"wall_s": took.wall_s, "cpu_s": took.cpu_s, "attempts": float(took.attempts)}
        self._book.log(run, metrics={**metrics, "result_bytes": float(len(result.data))})
        self._book.keep(run, name, result.data)
        if result.output:
            self._book.keep(run, "output.txt", result.output.encode())
        self._end(step.name, "FINISHED")

    def failed(self, step: PipelineStep, error: BaseException) -> None:
        """End the step's run with what it raised."""
        self._book.log(self.run, tags={ENDED + step.name: "failed"})
        if (run := self._below.get(step.name)) is not None:
            said = error.whole if isinstance(error, VarvError) else repr(error)
            self._book.log(run, tags={"varv.error": said[:_LONGEST_TAG]})
            self._end(step.name, "FAILED")

    def skipped(self, step: PipelineStep, gate: str, reason: str) -> None:
        """Say which gate is shut."""
        said = f"skipped: gate {gate} is shut: {reason}"
        self._book.log(self.run, tags={ENDED + step.name: said[:_LONGEST_TAG]})

    def close(self, status: Status) -> None:
        """End the pipeline's run, and those of steps that were cut short."""
        for name in list(self._below):
            self._end(name, "KILLED")
        self._book.end(self.run, status)

    def _end(self, step: str, status: Status) -> None:
        with self._lock:
            run = self._below.pop(step)
        self._book.end(run, status)


def shown(value: object) -> str:
    """Return a parameter as runs hold it: a text as it is, everything else as JSON."""
    return value if isinstance(value, str) else canonical(value).decode()


def told(tags: Mapping[str, str]) -> dict[str, str]:
    """Return how each step of a recorded run has ended, from the tags of the run."""
    return {name.removeprefix(ENDED): how for name, how in tags.items() if name.startswith(ENDED)}
