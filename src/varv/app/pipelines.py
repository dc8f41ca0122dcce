"""Pipelines on this machine: run, looked at, and run a step at a time for a scheduler of others.

A run takes down what happens in the home's tracking (`app.books`); results are in the home's cache, which
several processes may use at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec

from varv.adapters.processes import Processes
from varv.app.books import open_book
from varv.app.deriving import reading_versions, versions_made, with_versions
from varv.app.server.server_file import running_server
from varv.app.settings import Settings, variables
from varv.data.versioning.deriving import DeriveRequest
from varv.data.versioning.verbs import RewriteDone
from varv.kernel.blobs import FolderBlobs
from varv.kernel.codec import Digest
from varv.kernel.errors import FailedPrecondition, VarvError
from varv.pipelines import Graph, Made, PipelineStep, Runner, StepCache, StepResult, Stop, Watch
from varv.pipelines.graph import within_run
from varv.pipelines.job import in_processes, load_pipeline
from varv.pipelines.recorded import Recorded
from varv.pipelines.running import run_graph, run_here

Ending = Literal["hit", "ran", "failed", "skipped"]


class StepLine(msgspec.Struct, frozen=True, kw_only=True):
    """How a step of a run has ended."""

    step: str
    how: Ending
    why: tuple[str, ...] = ()
    """Why it was not found in the cache; of one that was skipped, the gate and its reason."""
    wall_s: float = 0.0
    attempts: int = 0
    digest: str = ""
    """Of its result."""


class PipelineRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run of a pipeline that has ended well."""

    pipeline: str
    run: str
    steps: tuple[StepLine, ...]
    versions: tuple[RewriteDone, ...] = ()
    """The versions of datasets that it has made."""


class StepOutlook(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a pipeline, and what would become of it if that ran now."""

    step: str
    function: str
    needs: tuple[str, ...]
    after: tuple[str, ...]
    params: dict[str, Any]
    hit: bool
    why: tuple[str, ...]
    """Why it would run: what changed since the nearest run of it, or the steps that run before it."""


def run_pipeline(
    settings: Settings,
    place: str,
    *,
    params: Mapping[str, Any] | None = None,
    to: str = "",
    n_at_once: int = 1,
    here: bool = False,
    write: Callable[[DeriveRequest], RewriteDone],
    on_line: Callable[[StepLine], None] = lambda line: None,
) -> PipelineRun:
    """Run a pipeline, and put the run on record.

    Parameters
    ----------
    place
        ``FILE`` or ``FILE:name``.
    params
        Other values than those declared, as ``step.parameter``.
    to
        The last step that is wanted; all of them unless said otherwise.
    n_at_once
        How many steps run at the same time.
    here
        Whether steps run in this process, instead of one process each.
    write
        Has a version of a dataset written by whoever owns the home.
    on_line
        Called with each step that has ended.

    Raises
    ------
    UserCodeFailed
        If a step failed for good; what was finished is kept, and the next run goes on from there.
    """
    declared, whole = load_pipeline(place)
    pipeline = with_versions(settings, declared.with_params(params or {}))
    graph = pipeline.graph().up_to(to) if to else pipeline.graph()
    cache, cancelled = cache_of(settings), threading.Event()
    with open_book(settings) as book, closing(executor_of(settings, n_at_once)) as executor:
        recorded = Recorded(book, pipeline, Path(whole).name)
        watch = _Both(recorded, on_line)
        runner: Runner = run_here
        if not here:
            blobs = settings.home.resolve() / "blobs"
            runner = in_processes(executor, pipeline, whole, blobs, cancelled)
        runner = reading_versions(settings, pipeline, runner)
        try:
            results = run_graph(
                graph, cache, runner=runner, n_at_once=n_at_once, watch=watch, cancelled=cancelled
            )
        except BaseException as error:
            recorded.close("FAILED" if isinstance(error, VarvError) else "KILLED")
            if isinstance(error, VarvError):
                error.facts.setdefault("run", recorded.run)
            raise
        recorded.close("FINISHED")
    # The home is nobody's again: the run is on record, and a version says which one made it.
    made = versions_made(settings, pipeline, results, recorded.run)
    versions = tuple(write(asked) for asked in made)
    order = [step.name for step in graph.steps]
    lines = tuple(sorted(watch.lines, key=lambda line: order.index(line.step)))
    return PipelineRun(pipeline=pipeline.name, run=recorded.run, steps=lines, versions=versions)


def run_step(settings: Settings, place: str, step: str, *, run: str, expected: str = "") -> Stop | None:
    """Run one step, whose inputs earlier steps have left in the cache; return what it shuts, if it is a gate.

    Parameters
    ----------
    run
        Names the run of the scheduler: steps that are never cached are found again within it.
    expected
        The digest of the pipeline that the scheduler was told of, if it is to be the same.

    Raises
    ------
    FailedPrecondition
        If the pipeline is another by now, or a step before has no result.
    """
    pipeline, whole = load_pipeline(place)
    if expected and not pipeline.digest.startswith(expected):
        problem = "has changed since it was exported"
        raise FailedPrecondition("pipeline", pipeline.name, problem, hint="run varv export pipeline again")
    graph = within_run(pipeline.graph().up_to(step), run)
    cancelled = threading.Event()
    with closing(executor_of(settings, 1)) as executor:
        blobs = settings.home.resolve() / "blobs"
        runner = in_processes(executor, pipeline, whole, blobs, cancelled)
        only = partial(_only, step, runner)
        found = run_graph(graph, cache_of(settings), runner=only, cancelled=cancelled).get(step)
    if found is None:
        return Stop("a gate before it is shut")
    return found.value if found.step.is_gate and isinstance(found.value, Stop) else None


def outlook(settings: Settings, place: str, params: Mapping[str, Any] | None = None) -> list[StepOutlook]:
    """Return the steps of a pipeline, and what would become of each if it ran now; nothing runs."""
    pipeline = with_versions(settings, load_pipeline(place)[0].with_params(params or {}))
    graph: Graph = pipeline.graph()
    known = graph.outlook(cache_of(settings))
    found = []
    for node, step in zip(pipeline.nodes, graph.steps, strict=True):
        one = known[step.name]
        found.append(
            StepOutlook(
                step=step.name,
                function=node.step.name,
                needs=tuple(need for need in step.needs.values() if isinstance(need, str)),
                after=step.after,
                params=node.params,
                hit=one.hit,
                why=one.missed_for or tuple(f"step {name} runs first" for name in one.waits_for),
            )
        )
    return found


def cache_of(settings: Settings) -> StepCache:
    """Return the home's cache of results, made if it is not there."""
    return StepCache(settings.home / "cache", FolderBlobs(settings.home / "blobs"))


class _Both(Watch):
    """Takes steps down, and lists how they have ended."""

    def __init__(self, recorded: Recorded, on_line: Callable[[StepLine], None]) -> None:
        self._recorded, self._on_line = recorded, on_line
        self.lines: list[StepLine] = []
        self.began = recorded.began
        self.retries = recorded.retries

    def ended(self, result: StepResult) -> None:
        """Take note that a step has a result."""
        self._recorded.ended(result)
        took = result.took
        self._add(
            StepLine(
                step=result.step.name,
                how="hit" if result.hit else "ran",
                why=result.missed_for,
                wall_s=round(took.wall_s, 6),
                attempts=took.attempts,
                digest=result.digest,
            )
        )

    def failed(self, step: PipelineStep, error: BaseException) -> None:
        """Take note that a step has given up."""
        self._recorded.failed(step, error)
        self._add(StepLine(step=step.name, how="failed"))

    def skipped(self, step: PipelineStep, gate: str, reason: str) -> None:
        """Take note that a gate is shut."""
        self._recorded.skipped(step, gate, reason)
        self._add(StepLine(step=step.name, how="skipped", why=(f"gate {gate} is shut: {reason}",)))

    def _add(self, line: StepLine) -> None:
        self.lines.append(line)
        self._on_line(line)


def _only(
    wanted: str, runner: Runner, step: PipelineStep, results: Mapping[str, StepResult], key: Digest
) -> Made:
    if step.name != wanted:
        hint = "run it first, in the same home and under the same name of the run"
        raise FailedPrecondition("step", step.name, f"has no result for {wanted!r} to go on from", hint=hint)
    return runner(step, results, key)


def executor_of(settings: Settings, n_at_once: int) -> Processes:
    """Return what runs steps: no spares, since they import more than most steps need."""
    folder = settings.home / "steps"
    folder.mkdir(parents=True, exist_ok=True)
    return Processes(
        variables(),
        n_at_once=n_at_once,
        n_spares=0,
        preload=(),
        # Somebody waits for them, so they stand back only where something is served.
        nice=0 if running_server(settings) is None else settings.training_nice,
        folder=folder,
    )
