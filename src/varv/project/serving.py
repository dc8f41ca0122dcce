"""How a model is served, as it is declared: what is checked of a request, what is answered where the model
cannot, and when its answer is held back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar, get_args

import numpy as np
import polars as pl

from varv.data import Dataset
from varv.kernel.columns import TIME
from varv.kernel.errors import InvalidDeclaration
from varv.project.arguments import declared_duration
from varv.project.observers import CloudEvents
from varv.project.transforms import Transformation
from varv.serving.policy import (
    MARKS,
    CachedStep,
    Check,
    DefaultStep,
    FormerStep,
    LogPolicy,
    ServingPolicy,
    Step,
    Value,
)
from varv.tasks import Task

T = TypeVar("T")
_MOST_COST = 10_000
_MOST_INSTANCES = 64
_OTHERWISE = ("reject", "default", "flag")


def check(
    column: str,
    *,
    low: float | None = None,
    high: float | None = None,
    one_of: Sequence[Value] | None = None,
    required: bool = False,
    otherwise: str = "reject",
    default: Value | None = None,
) -> Check:
    """Declare what is demanded of a column of every request, and what becomes of a request that breaks it.

    Parameters
    ----------
    column
        A column that comes with the request.
    low, high
        Between which a number has to lie, both included.
    one_of
        The only values that there are.
    required
        Whether a value that is null or is not sent breaks it too.
    otherwise
        ``"reject"`` refuses the request; ``"default"`` answers it with `default` in the place of the value;
        ``"flag"`` answers it as it is. The latter two are marked in the answer and in the log.
    default
        The value that is put in its place.

    Raises
    ------
    InvalidDeclaration
        If it demands nothing, or what becomes of the request is not said.
    """

    def refuse(problem: str, hint: str) -> InvalidDeclaration:
        return InvalidDeclaration("check", str(column)[:60], problem, hint=hint)

    if not isinstance(column, str) or not column:
        raise refuse("names no column", "give the name of a request column")
    if low is None and high is None and one_of is None and not required:
        raise refuse("demands nothing", "give low, high, one_of or required")
    if one_of is not None and (low is not None or high is not None):
        raise refuse("has limits and a list of values", "give one or the other")
    if one_of is not None and (isinstance(one_of, str) or not one_of):
        raise refuse("has no list of values", 'write one_of=["a", "b"]')
    if low is not None and high is not None and not low <= high:
        raise refuse(f"lies between {low} and {high}, which is nowhere", "give low <= high")
    if otherwise not in _OTHERWISE:
        raise refuse(f"has otherwise={otherwise!r:.40}", f"write one of {', '.join(_OTHERWISE)}")
    if (otherwise == "default") != (default is not None):
        raise refuse("has no default to answer with, or one that is not used", 'give default= with "default"')
    return Check(
        column=column,
        low=low,
        high=high,
        one_of=tuple(one_of or ()),
        required=required,
        otherwise=otherwise,  # type: ignore[bad-argument-type]
        default=default,
    )


class _Fallbacks:
    """What is answered where a model's champion cannot."""

    @staticmethod
    def former() -> FormerStep:
        """Let the champion before answer, which stays in memory for it."""
        return FormerStep()

    @staticmethod
    def cached(max_age: str) -> CachedStep:
        """Answer what the champion said of the same inputs, at most so long ago."""
        return CachedStep(declared_duration("fallback", "max_age", max_age))

    @staticmethod
    def default(prediction: float | Sequence[float] | Mapping[str, float]) -> DefaultStep:
        """Answer a prediction that is declared.

        Parameters
        ----------
        prediction
            A number, or the numbers that a prediction of the task has: in their order, or by their names.
        """
        if isinstance(prediction, Mapping):
            return DefaultStep(tuple(prediction.values()), tuple(prediction))
        given = [prediction] if isinstance(prediction, int | float) else list(prediction)
        return DefaultStep(tuple(map(float, given)))


fallback = _Fallbacks()


class Log:
    """What is kept of the requests that a model answers.

    Parameters
    ----------
    share
        The share of requests that are kept, above 0 and up to 1; of a unit of randomisation all or none. It
        is on record with each of them. What is not kept was answered, and is known to nobody else: nothing
        is trained on it, and no monitor sees it.
    redact
        Request columns of which nothing is kept.
    pseudonymise
        Request columns of texts of which a digest is kept, under a key of the home: the same for the same
        text, and of no use to whoever does not have the key.

    Raises
    ------
    InvalidDeclaration
        If the share is none, or a column is named twice.
    """

    def __init__(
        self, *, share: float = 1.0, redact: Sequence[str] = (), pseudonymise: Sequence[str] = ()
    ) -> None:
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
            hint = "give a share above 0 and up to 1"
            raise InvalidDeclaration("log", "share", f"is {share!r:.40}", hint=hint)
        self._policy = LogPolicy(
            share=float(share),
            redact=_all_of(redact, "redact", str, '"column"'),
            pseudonymise=_all_of(pseudonymise, "pseudonymise", str, '"column"'),
        )
        twice = {*self._policy.redact} & {*self._policy.pseudonymise}
        if twice:
            hint = "name it once"
            raise InvalidDeclaration("log", sorted(twice)[0], "is both left out and kept", hint=hint)

    @property
    def policy(self) -> LogPolicy:
        """The policy as ledgers keep it."""
        return self._policy

    def require_free(self, model: str, requests: Dataset, needed: Mapping[str, str]) -> None:
        """Check that what is not kept is nowhere needed.

        Parameters
        ----------
        needed
            Columns that have to be kept, and what for.

        Raises
        ------
        InvalidDeclaration
            If a column is none of the requests', is needed, or has no texts that a digest could be kept of.
        """
        types = requests.part_types(requests.event_time)
        for name in (*self._policy.redact, *self._policy.pseudonymise):
            _require_column(model, name, requests, "does not keep")
            if name in needed:
                hint = "keep it; what a feature reads is what is trained on"
                problem = f"does not keep {name!r}, which is {needed[name]}"
                raise InvalidDeclaration("model", model, problem, hint=hint)
            if name in self._policy.pseudonymise and types[name] != pl.String:
                problem = f"keeps a digest of {name!r}, which is {types[name]}"
                raise InvalidDeclaration("model", model, problem, hint="redact it, or make it a text")


class Serving:
    """How a model is served.

    Parameters
    ----------
    checks
        What is demanded of requests: ``varv.check("distance", low=0, otherwise="flag")``. They are looked at
        in their order, each with what the ones before have put in its place.
    fallback
        What is tried, in turn, when the champion cannot answer: it raises, it cannot be reached, its process
        has died, it takes longer than it may. Any of ``varv.fallback.former()``, ``.cached("10m")`` and
        ``.default(0.2)``. Without any, such a request is answered with an error.
    abstain_below
        The confidence, from 0 to 1, below which an answer is held back: the probability of the likeliest
        value, for tasks whose predictions are probabilities.
    cache
        How long what a version said of the same inputs is answered again without asking it; for models that
        are dear to ask, since looking it up costs as much as a small model.
    log
        What is kept of requests; all of them as they come by default.
    review
        Which answers a person is to decide, by their marks: any of ``"abstained"``, ``"default"``,
        ``"cached"`` and ``"fallback"``. `varv review` lists them.
    before
        What is done to a request before it is checked and the model reads it: ``varv.transform(...)``.
    after
        What is done to an answer before callers see it. What is captured stays what the version said.
    observer
        Who is sent what is asked and answered: ``varv.CloudEvents("https://host/path")``.
    cost
        How many rows of a client's rate and quota a row of this model takes: a request of 10 rows of a model
        of cost 5 takes as much as 50 rows of one of cost 1.
    instances
        How many calls of the model run at a time in each worker, where another process or machine answers;
        of a model that runs code of its own, so many processes are started. Other models are asked one call
        after the other, and parallel by workers.

    Raises
    ------
    InvalidDeclaration
        If something in it cannot work.

    Notes
    -----
    An answer that is not of the version whose turn it was is marked: as its ``arm`` in the answer, as
    ``answered_by`` in the log. It is counted by that mark, and no statistic takes it for the version's own.
    """

    def __init__(
        self,
        *,
        checks: Sequence[Check] = (),
        fallback: Sequence[Step] = (),
        abstain_below: float | None = None,
        cache: str | None = None,
        log: Log | None = None,
        review: Sequence[str] = (),
        before: Transformation | None = None,
        after: Transformation | None = None,
        observer: CloudEvents | None = None,
        cost: int = 1,
        instances: int = 1,
    ) -> None:
        self._cost = _whole("cost", cost, _MOST_COST)
        self._instances = _whole("instances", instances, _MOST_INSTANCES)
        if observer is not None and not isinstance(observer, CloudEvents):
            problem, hint = f"is of type {type(observer).__name__}", "write varv.CloudEvents(...)"
            raise InvalidDeclaration("serving", "observer", problem, hint=hint)
        self._observer = None if observer is None else observer.policy
        for name, one in (("before", before), ("after", after)):
            if one is not None and not isinstance(one, Transformation):
                hint = f"write {name}=varv.transform(...)"
                raise InvalidDeclaration("serving", name, f"is of type {type(one).__name__}", hint=hint)
        self._before, self._after = before, after
        if log is not None and not isinstance(log, Log):
            hint = "use varv.Log(...)"
            raise InvalidDeclaration("serving", "log", f"is {log!r:.60}", hint=hint)
        self._log = Log() if log is None else log
        self._review = _all_of(review, "review", str, '"abstained"')
        for mark in self._review:
            if mark not in MARKS:
                hint = f"name any of {', '.join(MARKS)}"
                raise InvalidDeclaration("serving", "review", f"names {mark!r:.40}", hint=hint)
        if self._review and log is not None and log.policy.share < 1:
            hint = "keep all requests, or let none wait"
            problem = "is of requests of which only a share is kept"
            raise InvalidDeclaration("serving", "review", problem, hint=hint)
        self._checks = _all_of(checks, "checks", Check, "varv.check(...)")
        self._fallback = _all_of(fallback, "fallback", get_args(Step), "varv.fallback.former() and its like")
        for kind in {type(step) for step in self._fallback}:
            if sum(isinstance(step, kind) for step in self._fallback) > 1:
                hint = "name each kind of fallback once"
                raise InvalidDeclaration("serving", "fallback", "has the same step twice", hint=hint)
        if abstain_below is not None and not 0 < abstain_below <= 1:
            hint = "give a confidence above 0 and up to 1"
            raise InvalidDeclaration("serving", "abstain_below", f"is {abstain_below!r:.40}", hint=hint)
        self._abstain_below = abstain_below
        self._cache = None if cache is None else declared_duration("serving", "cache", cache)

    def require_task(self, model: str, task: Task) -> None:
        """Check that predictions of the task can be answered so.

        Raises
        ------
        InvalidDeclaration
            If a default is no prediction of the task, or its predictions do not say how sure they are.
        """
        if self._abstain_below is not None:
            probe = np.full((1, task.width), 1.0 / task.width)
            if task.confidence(probe) is None:
                problem = (
                    f"abstains below a confidence, which predictions of the task {task.name} do not have"
                )
                hint = "leave abstain_below out, or use a task whose predictions are probabilities"
                raise InvalidDeclaration("model", model, problem, hint=hint)
        if self._after is not None:
            self._after.of_answers(model, task)
        for step in self._fallback:
            if isinstance(step, DefaultStep):
                _require_prediction(model, _in_order(model, step, task), task)

    def require_columns(self, model: str, requests: Dataset, needed: Mapping[str, str]) -> None:
        """Check that the columns of checks come with requests, that what is demanded fits their types, and
        that what is not kept is not needed.

        Parameters
        ----------
        needed
            Columns that have to be kept, and what for.

        Raises
        ------
        InvalidDeclaration
            If something does not fit.
        """
        types = requests.part_types(requests.event_time)
        for one in self._checks:
            _require_column(model, one.column, requests, "checks")
            _require_fitting(one, types[one.column])
        self._log.require_free(model, requests, needed)
        if self._before is not None:
            self._before.of_requests(model, requests)

    def require_kept(self, model: str, view: str, columns: Sequence[str]) -> None:
        """Check that columns which a view reads of a model's stored requests are kept as they came.

        Raises
        ------
        InvalidDeclaration
            If one is not.
        """
        log = self._log.policy
        for name in columns:
            if name in (*log.redact, *log.pseudonymise):
                problem = f"does not keep {name!r}, which feature view {view!r} reads"
                raise InvalidDeclaration("model", model, problem, hint="keep it, or leave it out of the view")

    def policy_for(self, model: str, task: Task, requests: Dataset) -> ServingPolicy:
        """Return the policy of a model as ledgers keep it."""
        steps = [
            DefaultStep(_in_order(model, step, task)) if isinstance(step, DefaultStep) else step
            for step in self._fallback
        ]
        return ServingPolicy(
            checks=self._checks,
            fallback=tuple(steps),
            abstain_below=self._abstain_below,
            cache=self._cache,
            log=self._log.policy,
            review=self._review,  # type: ignore[bad-argument-type]
            observer=self._observer,
            cost=self._cost,
            instances=self._instances,
            before=None if self._before is None else self._before.of_requests(model, requests),
            after=None if self._after is None else self._after.of_answers(model, task),
        )


def _whole(name: str, given: int, most: int) -> int:
    if type(given) is not int or not 1 <= given <= most:
        hint = f"give a whole number, 1 to {most}"
        raise InvalidDeclaration("serving", name, f"is {given!r:.40}", hint=hint)
    return given


def _require_column(model: str, name: str, requests: Dataset, act: str) -> None:
    types = requests.part_types(requests.event_time)
    if name not in types or name == requests.event_time:
        hint = f"its columns are {', '.join(list(types)[:30])}"
        problem = f"{act} {name!r}, which is no column of its requests"
        raise InvalidDeclaration("model", model, problem, hint=hint)


def _all_of(given: Sequence[T], argument: str, kinds: type | tuple[type, ...], hint: str) -> tuple[T, ...]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise InvalidDeclaration("serving", argument, "is not a list", hint=f"write {argument}=[{hint}]")
    for one in given:
        if not isinstance(one, kinds):
            raise InvalidDeclaration("serving", argument, f"has {one!r:.60}", hint=f"use {hint}")
    return tuple(given)


def _in_order(model: str, step: DefaultStep, task: Task) -> tuple[float, ...]:
    """Return a default prediction in the order of the task's numbers."""
    if not step.names:
        return step.prediction
    if sorted(step.names) != sorted(task.outputs):
        hint = f"name {', '.join(task.outputs)}"
        problem = f"has a default answer of {', '.join(step.names)[:60]}"
        raise InvalidDeclaration("model", model, problem, hint=hint)
    by_name = dict(zip(step.names, step.prediction, strict=True))
    return tuple(float(by_name[name]) for name in task.outputs)


def _require_prediction(model: str, prediction: Sequence[float], task: Task) -> None:
    given = np.array([prediction], np.float64)
    if given.shape[1] != task.width or not task.valid(given).all():
        hint = f"give {task.width} number{'s' * (task.width > 1)}: {', '.join(task.outputs[:8])}"
        problem = f"has a default answer that is no prediction of the task {task.name}"
        raise InvalidDeclaration("model", model, problem, given=str(list(prediction))[:60], hint=hint)


def _require_fitting(one: Check, dtype: pl.DataType) -> None:
    def refuse(problem: str, hint: str) -> InvalidDeclaration:
        return InvalidDeclaration("check", one.column, problem, hint=hint)

    if (one.low is not None or one.high is not None) and not dtype.is_numeric():
        raise refuse(f"has limits, and its column is {dtype}", "use one_of or required")
    if one.one_of and dtype == TIME:
        raise refuse("lists values of a column of times", "use required")
    kinds = (str,) if dtype == pl.String else (bool,) if dtype == pl.Boolean else (int, float)
    values = [*one.one_of, *([] if one.default is None else [one.default])]
    for value in values:
        fits = isinstance(value, kinds) and (kinds == (bool,) or not isinstance(value, bool))
        if not fits or (dtype.is_integer() and float(value) != int(value)):
            raise refuse(f"has the value {value!r:.40}", f"its column is {dtype}")
