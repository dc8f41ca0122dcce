"""One step in a process of its own: the job that runs it, and the runner that hands it to an executor.

Only the names of things go there: the file that declares the pipeline, the step, and the digests of its
inputs, which the job reads from the home's blobs. What comes back is the result as bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import msgspec

from varv.kernel.author_files import declared_in
from varv.kernel.blobs import FolderBlobs
from varv.kernel.codec import Digest, canonical
from varv.kernel.errors import FailedPrecondition, InvalidInput
from varv.kernel.executor import Executor
from varv.pipelines import values
from varv.pipelines.closure import code_closure
from varv.pipelines.declared import Pipeline, Steps
from varv.pipelines.graph import Input, PipelineStep, StepResult, Took
from varv.pipelines.reporting import Report, never, post_over
from varv.pipelines.running import Made, Runner
from varv.pipelines.steps import Node


def load_pipeline(place: str) -> tuple[Pipeline, str]:
    """Return the pipeline that ``FILE`` or ``FILE:name`` declares, and its whole place.

    Raises
    ------
    NotFound
        If there is no such file or name.
    InvalidDeclaration
        If there is none, or several and no name.
    UserCodeFailed
        If running the file raised; the line is named.
    """
    return declared_in(place, Pipeline, "pipeline")


class StepJob(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt of one step."""

    entry: ClassVar[str] = "varv.pipelines.job:StepJob"

    place: str
    """Where what has the step is declared: a whole path with a name."""
    step: str
    code: Digest
    """Of the code that the function reaches, as whoever runs the pipeline has loaded it."""
    blobs: str
    """The folder that results of earlier steps are read from."""
    results: dict[str, Digest]
    """Of the parameters that are results of earlier steps."""
    constants: dict[str, bytes]
    """Of the others, as JSON."""
    reports: str = ""
    """The parameter that is given what reports progress."""
    address: str = ""
    """Where reports go; nowhere if nobody waits for any."""

    @property
    def subject(self) -> tuple[str, str]:
        """The step."""
        return "step", self.step

    def encode(self) -> bytes:
        """Return the job as bytes."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, data: bytes, /) -> Self:
        """Return the job that `encode` wrote."""
        return msgspec.msgpack.decode(data, type=cls)

    def run(self) -> bytes:
        """Load the pipeline, call the step's function, and return what it returned as bytes.

        Raises
        ------
        FailedPrecondition
            If the function has another code than the run began with: its result would be kept for that.
        """
        declared, _ = declared_in(self.place, Steps, "pipeline")
        node = declared.pipeline.node(self.step)
        of = node.step
        if code_closure(of.function).digest != self.code:
            problem = "has changed since the pipeline began to run"
            raise FailedPrecondition("step", self.step, problem, hint="run the pipeline again")
        inputs = {
            name: values.decode(self.step, data, of.inputs[name]) for name, data in self.constants.items()
        }
        blobs = FolderBlobs(Path(self.blobs))
        for name, digest in self.results.items():
            inputs[name] = values.decode(self.step, blobs.get(digest), _made_by(node, name))
        if self.reports:
            inputs[self.reports] = Report(post_over(self.address) if self.address else never)
        return values.encode(self.step, of.function(**inputs), of.returns)


def in_processes(
    executor: Executor,
    pipeline: Pipeline,
    place: str,
    blobs: Path,
    cancelled: threading.Event,
    *,
    address: str = "",
) -> Runner:
    """Return what runs each step as a job of an executor.

    Parameters
    ----------
    place
        Where what has its steps is declared: a whole path with a name.
    blobs
        The folder of the cache's blobs.
    cancelled
        Ends what runs, once set.
    address
        Where what steps report goes, of a `PostOffice`.
    """

    def run(step: PipelineStep, results: Mapping[str, StepResult], key: Digest) -> Made:
        constants = {
            one: canonical(need.load()) for one, need in step.needs.items() if isinstance(need, Input)
        }
        if step.keyed:
            constants[step.keyed] = canonical(key)
        job = StepJob(
            place=place,
            step=step.name,
            code=code_closure(step.run).digest,
            blobs=str(blobs),
            results={one: results[need].digest for one, need in step.needs.items() if isinstance(need, str)},
            constants=constants,
            reports=step.reports,
            address=address,
        )
        limits = pipeline.node(step.name).step.options.limits
        done = executor.run(job, limits=limits, cancelled=cancelled)
        took = Took(done.wall_s, done.cpu_s, done.peak_bytes)
        return Made(done.value, took, done.output.text)

    return run


def _made_by(node: Node, name: str) -> Any:
    given = node.given[name]
    if not isinstance(given, Node):
        raise InvalidInput(
            "step", node.name, f"is given no result for {name!r}", hint="run the pipeline again"
        )
    return given.step.returns
