"""A study in memory: Optuna, asked for parameters and told what came of them.

Its storages are not used: what was asked and told is on record as runs, and a study is made anew of them.
The sampler of each trial is seeded by how many began before it, so one that goes on asks what it would have
asked.
Source: Optuna's documentation of its ask-and-tell interface.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from varv.kernel.codec import canonical
from varv.kernel.errors import FailedPrecondition
from varv.kernel.ids import derived_seed
from varv.pipelines.space import OneOf
from varv.tuning.declared import Tune

if TYPE_CHECKING:
    import optuna

State = Literal["COMPLETE", "PRUNED", "FAIL"]
WARMED_UP = 5
"""Trials before which none is pruned: a median of fewer says little."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A trial that was asked, and told unless it has no state."""

    number: int
    params: dict[str, Any]
    state: State | None = None
    value: float | None = None
    cached: bool = False
    """Whether its result was found instead of made."""
    points: dict[int, float] = {}
    """What it reported, by step."""
    lost: bool = False
    """Whether it was cut short, told as failed, and asked again under another number."""


class Study:
    """Optuna's study of what is declared.

    Parameters
    ----------
    tune
        The declaration.
    before
        Trials that are on record. Those that were asked and never told are told as failed, and asked again.
    """

    def __init__(self, tune: Tune, before: Sequence[Trial] = ()) -> None:
        self._optuna = _optuna()
        self._tune = tune
        self._study = self._optuna.create_study(direction=tune.direction)
        self._distributions = {name: self._distribution(name) for name in tune.space}
        self._open: dict[int, tuple[optuna.Trial, int]] = {}
        """Trials that run, and how many were told before each was asked."""
        self._points: dict[int, dict[int, float]] = {}
        self._complete: list[optuna.trial.FrozenTrial] = []
        states = self._optuna.trial.TrialState
        self._begun = (states.COMPLETE, states.PRUNED, states.FAIL, states.RUNNING)
        self._n_lost = sum(trial.lost or trial.state is None for trial in before)
        for trial in before:
            self._study.add_trial(self._frozen(trial))
            self._take(trial.number)
        again = [trial.params for trial in before if trial.state is None]
        if not before and tune.first is not None:
            again = [tune.first]
        for params in again:
            self._study.enqueue_trial(self._inner(params))

    def ask(self) -> Trial:
        """Return the next trial."""
        n_begun = len(self._study.get_trials(deepcopy=False, states=self._begun)) - self._n_lost
        self._study.sampler = self._sampler(n_begun)
        asked = self._study.ask(self._distributions)
        self._open[asked.number] = asked, len(self._complete)
        self._points[asked.number] = {}
        params = {name: self._outer(name, value) for name, value in asked.params.items()}
        return Trial(number=asked.number, params=params)

    def report(self, number: int, step: int, value: float) -> bool:
        """Take a value that a trial reports, and return whether it is to stop.

        It is compared with the trials that were told before it was asked, so the answer does not depend on
        which of those beside it is faster.
        """
        _, n_before = self._open[number]
        points = self._points[number]
        points[step] = value
        if self._tune.pruner is None:
            return False
        trial = self._optuna.trial.create_trial(
            state=self._optuna.trial.TrialState.RUNNING, intermediate_values=dict(points)
        )
        then: Any = _Then(self._study.direction, self._complete[:n_before])
        return self._optuna.pruners.MedianPruner(n_startup_trials=WARMED_UP).prune(then, trial)

    def points(self, number: int) -> dict[int, float]:
        """Return what a trial that runs has reported."""
        return dict(self._points[number])

    def tell(self, told: Trial) -> None:
        """Tell what came of a trial; in the order of their numbers, which is the caller's to keep."""
        assert told.state is not None, "a trial that is told has a state"
        asked, _ = self._open.pop(told.number)
        for step, value in self._points.pop(told.number).items():
            asked.report(value, step)
        state = self._optuna.trial.TrialState[told.state]
        self._study.tell(asked, told.value if told.state == "COMPLETE" else None, state=state)
        self._take(told.number)

    def importance(self) -> dict[str, float]:
        """Return which share of the variance of values each parameter explains, the largest first; empty
        where too few trials are complete.

        Notes
        -----
        By functional analysis of variance over a random forest: Hutter, Hoos and Leyton-Brown (2014).
        """
        if len(self._complete) < 2 or len({trial.value for trial in self._complete}) < 2:
            return {}
        evaluator = self._optuna.importance.FanovaImportanceEvaluator(seed=self._tune.seed)
        return dict(self._optuna.importance.get_param_importances(self._study, evaluator=evaluator))

    def _take(self, number: int) -> None:
        trial = self._study.get_trials(deepcopy=False)[number]
        if trial.state == self._optuna.trial.TrialState.COMPLETE:
            self._complete.append(trial)

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        seed = derived_seed(self._tune.seed, "trial", number)
        if self._tune.sampler == "random":
            return self._optuna.samplers.RandomSampler(seed=seed)
        # Trials that run are taken for bad ones, so that those beside them are not drawn like them.
        return self._optuna.samplers.TPESampler(seed=seed, constant_liar=True)

    def _distribution(self, name: str) -> optuna.distributions.BaseDistribution:
        space, made = self._tune.space[name], self._optuna.distributions
        if isinstance(space, OneOf):
            # By their places, since Optuna compares and stores few kinds of values.
            return made.CategoricalDistribution(tuple(range(len(space.values))))
        if space.is_whole:
            return made.IntDistribution(int(space.low), int(space.high))
        return made.FloatDistribution(float(space.low), float(space.high), log=space.is_log)

    def _outer(self, name: str, value: Any) -> Any:
        space = self._tune.space[name]
        return space.values[value] if isinstance(space, OneOf) else value

    def _inner(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._place(name, value) for name, value in params.items()}

    def _place(self, name: str, value: Any) -> Any:
        space = self._tune.space[name]
        if not isinstance(space, OneOf):
            return value
        return [canonical(one) for one in space.values].index(canonical(value))

    def _frozen(self, trial: Trial) -> optuna.trial.FrozenTrial:
        complete = trial.state == "COMPLETE"
        return self._optuna.trial.create_trial(
            state=self._optuna.trial.TrialState[trial.state or "FAIL"],
            value=trial.value if complete else None,
            params=self._inner(trial.params),
            distributions=self._distributions,
            intermediate_values=dict(trial.points),
        )


class _Then:
    """What a pruner sees of a study: the trials that were complete at some time."""

    def __init__(
        self, direction: optuna.study.StudyDirection, complete: list[optuna.trial.FrozenTrial]
    ) -> None:
        self.direction = direction
        self._complete = complete

    def get_trials(self, deepcopy: bool = True, states: object = None) -> list[optuna.trial.FrozenTrial]:
        """Return them, whatever states are asked for: a median is of complete ones."""
        return self._complete


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        hint = "pip install 'varv[tune]'"
        raise FailedPrecondition("library", "optuna", "is not installed", hint=hint) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
