"""Studies on this machine: trials are runs of a pipeline in processes, by the home's cache."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from varv.app.books import open_book
from varv.app.pipelines import cache_of, executor_of
from varv.app.settings import Settings
from varv.kernel.author_files import declared_in
from varv.kernel.errors import InvalidInput, NotFound
from varv.kernel.executor import Executor
from varv.pipelines import PostOffice, Runner
from varv.pipelines.job import in_processes
from varv.pipelines.reporting import Post
from varv.pipelines.running import run_graph, run_here
from varv.tuning import Outcome, Study, Trial, Tune, run_study
from varv.tuning.declared import best_of
from varv.tuning.running import recorded


class StudyReport(msgspec.Struct, frozen=True, kw_only=True):
    """A study as it stands."""

    study: str
    run: str
    direction: str
    best: Trial | None
    """The first of the trials with the best value; None before one is complete."""
    trials: tuple[Trial, ...]
    history: tuple[float | None, ...]
    """The best value up to each trial."""
    importance: dict[str, float]
    """The share of the variance of values that each parameter explains."""


def load_study(place: str) -> tuple[Tune, str]:
    """Return the study that ``FILE`` or ``FILE:name`` declares, and its whole place."""
    return declared_in(place, Tune, "study")


def tune(
    settings: Settings,
    place: str,
    *,
    trials: int = 0,
    n_at_once: int = 1,
    here: bool = False,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> StudyReport:
    """Run a study, or go on with it, and return how it stands.

    Parameters
    ----------
    trials
        How many there are to be in all; as declared if 0.
    n_at_once
        How many run at the same time.
    here
        Whether they run in this process.
    on_trial
        Called with each trial that was told.

    Raises
    ------
    UserCodeFailed
        If several trials failed one after the other.
    """
    declared, whole = load_study(place)
    declared.trials = trials or declared.trials
    with (
        open_book(settings) as book,
        closing(executor_of(settings, n_at_once)) as executor,
        closing(PostOffice()) as office,
    ):
        trial = _Trials(settings, declared, whole, None if here else executor, office)
        run, told = run_study(
            declared,
            book,
            trial.outcome,
            place=Path(whole).name,
            n_at_once=n_at_once,
            on_trial=on_trial,
            cancelled=trial.cancelled,
        )
    return report(declared, run, told)


class _Trials:
    """Runs trials of a study: in processes of an executor, or without one in this process."""

    def __init__(
        self, settings: Settings, declared: Tune, place: str, executor: Executor | None, office: PostOffice
    ) -> None:
        self._declared, self._place, self._executor, self._office = declared, place, executor, office
        self._cache, self._blobs = cache_of(settings), settings.home.resolve() / "blobs"
        self.cancelled = threading.Event()

    def outcome(self, params: Mapping[str, Any], post: Post) -> Outcome:
        """Return what a trial returns, as `varv.tuning.Evaluate` says."""
        pipeline = self._declared.pipeline.with_params(params)
        with self._office.address(post) as address:
            runner: Runner = partial(run_here, post=post)
            if self._executor is not None:
                runner = in_processes(
                    self._executor, pipeline, self._place, self._blobs, self.cancelled, address=address
                )
            results = run_graph(pipeline.graph(), self._cache, runner=runner, cancelled=self.cancelled)
        found = results.get(self._declared.objective.name)
        if found is None:
            hint = "leave its gates open for every trial, or declare no gate"
            raise InvalidInput("trial", "", "has no value: a gate is shut", hint=hint)
        return Outcome(float(found.value), found.hit)


def study_report(settings: Settings, place: str) -> StudyReport:
    """Return how a study stands that was run before.

    Raises
    ------
    NotFound
        If it was not, as it is declared now.
    """
    declared, _ = load_study(place)
    with open_book(settings) as book:
        run, trials, _ = recorded(declared, book)
    if run is None:
        hint = "varv tune run runs it; with another code, space or seed it is another study"
        raise NotFound("study", declared.name, "has not run yet", hint=hint)
    return report(declared, run, trials)


def report(declared: Tune, run: str, trials: list[Trial]) -> StudyReport:
    """Return a study's trials with what they say together."""
    values: list[float] = []
    history: list[float | None] = []
    best = None
    for trial in trials:
        if trial.value is not None:
            values.append(trial.value)
            if best is None or best_of(declared.direction, [best.value or 0.0, trial.value]) != best.value:
                best = trial
        history.append(best_of(declared.direction, values) if values else None)
    return StudyReport(
        study=declared.name,
        run=run,
        direction=declared.direction,
        best=best,
        trials=tuple(trials),
        history=tuple(history),
        importance=Study(declared, trials).importance(),
    )
