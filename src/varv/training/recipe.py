"""How a model is declared to be trained. What the author's function is given is in `training_set`."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from varv.kernel.clock import DAY, SECOND, Duration, duration
from varv.kernel.errors import InvalidDeclaration, InvalidInput
from varv.kernel.sizes import size_bytes
from varv.kernel.wording import call_text
from varv.pipelines.closure import code_closure
from varv.training.search import Search
from varv.training.training_set import TrainingSet
from varv.training.weights import PROPENSITY, InversePropensity, Weights

LEAST_VALIDATION = Duration(5 * DAY)
"""The held-out stretch is what a model is watched against later: fewer days say nothing about days."""

MOST_ORIGINS = 12

T = TypeVar("T")
Fit = Callable[[TrainingSet, Mapping[str, Any]], Any]


class Incremental(msgspec.Struct, frozen=True):
    """A training that goes on from the champion with what is new; see `incremental`."""

    def __repr__(self) -> str:
        return "varv.incremental()"


def incremental() -> Incremental:
    """Declare that a fit is given only the rows that its ``train.previous``, a fit of the champion, has not
    seen; the first training, without a champion, is given all.

    The function goes on from there: ``partial_fit``, a booster's ``init_model``, a few more epochs.
    ``min_rows`` counts the new rows.
    """
    return Incremental()


class Train:
    """How a model is trained.

    Parameters
    ----------
    fit
        ``fit(train, params)`` returns a fitted estimator, or a `packaged` one.
    window
        How far back rows are used, such as ``"60d"``; None uses all that is known.
    validate
        How long a held-out stretch is; five days at least. The first one counts back from the last request
        whose outcome is mature.
    origins
        How many such stretches, each before the other, judge a candidate. Each is scored by a fit on the rows
        before it, so every one costs a fit; where there are too few rows for all, fewer are taken.
    refit
        Whether the function is fitted once more, on all mature rows, to make the version that is served; what
        was judged is then its sibling that had not seen the held-out rows. False serves the model that was
        judged on the last stretch.
    params
        Passed to `fit`, recorded with the run.
    min_rows
        Fewer rows with an outcome than this is an error, not a model.
    weights
        How much each row counts, as `train.weights`: the name of a feature or of a column of the requests, a
        function of `train.frame`, or ``varv.inverse_propensity()``. Finite numbers above zero.
    warm_start
        Whether a fit is given a fit of the champion as ``train.previous``, to start from. It is the latest
        one that has seen nothing of what is held out.
    strategy
        ``varv.incremental()`` fits on new rows only, from the champion on; None on all rows.
    search
        ``varv.search(...)`` tries parameters on an inner stretch, before everything that judges, and uses the
        best ones.
    time, memory
        What one fit may take in a process of its own, such as ``"2h"`` and ``"8GB"``; the settings
        ``training_time_s`` and ``training_memory`` unless said otherwise.

    Raises
    ------
    InvalidDeclaration
        If an argument has the wrong type or cannot work.
    """

    def __init__(
        self,
        fit: Fit,
        *,
        window: str | None = None,
        validate: str = "7d",
        origins: int = 2,
        refit: bool = True,
        params: Mapping[str, Any] | None = None,
        min_rows: int = 1000,
        weights: Weights | None = None,
        warm_start: bool = False,
        strategy: Incremental | None = None,
        search: Search | None = None,
        time: str | None = None,
        memory: str | None = None,
    ) -> None:
        given = {name: value for name, value in locals().items() if name not in ("self", "fit")}
        _require_function(fit)
        self.text = call_text("varv.Train", {"fit": fit, **given}, _USUAL)
        """How it is written in Python."""
        if not isinstance(min_rows, int) or isinstance(min_rows, bool) or min_rows < 10:
            raise InvalidDeclaration(
                "train", "min_rows", "is not a whole number of at least 10", given=repr(min_rows)
            )
        self.fit = fit
        self.window: Duration | None = None if window is None else _declared_duration("window", window)
        self.validate = _declared_duration("validate", validate)
        self.origins = _declared_origins(origins)
        self.refit = _declared_truth("refit", refit)
        self.params = _json_params(params or {})
        self.min_rows = min_rows
        if self.validate < LEAST_VALIDATION:
            hint = "hold out 5 days or more: later days are compared with them"
            raise InvalidDeclaration("train", "validate", "is too short", given=repr(validate), hint=hint)
        if self.window is not None and self.window <= self.validate:
            hint = "validate is the last part of the window, make it shorter"
            raise InvalidDeclaration("train", "window", "is not longer than validate", hint=hint)
        self.weights = _declared_weights(weights)
        self.warm_start = _declared_truth("warm_start", warm_start)
        self.strategy = _declared_instance("strategy", strategy, Incremental, "varv.incremental()")
        self.search = _declared_instance("search", search, Search, "varv.search(space={...})")
        if self.strategy is not None and self.search is not None:
            hint = "search without a strategy, and declare the best parameters"
            raise InvalidDeclaration("train", "search", "needs more than the new rows", hint=hint)
        self.time_s = None if time is None else _declared_duration("time", time) / SECOND
        self.memory_bytes = None if memory is None else _declared_size("memory", memory)

    @property
    def code(self) -> tuple[Callable[..., Any], ...]:
        """The author's functions that a fit depends on."""
        return (self.fit, self.weights) if callable(self.weights) else (self.fit,)

    @property
    def weights_column(self) -> str | None:
        """The column that weights are read from, which rows have to have; None if there is none."""
        if isinstance(self.weights, InversePropensity):
            return PROPENSITY
        return self.weights if isinstance(self.weights, str) else None

    @property
    def continues(self) -> bool:
        """Whether fits are given a fit of the champion."""
        return self.warm_start or self.strategy is not None

    def definition(self) -> list[Any]:
        """Return what identifies the recipe beside the code, as JSON can hold it; limits do not."""
        weights = code_closure(self.weights).digest if callable(self.weights) else self.weights
        later = (self.warm_start, self.strategy is not None, self.search, weights)
        always = [self.params, self.window, self.validate, self.origins, self.refit, self.min_rows]
        return [*always, *later] if any(later) else always


_USUAL = {
    name: one.default
    for name, one in inspect.signature(Train.__init__).parameters.items()
    if one.default is not inspect.Parameter.empty
}
"""The arguments of a recipe that are left out."""


def name_of(fit: Fit) -> str:
    """Return how a training function is called in errors."""
    return getattr(fit, "__qualname__", "fit")


def _require_function(fit: object) -> None:
    if not callable(fit):
        raise InvalidDeclaration("train", repr(fit)[:60], "is not a function", hint="pass fit(train, params)")
    try:
        inspect.signature(fit).bind(None, None)
    except TypeError:
        name = getattr(fit, "__qualname__", repr(fit))
        raise InvalidDeclaration(
            "train", name, "does not take (train, params)", hint="add the parameters"
        ) from None
    except ValueError:
        pass  # a built-in without a signature is taken at its word


def _declared_duration(argument: str, text: str) -> Duration:
    try:
        return duration(text)
    except InvalidInput as error:
        raise InvalidDeclaration(
            "train", argument, error.problem, given=repr(text)[:60], hint=error.hint
        ) from None


def _declared_origins(origins: object) -> int:
    if isinstance(origins, bool) or not isinstance(origins, int) or not 1 <= origins <= MOST_ORIGINS:
        hint = f"write a whole number from 1 to {MOST_ORIGINS}; each costs a fit"
        raise InvalidDeclaration("train", "origins", "is not allowed", given=repr(origins)[:60], hint=hint)
    return origins


def _declared_truth(argument: str, value: object) -> bool:
    if not isinstance(value, bool):
        hint = f"write {argument}=True or {argument}=False"
        raise InvalidDeclaration("train", argument, "is not a truth value", given=repr(value)[:60], hint=hint)
    return value


def _declared_weights(weights: object) -> Weights | None:
    if weights is None or isinstance(weights, str | InversePropensity):
        return weights
    hint = "name a column, or pass a function of the features"
    if not callable(weights):
        raise InvalidDeclaration("train", "weights", "is no name and no function", hint=hint)
    try:
        inspect.signature(weights).bind(None)
    except TypeError:
        raise InvalidDeclaration("train", "weights", "does not take one frame", hint=hint) from None
    except ValueError:
        pass  # a built-in without a signature is taken at its word
    return weights


def _declared_instance(argument: str, value: object, kind: type[T], example: str) -> T | None:
    if value is not None and not isinstance(value, kind):
        hint = f"write {argument}={example}"
        raise InvalidDeclaration("train", argument, "is not understood", given=repr(value)[:60], hint=hint)
    return value


def _declared_size(argument: str, text: str) -> int:
    try:
        return size_bytes(text)
    except InvalidInput as error:
        raise InvalidDeclaration(
            "train", argument, error.problem, given=error.name, hint=error.hint
        ) from None


def _json_params(params: Mapping[str, Any]) -> dict[str, Any]:
    hint = "use finite numbers, texts, lists and dicts"
    try:
        json.dumps(dict(params), allow_nan=False)
        return msgspec.json.decode(msgspec.json.encode(dict(params)))
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidDeclaration(
            "train", "params", "cannot be written as JSON", why=str(error), hint=hint
        ) from None
