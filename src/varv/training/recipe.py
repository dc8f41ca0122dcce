"""How a model is declared to be trained. What the author's function is given is in `training_set`."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from varv.kernel.clock import DAY, Duration, duration
from varv.kernel.errors import InvalidDeclaration, InvalidInput
from varv.training.training_set import TrainingSet
from varv.training.weights import Weights

LEAST_VALIDATION = Duration(5 * DAY)
"""The held-out stretch is what a model is watched against later: fewer days say nothing about days."""

MOST_ORIGINS = 12

Fit = Callable[[TrainingSet, Mapping[str, Any]], Any]


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
        How much each row counts, as `train.weights`: the name of a feature or of a column of the requests, or
        a function of `train.frame`. Finite numbers above zero.
    warm_start
        Whether the function is given the champion before, as `train.previous`, to start from. It is not given
        to a fit that is to be judged on rows which that champion has seen.

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
    ) -> None:
        if not callable(fit):
            raise InvalidDeclaration(
                "train", repr(fit)[:60], "is not a function", hint="pass fit(train, params)"
            )
        try:
            inspect.signature(fit).bind(None, None)
        except TypeError:
            name = getattr(fit, "__qualname__", repr(fit))
            raise InvalidDeclaration(
                "train", name, "does not take (train, params)", hint="add the parameters"
            ) from None
        except ValueError:
            pass  # a built-in without a signature is taken at its word
        if not isinstance(min_rows, int) or isinstance(min_rows, bool) or min_rows < 10:
            raise InvalidDeclaration(
                "train", "min_rows", "is not a whole number of at least 10", given=repr(min_rows)
            )
        self.fit = fit
        self.window: Duration | None = None if window is None else _declared_duration("window", window)
        self.validate = _declared_duration("validate", validate)
        self.origins = _declared_origins(origins)
        self.refit = _declared_truth("refit", refit)
        self.weights = _declared_weights(weights)
        self.warm_start = _declared_truth("warm_start", warm_start)
        self.params = _json_params(params or {})
        self.min_rows = min_rows
        if self.validate < LEAST_VALIDATION:
            hint = "hold out 5 days or more: later days are compared with them"
            raise InvalidDeclaration("train", "validate", "is too short", given=repr(validate), hint=hint)
        if self.window is not None and self.window <= self.validate:
            hint = "validate is the last part of the window, make it shorter"
            raise InvalidDeclaration("train", "window", "is not longer than validate", hint=hint)

    @property
    def code(self) -> tuple[Callable[..., Any], ...]:
        """The author's functions that a fit depends on."""
        return (self.fit, self.weights) if callable(self.weights) else (self.fit,)


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


def _declared_truth(argument: str, given: object) -> bool:
    if not isinstance(given, bool):
        hint = f"write {argument}=True or {argument}=False"
        raise InvalidDeclaration("train", argument, "is not a truth value", given=repr(given)[:60], hint=hint)
    return given


def _declared_weights(weights: object) -> Weights | None:
    if weights is None or isinstance(weights, str):
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


def _json_params(params: Mapping[str, Any]) -> dict[str, Any]:
    hint = "use finite numbers, texts, lists and dicts"
    try:
        json.dumps(dict(params), allow_nan=False)
        return msgspec.json.decode(msgspec.json.encode(dict(params)))
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidDeclaration(
            "train", "params", "cannot be written as JSON", why=str(error), hint=hint
        ) from None
