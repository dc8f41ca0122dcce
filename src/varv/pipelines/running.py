"""Running a graph: what is there is taken, what is not runs as soon as what it needs is there.

Where a step runs is its caller's to say by a `Runner`; here steps are only put in order, kept, tried again
and watched. Equal work is done once, also if two branches, or two graphs, ask for it at the same time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from typing import Any, NamedTuple, TypeVar

import msgspec

from varv.kernel.clock import cpu_seconds, wall_seconds
from varv.kernel.codec import Digest, digest_of
from varv.kernel.errors import UserCodeFailed, VarvError
from varv.kernel.job_ends import was_cancelled
from varv.kernel.user_code import UserCode
from varv.pipelines import values
from varv.pipelines.cache import StepCache
from varv.pipelines.graph import (
    Graph,
    Input,
    PipelineResult,
    PipelineStep,
    StepResult,
    Stop,
    Took,
    is_cached,
    key_parts,
    why_missed,
)
from varv.pipelines.reporting import Post, Report, never

MOST_WAIT_S = 300.0
T = TypeVar("T")


class Made(NamedTuple):
    """What a step returned, as bytes, what that took, and what it printed, where that is kept."""

    data: bytes
    took: Took
    output: str = ""


Runner = Callable[[PipelineStep, Mapping[str, StepResult], Digest], Made]
"""Runs one step once, given the results of the steps before it and its key."""


class Watch:
    """Is told what happens to the steps of a run, from any thread; this one does nothing about it."""

    def began(self, step: PipelineStep, key: Digest, missed_for: tuple[str, ...]) -> None:
        """Take note that a step runs, and why no stored result was taken."""

    def retries(self, step: PipelineStep, attempt: int, error: VarvError, wait_s: float) -> None:
        """Take note that an attempt, counted from 1, has failed and another one follows."""

    def ended(self, result: StepResult) -> None:
        """Take note that a step has a result, stored or new."""

    def failed(self, step: PipelineStep, error: BaseException) -> None:
        """Take note that a step has given up."""

    def skipped(self, step: PipelineStep, gate: str, reason: str) -> None:
        """Take note that a step does not run, since a gate before it is shut."""


def run_here(
    step: PipelineStep, results: Mapping[str, StepResult], key: Digest, *, post: Post = never
) -> Made:
    """Run a step in this thread; what it reports goes to `post`."""
    inputs = {
        name: need.load() if isinstance(need, Input) else results[need].value
        for name, need in step.needs.items()
    }
    if step.keyed:
        inputs[step.keyed] = key
    if step.reports:
        inputs[step.reports] = Report(post)
    wall, cpu = wall_seconds(), cpu_seconds()
    with UserCode("step", step.name):
        data = values.encode(step.name, step.run(**inputs), step.produces)
    return Made(data, Took(wall_seconds() - wall, cpu_seconds() - cpu))


def run_graph(
    graph: Graph,
    cache: StepCache,
    *,
    runner: Runner = run_here,
    n_at_once: int = 1,
    watch: Watch | None = None,
    cancelled: threading.Event | None = None,
    pause: Callable[[float], object] | None = None,
) -> PipelineResult:
    """Run what is not in `cache`, and return the result of every step that has one.

    Parameters
    ----------
    n_at_once
        How many steps run at the same time; a single one runs in this thread.
    cancelled
        Lets no further step begin, once set; it is set if this thread is interrupted.
    pause
        Waits so many seconds before a step is tried again.

    Raises
    ------
    UserCodeFailed
        If a step raised and has no retries left; what ran beside it has ended, and its results are kept.
    Interrupted
        If it was cancelled.
    """
    cancelled = cancelled or threading.Event()
    run = _Run(graph, cache, runner, watch or Watch(), cancelled, pause or cancelled.wait)
    with ThreadPoolExecutor(n_at_once) if n_at_once > 1 else nullcontext(None) as pool:
        try:
            run.through(pool, n_at_once)
        except KeyboardInterrupt:
            # The threads end with what they run, and that would take its time.
            cancelled.set()
            raise
    return {step.name: run.results[step.name] for step in graph.steps if step.name in run.results}


class _Run:
    def __init__(
        self,
        graph: Graph,
        cache: StepCache,
        runner: Runner,
        watch: Watch,
        cancelled: threading.Event,
        pause: Callable[[float], object],
    ) -> None:
        self._cache, self._runner, self._watch = cache, runner, watch
        self._cancelled, self._pause = cancelled, pause
        self._waiting = list(graph.steps)
        self._shut: dict[str, tuple[str, str]] = {}
        """Gates that are shut and steps that are not run for them: the gate and its reason."""
        self._under_way: dict[str, dict[str, str]] = {}
        """Parts of the key of each step that runs."""
        self.results: PipelineResult = {}

    def through(self, pool: Executor | None, n_at_once: int) -> None:
        """Run all steps, and raise the error of the first that failed."""
        running: dict[Future[StepResult], PipelineStep] = {}
        failed: dict[str, BaseException] = {}
        while True:
            while not failed and len(running) < n_at_once and (step := self._next()) is not None:
                running[_submitted(pool, self._result, step)] = step
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                step = running.pop(future)
                self._under_way.pop(step.name)
                if (error := future.exception()) is None:
                    self._take(future.result())
                else:
                    failed[step.name] = error
                    self._watch.failed(step, error)
        if failed:
            raise next(iter(failed.values()))
        assert not self._waiting, "a step waits for nothing"

    def _next(self) -> PipelineStep | None:
        """Return a step that can run now, or None."""
        for step in list(self._waiting):
            shut = next((self._shut[name] for name in step.before if name in self._shut), None)
            if shut is not None:
                self._waiting.remove(step)
                self._shut[step.name] = shut
                self._watch.skipped(step, *shut)
            elif all(name in self.results for name in step.before):
                parts = key_parts(step, {name: result.digest for name, result in self.results.items()})
                self._waiting.remove(step)
                self._under_way[step.name] = parts
                return step
        return None

    def _take(self, result: StepResult) -> None:
        name = result.step.name
        self.results[name] = result
        if result.step.is_gate and isinstance(result.value, Stop):
            self._shut[name] = (name, result.value.reason)
        self._watch.ended(result)

    def _result(self, step: PipelineStep) -> StepResult:
        parts = self._under_way[step.name]
        key = digest_of(parts)
        with self._cache.alone(key) if is_cached(step) else nullcontext():
            if is_cached(step) and (found := self._cache.find(step.place, key)) is not None:
                return StepResult(step, found[1], found[0], key, hit=True)
            return self._new(step, key, parts)

    def _new(self, step: PipelineStep, key: Digest, parts: dict[str, str]) -> StepResult:
        missed_for = why_missed(step, self._cache, parts)
        self._watch.began(step, key, missed_for)
        made = self._tried(step, key)
        # What is handed on is what a later hit would hand on, so a rerun cannot differ from the first run.
        if is_cached(step):
            kept = self._cache.keep(step.place, key, parts, made.data)
        else:
            kept = self._cache.blobs.put(made.data)
        return StepResult(step, made.data, kept, key, False, missed_for, made.took, made.output)

    def _tried(self, step: PipelineStep, key: Digest) -> Made:
        attempt = 1
        while True:
            if self._cancelled.is_set():
                raise was_cancelled(("step", step.name))
            try:
                made = self._runner(step, self.results, key)
                return made._replace(took=msgspec.structs.replace(made.took, attempts=attempt))
            except VarvError as error:
                # A result of a wrong type would be wrong again.
                if attempt > step.retries or not (isinstance(error, UserCodeFailed) or error.retryable):
                    raise
                wait_s = min(step.backoff_s * 2 ** (attempt - 1), MOST_WAIT_S)
                self._watch.retries(step, attempt, error, wait_s)
                self._pause(wait_s)
                attempt += 1


def _submitted(pool: Executor | None, act: Callable[..., T], *given: Any) -> Future[T]:
    """Return what is done in a thread of a pool, or has been done in this one."""
    if pool is not None:
        return pool.submit(act, *given)
    done: Future[T] = Future()
    try:
        done.set_result(act(*given))
    except Exception as error:  # noqa: BLE001 - it is raised once what runs beside it has ended
        done.set_exception(error)
    return done
