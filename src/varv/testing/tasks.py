"""What every task must keep, ours and that of another package.

A test gives a task and a sample whose outcomes were drawn from its predictions; each check looks at one
promise of `varv.tasks.Task`. With pytest: ``@pytest.mark.parametrize("check", TASK_CHECKS)``, or all at once
with `check_task`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import polars as pl

from varv.kernel.codec import canonical
from varv.stats.intervals import Estimate
from varv.tasks import Array, Task, TaskSpec, task_of

_STANDARD_ERRORS = 5.0
"""A mean that should be zero lies no further off; by chance it does once in two million samples."""
_CLUSTERS = 20


@dataclass(frozen=True, kw_only=True)
class TaskSample:
    """Predictions, outcomes that were drawn from them, and what a dataset and an estimator look like.

    Parameters
    ----------
    predicted
        Shape (n, width), n some thousands, not all alike: what is right, such as the true probabilities, or
        the true mean and so on.
    outcome
        Drawn from `predicted`, shape (n,); noise of a number is symmetric. Empty for a task without outcome.
    groups
        The list of each row, shape (n,), for a task with a group.
    column
        Values of a dataset's column, of a type that the task accepts, all of them outcomes.
    no_outcomes
        Values of the same type that are no outcomes, such as a 2 where there are 0 and 1; may be empty where
        all are.
    other_type
        A type that the task does not accept.
    estimator
        Fitted, as an author returns it.
    rows
        Encoded rows for the estimator, shape (m, columns).
    estimates
        What it says of them by hand, shape (m, width).
    """

    predicted: Array
    outcome: Array
    groups: Array | None = None
    column: pl.Series
    no_outcomes: pl.Series
    other_type: pl.DataType
    estimator: Any
    rows: Array
    estimates: Array

    @property
    def clusters(self) -> Array:
        """Clusters of neighbouring rows, none smaller than a list."""
        of_row = np.arange(len(self.outcome)) if self.groups is None else _codes(self.groups)
        return of_row * _CLUSTERS // max(int(of_row.max(initial=0)) + 1, 1)

    def rows_of(self, order: Array) -> tuple[Array, Array, Array | None]:
        """Return outcome, predicted and groups in another order, or part of them."""
        groups = None if self.groups is None else self.groups[order]
        return self.outcome[order], self.predicted[order], groups


def check_task(task: Task, sample: TaskSample) -> None:
    """Run every check.

    Raises
    ------
    AssertionError
        With the first promise that does not hold.
    """
    for check in TASK_CHECKS:
        check(task, sample)


def check_spec(task: Task, sample: TaskSample) -> None:
    """A task is made again from its spec, by way of JSON, and is found by its name."""
    kept = msgspec.json.decode(canonical(task.spec), type=TaskSpec)
    _require(kept == task.spec, f"the spec changes in JSON: {task.spec} becomes {kept}")
    again = task_of(kept)
    _require(type(again) is type(task), f"the name {task.name!r} means {type(again).__name__}")
    _require(again == task and hash(again) == hash(task), "the task that its spec makes is another one")
    _require(task.width == len(set(task.outputs)) >= 1, f"the outputs {task.outputs} are not told apart")


def check_outcomes(task: Task, sample: TaskSample) -> None:
    """A column of outcomes is accepted and read whole; what is no outcome is null, and so is a null."""
    if not task.has_outcome:
        _require(task.accepts(sample.column.dtype) != "", "a column is accepted where there is no outcome")
        _require(task.read(sample.column).null_count() == len(sample.column), "there is no outcome to read")
        return
    wrong = task.accepts(sample.column.dtype)
    _require(wrong == "", f"a column of type {sample.column.dtype} is refused: {wrong}")
    _require(task.accepts(sample.other_type) != "", f"a column of type {sample.other_type} is accepted")
    values = task.read(sample.column)
    _require(values.dtype == task.outcome_dtype, f"outcomes are read as {values.dtype}")
    _require(values.null_count() == 0, "outcomes are read as null")
    _require(values.name == sample.column.name, "the name of the column is lost")
    refused = task.read(sample.no_outcomes.extend_constant(None, 1))
    _require(refused.null_count() == len(refused), "what is no outcome is read as one")
    _require(len(task.read(sample.column.head(0))) == 0, "an empty column is read as something")
    target = task.target(values)
    wanted = "i" if task.outcome_dtype.is_integer() else "f"
    _require(target.dtype.kind == wanted and target.shape == (len(values),), "the target is not its outcomes")
    task.require_history(sample.column, sample.column.name)


def check_stored(task: Task, sample: TaskSample) -> None:
    """What a column holds is kept as it is, and what is no outcome is not made one."""
    dtype = sample.column.dtype
    for value in sample.column.head(50).to_list():
        _require(task.stored(value, dtype) == value, f"{value!r} is stored as another value")
    for value in ("surely no outcome", None):
        _require(task.stored(value, dtype) == value, f"{value!r} is stored as another value")


def check_valid(task: Task, sample: TaskSample) -> None:
    """Every prediction of the sample is valid, none with NaN is, and another width is refused."""
    _require(bool(task.valid(sample.predicted).all()), "a prediction of the sample is not valid")
    _require(task.valid(sample.predicted[:0]).shape == (0,), "no rows are something")
    broken = sample.predicted.astype(np.float64)
    broken[::2] = np.nan
    found = task.valid(broken)
    _require(found.shape == (len(broken),), "validity is not one value a row")
    _require(bool(found[1::2].all()) and not found[::2].any(), "validity does not tell NaN from a prediction")
    _refuses(lambda: task.valid(np.zeros((3, task.width + 1))), "predictions of another width")


def check_losses(task: Task, sample: TaskSample) -> None:
    """Losses lie within [0, bound], an invalid prediction has the bound, and the bound can be bet on."""
    _require((task.default_loss is None) == (not task.losses), "losses have no default")
    _require(task.loss is None or task.loss.name == task.default_loss, "the default loss has another name")
    for name in task.guards:
        _require(math.isfinite(task.losses[name].bound), f"{name} is a guard without a bound")
    for name, loss in task.losses.items():
        _require(loss.name == name, f"{name} is named {loss.name}")
        rows = loss.of(sample.outcome, sample.predicted, sample.groups)
        _require(rows.shape == sample.outcome.shape, f"{name} is not one value a row")
        _require(rows.dtype == np.float64, f"{name} is of type {rows.dtype}")
        _require(bool(np.all((rows >= 0) & (rows <= loss.bound))), f"{name} leaves [0, {loss.bound}]")
        for extreme in _extremes(task, len(rows)):
            worst = loss.of(sample.outcome, extreme, sample.groups)
            _require(bool(np.all((worst >= 0) & (worst <= loss.bound))), f"{name} leaves [0, {loss.bound}]")
        if math.isfinite(loss.bound):
            lost = loss.of(sample.outcome, np.full(sample.predicted.shape, np.nan), sample.groups)
            _require(bool(np.all(lost == loss.bound)), f"{name} of a lost request is not the bound")


def check_order(task: Task, sample: TaskSample) -> None:
    """The order of the rows changes no loss and no number."""
    if not task.has_outcome:
        return
    order = np.random.default_rng(1).permutation(len(sample.outcome))
    given, moved = (sample.outcome, sample.predicted, sample.groups), sample.rows_of(order)
    for name, loss in task.losses.items():
        _require(
            np.allclose(loss.of(*given)[order], loss.of(*moved), atol=1e-12), f"{name} depends on the order"
        )
        same = np.allclose(loss.exact(*given)[order], loss.exact(*moved), atol=1e-12)
        _require(same, f"{name} depends on the order")
    for name, metric in task.metrics.items():
        _require(_same(metric.value(*given), metric.value(*moved)), f"{name} depends on the order")
    for rows in (task.promised(sample.predicted), task.residual(sample.outcome, sample.predicted)):
        _require(rows is None or rows.shape == sample.outcome.shape, "a number of a row is not one a row")


def check_better_is_lower(task: Task, sample: TaskSample) -> None:
    """Right predictions have lower losses than the same ones dealt to other rows, and better metrics."""
    order = np.random.default_rng(2).permutation(len(sample.outcome))
    dealt = sample.predicted[order]
    for name, loss in task.losses.items():
        for rows in (loss.of, loss.exact):
            right = float(rows(sample.outcome, sample.predicted, sample.groups).mean())
            wrong = float(rows(sample.outcome, dealt, sample.groups).mean())
            _require(right < wrong, f"{name} is {right:g} for right predictions and {wrong:g} for dealt ones")
    for name, metric in task.metrics.items():
        if metric.higher_is_better is None:
            continue
        right = metric.value(sample.outcome, sample.predicted, sample.groups)
        wrong = metric.value(sample.outcome, dealt, sample.groups)
        sign = 1 if metric.higher_is_better else -1
        _require(
            sign * right >= sign * wrong,
            f"{name} is {right:g} for right predictions, {wrong:g} for dealt ones",
        )


def check_calibrated(task: Task, sample: TaskSample) -> None:
    """Loss less promise, and the residual, have mean zero where outcomes are drawn from predictions."""
    if not task.has_outcome:
        return
    excess, error = task.excess(sample.outcome, sample.predicted), task.promised_error(sample.predicted)
    _require((excess is None) == (error is None), "an excess loss has an error, and the other way round")
    if excess is not None and error is not None:
        off = float(excess.mean()) / error
        _require(abs(off) < _STANDARD_ERRORS, f"the excess loss is {off:.1f} standard errors off zero")
        _require(_like(error, excess), "the promised error is not how excess losses spread")
    residual = task.residual(sample.outcome, sample.predicted)
    error = task.residual_error(sample.outcome, sample.predicted)
    _require((residual is None) == (error is None), "a residual has an error, and the other way round")
    if residual is not None and error is not None:
        off = float(residual.mean()) / error
        _require(abs(off) < _STANDARD_ERRORS, f"the residual is {off:.1f} standard errors off zero")
        _require(_like(error, residual), "the residual's error is not how residuals spread")
    found = task.calibration(sample.outcome, sample.predicted)
    if found is not None:
        _require(found.n == len(sample.outcome), "the calibration error is of other rows")
        explained = found.value <= 3 * found.by_chance
        _require(
            explained, f"a calibrated sample has the error {found.value:g}, by chance {found.by_chance:g}"
        )


def check_metrics(task: Task, sample: TaskSample) -> None:
    """Metrics have intervals around them within their limits, and validation names each."""
    if not task.has_outcome:
        _require(not task.metrics and not task.losses and not task.signals, "nothing can be compared")
        return
    for name, metric in task.metrics.items():
        _require(metric.name == name, f"{name} is named {metric.name}")
        found = metric.estimate(sample.outcome, sample.predicted, sample.clusters, sample.groups)
        _within(name, found, metric.limits)
        value = metric.value(sample.outcome, sample.predicted, sample.groups)
        _require(
            _same(found.value, value), f"{name} is {found.value:g} with its interval and {value:g} without"
        )
        groups = _part(sample.groups, 0)
        nothing = metric.estimate(sample.outcome[:0], sample.predicted[:0], sample.clusters[:0], groups)
        _require(math.isnan(nothing.value), f"{name} of no rows is {nothing.value}")
    kept = task.validation(sample.outcome, sample.predicted, sample.groups)
    named = {*task.metrics, *([] if task.default_loss is None else [task.default_loss])}
    _require(set(kept) == named, f"validation holds {sorted(kept)}, not {sorted(named)}")
    _require(msgspec.json.decode(canonical(kept)) == kept, "validation changes in JSON")


def check_signals(task: Task, sample: TaskSample) -> None:
    """Signals have an interval and an error, are told apart, and a calibrated day is where it should be."""
    subjects = [subject for signal in task.signals for subject, _ in signal.subjects]
    _require(len(set(subjects)) == len(subjects), f"alarms are not told apart: {subjects}")
    for signal in task.signals:
        found = signal.estimate(sample.outcome, sample.predicted, sample.clusters, sample.groups)
        _within(signal.name, found, (-math.inf, math.inf))
        metric = task.metrics.get(signal.name)
        if metric is not None:
            value = metric.value(sample.outcome, sample.predicted, sample.groups)
            _require(
                math.isclose(found.value, value), f"{signal.name} is a metric and a signal, and not equal"
            )
        error = signal.error(sample.outcome, sample.predicted, sample.groups)
        _require(error is not None and error >= 0, f"{signal.name} has no error on thousands of rows")
        _require(all(abs(direction) == 1 for _, direction in signal.subjects), "a direction is 1 or -1")
        if error and not signal.learns_level:
            off = found.value / error
            _require(abs(off) < _STANDARD_ERRORS, f"{signal.name} is {off:.1f} standard errors off zero")


def check_estimates(task: Task, sample: TaskSample) -> None:
    """A fitted estimator is asked for what it says by hand."""
    found = task.estimates(sample.estimator, sample.rows)
    _require(found.shape == (len(sample.rows), task.width), f"estimates are of shape {found.shape}")
    _require(found.dtype == np.float64, f"estimates are of type {found.dtype}")
    _require(np.allclose(found, sample.estimates, atol=1e-9), "estimates are not what the estimator says")
    _require(bool(task.valid(found).all()), "what the estimator says is not valid")


def check_tensors(task: Task, sample: TaskSample) -> None:
    """Tensors hold as many values as their shapes say, of their datatypes, that JSON can hold."""
    few = sample.predicted[:7].astype(np.float32)
    tensors = task.tensors()
    names = [tensor.name for tensor in tensors]
    _require(0 < len(set(names)) == len(names), f"tensors are not told apart: {names}")
    for tensor in tensors:
        values = tensor.values(few)
        _require(len(values) == 7 * math.prod(tensor.tail), f"{tensor.name} does not fill its shape")
        wanted: type = {"F": float, "I": int, "B": str}[tensor.datatype[0]]
        _require(all(type(value) is wanted for value in values), f"{tensor.name} is not of {tensor.datatype}")
        _require(msgspec.json.decode(msgspec.json.encode(values)) == values, f"{tensor.name} changes in JSON")
        _require(tensor.values(few[:0]) == [], f"{tensor.name} of no rows is something")
    told = [task.said(row) for row in few]
    _require(all(text and text == text.strip() for text in told), f"predictions are not said: {told}")


def check_curve(task: Task, sample: TaskSample) -> None:
    """The points of a calibrated sample lie about the diagonal."""
    curve = task.curve(sample.outcome, sample.predicted) if task.has_outcome else None
    if curve is None:
        return
    near = [point.low <= point.predicted <= point.high for point in curve.points]
    _require(len(near) > 0, "a curve has no points")
    _require(
        sum(near) >= 0.7 * len(near), f"{len(near) - sum(near)} of {len(near)} points are off the diagonal"
    )
    for point in curve.points:
        _require(point.low <= point.observed <= point.high, "a point lies outside of its interval")


TaskCheck = Callable[[Task, TaskSample], None]

TASK_CHECKS: tuple[TaskCheck, ...] = (
    check_spec,
    check_outcomes,
    check_stored,
    check_valid,
    check_losses,
    check_order,
    check_better_is_lower,
    check_calibrated,
    check_metrics,
    check_signals,
    check_estimates,
    check_tensors,
    check_curve,
)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)


def _refuses(act: Callable[[], object], what: str) -> None:
    try:
        act()
    except ValueError:
        return
    raise AssertionError(f"{what} are not refused")


def _within(name: str, found: Estimate, limits: tuple[float, float]) -> None:
    ordered = limits[0] <= found.low <= found.value <= found.high <= limits[1]
    _require(ordered, f"{name} is {found.value:g} [{found.low:g}, {found.high:g}], limits {limits}")


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12) or (math.isnan(one) and math.isnan(other))


def _like(error: float, rows: Array) -> bool:
    """Whether a standard error is about that of independent rows."""
    seen = float(np.std(rows)) / math.sqrt(len(rows))
    return 0.8 * seen <= error <= 1.25 * seen


def _extremes(task: Task, n: int) -> Iterator[Array]:
    """Return valid predictions that are certain, or far out."""
    for value in (0.0, 1.0, -1e9, 1e9):
        rows = np.full((n, task.width), value)
        if task.valid(rows).all():
            yield rows
    corner = np.zeros((n, task.width))
    corner[:, 0] = 1.0
    if task.valid(corner).all():
        yield corner


def _part(groups: Array | None, n: int) -> Array | None:
    return None if groups is None else groups[:n]


def _codes(groups: Array) -> Array:
    return np.unique(groups, return_inverse=True)[1]
