"""Running a study: trials side by side, each a run below the study's, and on from what is on record.

The study is told in the order of the trials' numbers, and a trial is asked once all but the last few before
it were told. So equal seeds and equal numbers of trials at a time ask equal trials, whichever is faster.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import msgspec

from varv.kernel.codec import canonical, finite
from varv.kernel.errors import Interrupted, InvalidInput, UserCodeFailed, VarvError
from varv.pipelines.recorded import shown
from varv.pipelines.reporting import Post
from varv.runs.book import PARENT, RunBook
from varv.runs.model import RunId
from varv.tuning.declared import MOST_HITS, Tune
from varv.tuning.study import State, Study, Trial

STUDY, DIGEST, TRIAL, ASKED, TOLD = "varv.study", "varv.digest", "varv.trial", "varv.asked", "varv.told"
"""Tags: the study that a run is of, and its digest; a trial's number, its parameters, what came of it."""
VALUE, REPORTED = "value", "reported"
"""Metrics of a trial: what it returned, and what it reported."""
MOST_FAILURES = 5
"""Failures one after the other after which a study gives up: the next one would fail as well."""
MOST_POINTS = 200
"""Reported values of a trial that are compared with those of later ones; all of them are metrics."""
_LONGEST_TAG = 5000


class Outcome(NamedTuple):
    """What a trial returned, and whether that was found instead of made."""

    value: float
    cached: bool


Evaluate = Callable[[Mapping[str, Any], Post], Outcome]
"""Runs a trial with some parameters; what it reports goes to the second."""
OnTrial = Callable[[Trial], None]


class _Told(msgspec.Struct, frozen=True):
    state: State
    value: float | None
    cached: bool
    points: list[tuple[int, float | None]]
    lost: bool = False


def run_study(
    tune: Tune,
    book: RunBook,
    evaluate: Evaluate,
    *,
    place: str,
    n_at_once: int,
    on_trial: OnTrial,
    cancelled: threading.Event,
) -> tuple[RunId, list[Trial]]:
    """Run a study to its end, and return its run and all its trials.

    Parameters
    ----------
    place
        The file that declares it.
    n_at_once
        How many trials run at the same time.
    on_trial
        Called with each trial that was told.
    cancelled
        Set if the study ends before its trials do, for them to end.

    Raises
    ------
    UserCodeFailed
        If several trials failed one after the other; what is on record stays.
    """
    run = _Run(tune, book, evaluate, place, on_trial)
    with ThreadPoolExecutor(n_at_once) as pool:
        try:
            run.through(pool, n_at_once)
        except BaseException:
            cancelled.set()
            raise
    return run.run, run.trials


def recorded(tune: Tune, book: RunBook) -> tuple[RunId | None, list[Trial], dict[int, RunId]]:
    """Return the latest run of a study as it is declared, with its trials, and the runs of these."""
    experiment = book.experiment(tune.name)
    of = [one for one in book.tagged(experiment, STUDY) if one.tags.get(DIGEST) == tune.digest]
    if not of:
        return None, [], {}
    run = of[-1].run
    trials: dict[int, Trial] = {}
    runs: dict[int, RunId] = {}
    for one in book.tagged(experiment, TRIAL):
        if one.tags.get(PARENT) == run:
            trial = _read(one.tags, tune)
            trials[trial.number], runs[trial.number] = trial, one.run
    return run, [trials[number] for number in sorted(trials)], runs


class _Run:
    def __init__(self, tune: Tune, book: RunBook, evaluate: Evaluate, place: str, on_trial: OnTrial) -> None:
        self._tune, self._book, self._evaluate, self._on_trial = tune, book, evaluate, on_trial
        found, before, runs = recorded(tune, book)
        self._experiment = book.experiment(tune.name)
        self.run = self._begun(place) if found is None else found
        self._study = Study(tune, before)
        self._below = runs
        self.trials = [self._told_at_last(trial) for trial in before]
        self._failures: list[VarvError] = []

    def through(self, pool: ThreadPoolExecutor, n_at_once: int) -> None:
        """Ask, run and tell until there are enough trials, or nothing new comes of them."""
        running: dict[int, Future[Trial]] = {}
        n_asked = sum(not trial.lost for trial in self.trials)
        try:
            while True:
                while n_asked < self._tune.trials and len(running) < n_at_once and not self._is_dry():
                    trial = self._asked()
                    running[trial.number] = pool.submit(self._tried, trial)
                    n_asked += 1
                if not running:
                    break
                self._tell(running.pop(min(running)).result())
        except BaseException as error:
            for future in running.values():
                future.cancel()
            self._book.end(self.run, "FAILED" if isinstance(error, UserCodeFailed) else "KILLED")
            raise
        self._book.end(self.run, "FINISHED")

    def _is_dry(self) -> bool:
        last = self.trials[-MOST_HITS:]
        return len(last) == MOST_HITS and all(trial.cached for trial in last)

    def _asked(self) -> Trial:
        trial = self._study.ask()
        tags = {TRIAL: str(trial.number), PARENT: self.run, ASKED: canonical(trial.params).decode()}
        run = self._book.begin(self._experiment, f"trial-{trial.number}", tags)
        self._book.log(run, params={name: shown(value) for name, value in trial.params.items()})
        self._below[trial.number] = run
        return trial

    def _tried(self, trial: Trial) -> Trial:
        """Run a trial, in a thread of its own."""
        number, stopped = trial.number, list[int]()

        def post(step: int, value: float) -> bool:
            self._book.log(self._below[number], metrics={REPORTED: value}, step=step)
            stops = self._study.report(number, step, value)
            if stops:
                stopped.append(step)
            return stops

        state: State = "COMPLETE"
        outcome = Outcome(math.nan, False)
        try:
            outcome = self._evaluate(trial.params, post)
            if not math.isfinite(outcome.value):
                hint = "return a finite number"
                raise InvalidInput("trial", number, "returned none", value=outcome.value, hint=hint)
        except Interrupted:
            raise
        except VarvError as error:
            state = "PRUNED" if stopped else "FAIL"
            if not stopped:
                self._failed(number, error)
        return msgspec.structs.replace(
            trial,
            state=state,
            value=outcome.value if state == "COMPLETE" else None,
            cached=outcome.cached,
            points=self._study.points(number),
        )

    def _failed(self, number: int, error: VarvError) -> None:
        self._book.log(self._below[number], tags={"varv.error": error.whole[:_LONGEST_TAG]})
        self._failures.append(error)

    def _tell(self, trial: Trial) -> None:
        assert trial.state is not None, "a trial that has ended has a state"
        self._study.tell(trial)
        self.trials.append(trial)
        self._take_down(trial)
        self._on_trial(trial)
        last = self.trials[-MOST_FAILURES:]
        if len(last) == MOST_FAILURES and all(one.state == "FAIL" for one in last) and self._failures:
            raise self._failures[-1]

    def _told_at_last(self, trial: Trial) -> Trial:
        """Return a trial that is on record; one that was never told has failed, and is asked again."""
        if trial.state is not None:
            return trial
        lost = msgspec.structs.replace(trial, state="FAIL", lost=True)
        self._take_down(lost)
        return lost

    def _take_down(self, trial: Trial) -> None:
        assert trial.state is not None, "a trial that was told has a state"
        # A tag has a largest size, and later trials are stopped early if at all.
        points = [(step, finite(value)) for step, value in sorted(trial.points.items())[:MOST_POINTS]]
        told = _Told(trial.state, trial.value, trial.cached, points, trial.lost)
        run = self._below[trial.number]
        metrics = {} if trial.value is None else {VALUE: trial.value}
        self._book.log(run, tags={TOLD: canonical(told).decode()}, metrics=metrics)
        self._book.end(run, "FAILED" if trial.state == "FAIL" else "FINISHED")

    def _begun(self, place: str) -> RunId:
        tags = {STUDY: self._tune.name, DIGEST: self._tune.digest, "mlflow.source.name": place}
        run = self._book.begin(self._experiment, self._tune.name, tags)
        space = {name: canonical(values).decode() for name, values in self._tune.space.items()}
        told = {name: str(getattr(self._tune, name)) for name in ("direction", "sampler", "pruner", "seed")}
        self._book.log(run, params={**told, **space})
        return run


def _read(tags: Mapping[str, str], tune: Tune) -> Trial:
    asked = msgspec.json.decode(tags[ASKED], type=dict[str, Any])
    trial = Trial(number=int(tags[TRIAL]), params={name: asked[name] for name in tune.space})
    if TOLD not in tags:
        return trial
    told = msgspec.json.decode(tags[TOLD], type=_Told)
    points = {step: math.nan if value is None else value for step, value in told.points}
    return msgspec.structs.replace(
        trial, state=told.state, value=told.value, cached=told.cached, points=points, lost=told.lost
    )
