"""What a user declares as gates: ``gate.beats_champion()``, ``gate.at_least("auc", 0.7)``, ...

Every function checks its arguments; what needs the task or the features is checked with the model. Gates of
other packages are here by the name of their entry point. Tests of behaviour are in `behaviour`.
"""

from __future__ import annotations

import inspect
from typing import Any

from varv.features.slices import Slice
from varv.kernel.clock import duration
from varv.kernel.errors import InvalidDeclaration, InvalidInput, NotFound
from varv.training.gates.arguments import limit_of, name_of, number_of, size_of, slice_of, truth_of, wrong
from varv.training.gates.bounds import Bound
from varv.training.gates.calibration import Calibrated
from varv.training.gates.checks import Check, CheckFunction
from varv.training.gates.comparison import BeatsChampion
from varv.training.gates.costs import Latency, Size
from varv.training.gates.judging import installed_gates

_QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_MOST_ROWS = 100_000


def beats_champion(
    metric: str | None = None, *, margin: float = 0.0, slice: Slice | None = None
) -> BeatsChampion:
    """Declare that a candidate must not be shown to be worse than the champion on the held-out stretches.

    Parameters
    ----------
    metric
        A loss or metric of the task, such as ``"log_loss"`` or ``"auc"``; its default loss by default.
    margin
        By how much it is to be better.
    slice
        The part of the rows to look at, ``varv.slice("carrier", "UA")``; all by default.

    Raises
    ------
    InvalidDeclaration
        If the margin is not a number of at least 0, or an argument is of another type. The model refuses a
        metric that its task does not have, or of which neither more nor less is better.
    """
    if metric is not None:
        _metric("beats_champion", metric)
    return BeatsChampion(
        metric, number_of("beats_champion", "margin", margin, 0.0), slice_of("beats_champion", slice)
    )


def at_least(metric: str, bound: float, *, slice: Slice | None = None, shown: bool = False) -> Bound:
    """Declare that a loss or metric must not be shown to lie below a bound.

    Parameters
    ----------
    metric
        A loss or metric of the task.
    bound
        The candidate is refused if the 95 % interval of its number lies below this as a whole.
    slice
        As in `beats_champion`.
    shown
        Ask for proof instead: only a number whose interval lies within the bound as a whole passes.

    Raises
    ------
    InvalidDeclaration
        If the bound is not a number, or an argument is of another type.
    """
    limit = limit_of("at_least", number_of("at_least", "bound", bound), None)
    _metric("at_least", metric)
    return Bound(metric, limit, truth_of("at_least", "shown", shown), slice_of("at_least", slice))


def at_most(metric: str, bound: float, *, slice: Slice | None = None, shown: bool = False) -> Bound:
    """Declare that a loss or metric must not be shown to lie above a bound; see `at_least`.

    Raises
    ------
    InvalidDeclaration
        If the bound is not a number, or an argument is of another type.
    """
    limit = limit_of("at_most", None, number_of("at_most", "bound", bound))
    _metric("at_most", metric)
    return Bound(metric, limit, truth_of("at_most", "shown", shown), slice_of("at_most", slice))


def calibrated(*, max_ece: float, slice: Slice | None = None) -> Calibrated:
    """Declare the largest expected calibration error on the held-out stretches beyond chance; see
    `Calibrated`.

    Parameters
    ----------
    max_ece
        Above 0 and at most 1.
    slice
        As in `beats_champion`.

    Raises
    ------
    InvalidDeclaration
        If `max_ece` is not such a number. The model refuses it where predictions promise nothing.
    """
    return Calibrated(number_of("calibrated", "max_ece", max_ece, 1e-6, 1.0), slice_of("calibrated", slice))


def latency(
    *,
    p50: str | None = None,
    p90: str | None = None,
    p95: str | None = None,
    p99: str | None = None,
    rows: int = 1,
    shown: bool = False,
) -> Latency:
    """Declare how long a call of the model may take on the machine that trains.

    Features are at hand, so it is the time of the model alone: no network, no queue. Nothing is measured in a
    replay, where the gate passes and says so.

    Parameters
    ----------
    p50, p90, p95, p99
        One of them: the longest that this quantile of the time may be, ``"5ms"``.
    rows
        Rows of one call.
    shown
        As in `at_least`.

    Raises
    ------
    InvalidDeclaration
        If not one quantile is given, or its time or the rows cannot be.
    """
    given = {"p50": p50, "p90": p90, "p95": p95, "p99": p99}
    chosen = [(name, text) for name, text in given.items() if text is not None]
    if len(chosen) != 1:
        hint = 'write one of them: latency(p99="5ms")'
        raise InvalidDeclaration("gate", "latency", "needs one quantile", given=len(chosen), hint=hint)
    [(name, text)] = chosen
    try:
        longest = duration(text)
    except InvalidInput as error:
        raise wrong("latency", name, text, error.hint) from None
    if isinstance(rows, bool) or not isinstance(rows, int) or not 1 <= rows <= _MOST_ROWS:
        raise wrong("latency", "rows", rows, f"give a whole number from 1 to {_MOST_ROWS}")
    return Latency(_QUANTILES[name], longest, rows, truth_of("latency", "shown", shown))


def size(*, max: str) -> Size:
    """Declare how large the package of a version may be: ``"20MB"``.

    Raises
    ------
    InvalidDeclaration
        If it is no size.
    """
    return Size(size_of("size", "max", max))


def check(
    function: CheckFunction,
    *,
    name: str | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    shown: bool = False,
) -> Check:
    """Declare that what a function of your own says of the held-out rows keeps to a bound.

    Parameters
    ----------
    function
        Is given a polars frame of the held-out rows: ``key``, ``requested_at``, the features, ``outcome``,
        ``score`` (or ``score.A`` and so on, where a prediction has several numbers) and, where there is one,
        ``champion_score``. Returns a number, or one for each row, whose mean is taken with its interval.
    name
        How the gate is called; the function's name by default.
    at_least, at_most
        The bound.
    shown
        As in `at_least`.

    Raises
    ------
    InvalidDeclaration
        If the function does not take a frame, or there is no bound.
    """
    called = getattr(function, "__name__", "check") if name is None else name
    called = name_of("check", called)
    if not callable(function):
        raise wrong("check", "function", function, "pass f(rows) that returns a number")
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        hint = "let it take one argument, the frame of rows"
        raise InvalidDeclaration(
            "gate", called, "has a function that does not take (rows)", hint=hint
        ) from None
    except ValueError:
        pass  # a built-in without a signature is taken at its word
    return Check(function, called, limit_of("check", at_least, at_most), truth_of("check", "shown", shown))


def __getattr__(name: str) -> Any:
    """Return the gate that another package brings under this name."""
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return installed_gates().load(name)
    except NotFound as error:
        raise AttributeError(str(error)) from None


def _metric(gate: str, metric: object) -> None:
    if not isinstance(metric, str) or not metric:
        raise wrong(gate, "metric", metric, 'name a loss or metric of the task, such as "log_loss"')
