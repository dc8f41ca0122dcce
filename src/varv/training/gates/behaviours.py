"""Gates on behaviour: what a model must do with given rows, and how its predictions may move with a feature.

They need no outcome, so they ask the version that would serve, a refit included: that it has seen the rows
does not flatter it, and what it does is what users meet. The champion's share is beside it in the evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import polars as pl

from varv.features.kinds import Kind
from varv.features.slices import Slice
from varv.kernel.errors import InvalidDeclaration, InvalidInput, UserCodeFailed
from varv.kernel.user_code import UserCode
from varv.kernel.wording import percent
from varv.stats.intervals import Estimate
from varv.tasks import Array, Task
from varv.training.gates.bounds import Limit, held_against, nothing_shown, share_of
from varv.training.gates.judgement import Judgement, Mask, Served
from varv.training.gates.measured import interval_of
from varv.training.gates.model import GateResult
from varv.training.gates.slicing import require_feature, require_slice, sliced

MOST_ROWS = 10_000
"""Of more held-out rows, so many are asked, evenly spread."""
MOST_EXAMPLES = 5

Scalar = bool | int | float | str
Change = Callable[[pl.DataFrame], pl.DataFrame]
Way = Literal["up", "down", "not down", "not up"]
_WORDS: dict[Way, str] = {"up": "rise", "down": "fall", "not down": "not fall", "not up": "not rise"}


class Minimum(msgspec.Struct, frozen=True, tag="minimum"):
    """Given rows are predicted as they must be, every one: a minimum of what the model has to know."""

    name: str
    rows: tuple[dict[str, Scalar | None], ...]
    label: str | None = None
    """What the label of each must be."""
    limit: Limit | None = None
    """What the predicted number of each must be."""
    output: str | None = None
    """Which number, where the task predicts several."""

    def require_task(self, task: Task) -> None:
        """Check that the task predicts what is expected."""
        if self.label is None:
            _require_output("minimum", task, self.output)
            return
        if _labels(task) is None:
            hint = "expect a number: at_least=0.7, at_most=0.2"
            problem = f"expects a label, which task {task.name!r} does not predict"
            raise InvalidDeclaration("gate", "minimum", problem, hint=hint)
        if self.label not in task.outputs:
            hint = f"the labels are {', '.join(task.outputs)}"
            raise InvalidDeclaration("gate", "minimum", f"expects label {self.label!r}", hint=hint)

    def require_features(self, kinds: Mapping[str, Kind]) -> None:
        """Check that the rows name features, with values of their kind."""
        for row in self.rows:
            for name, value in row.items():
                wanted: Kind = "categorical" if isinstance(value, str) else "numeric"
                require_feature("minimum", "row", name, kinds, kind=None if value is None else wanted)

    def named(self, task: Task) -> str:
        """Return the name that its results bear."""
        return f"minimum {self.name}"

    def judge(self, judgement: Judgement) -> GateResult:
        """Ask the served version for the rows."""
        served, task = _served(judgement), judgement.task
        frame = self._frame(judgement.rows)
        predicted = served.predict(frame)
        if self.label is None:
            numbers = _numbers(task, predicted, self.output)
            limit = self.limit or Limit()
            right = np.array([limit.holds(float(number)) for number in numbers])
            expected = f"{limit}"
        else:
            labels = _labels(task)
            assert labels is not None, "the task was asked when the gate was declared"
            right = np.array([said == self.label for said in labels(predicted)])
            expected = repr(self.label)
        wrong = np.flatnonzero(~right)
        examples = tuple(
            f"row {number + 1}: {task.said(predicted[number])}" for number in wrong[:MOST_EXAMPLES].tolist()
        )
        n, n_wrong = len(right), len(wrong)
        answer = f"All {n} are." if not n_wrong else f"{n_wrong} of {n} are not, such as {examples[0]}."
        evidence: dict[str, float | None] = {"n": float(n), "n_wrong": float(n_wrong)}
        evidence["share"] = 1 - n_wrong / n
        return GateResult(
            self.named(task),
            not n_wrong,
            "beyond bounds" if n_wrong else "within bounds",
            evidence,
            f"Are the given rows of {self.name} predicted as {expected}?",
            answer,
            n,
            examples=examples,
        )

    def _frame(self, known: pl.DataFrame) -> pl.DataFrame:
        """Return the given rows with every feature, missing where it is not given."""
        schema = {name: dtype for name, dtype in known.schema.items() if name not in _NO_FEATURES}
        rows = [{name: row.get(name) for name in schema} for row in self.rows]
        try:
            return pl.DataFrame(rows, schema=schema, strict=False)
        except (pl.exceptions.PolarsError, TypeError) as error:
            hint = "give values of the features' own types"
            raise InvalidInput(
                "gate", self.name, "has rows that no request can be", why=str(error)[:200], hint=hint
            ) from None


class Invariant(msgspec.Struct, frozen=True, tag="invariant"):
    """A change that should make no difference makes next to none, for a share of the held-out rows."""

    name: str
    change: dict[str, tuple[Scalar, ...]] | Change
    """Values that are to be alike, by feature; or a function from rows to changed rows."""
    tolerance: float
    """Largest difference of any predicted number."""
    share: float
    slice: Slice | None = None

    def require_features(self, kinds: Mapping[str, Kind]) -> None:
        """Check that the features exist and can have the values."""
        require_slice("invariant", self.slice, kinds)
        if not callable(self.change):
            for name, values in self.change.items():
                wanted: Kind = "categorical" if isinstance(values[0], str) else "numeric"
                require_feature("invariant", "change", name, kinds, kind=wanted)

    def named(self, task: Task) -> str:
        """Return the name that its results bear."""
        return f"invariant {self.name}"

    def judge(self, judgement: Judgement) -> GateResult:
        """Compare predictions of the rows with those of the changed rows."""
        rows = _asked(judgement.within(self.slice))
        changed = self._changed(rows.rows)

        def judged(served: Served) -> _Shift:
            before = served.predict(rows.rows)
            right, after = np.ones(len(before), dtype=bool), before.copy()
            touched = np.zeros(len(before), dtype=bool)
            for which, frame in changed:
                if not len(which):
                    continue
                said = served.predict(frame)
                apart = np.max(np.abs(said.astype(np.float64) - before[which]), axis=1)
                stays = apart <= self.tolerance
                touched[which] = True
                after[which] = np.where((stays | ~right[which])[:, None], after[which], said)
                right[which] &= stays
            return _Shift(before, after, right, touched)

        question = (
            f"Does the change {self.name!r} keep predictions within {self.tolerance:g} in"
            f" {percent(self.share)} of rows{sliced('', self.slice, joint=' where ')}?"
        )
        return _result(self.named(judgement.task), question, rows, judged, self.share)

    def _changed(self, rows: pl.DataFrame) -> list[tuple[np.ndarray, pl.DataFrame]]:
        """Return changed rows, each time with the numbers of the rows that they were."""
        if callable(self.change):
            return [(np.arange(rows.height), self._by_function(self.change, rows))]
        found: list[tuple[np.ndarray, pl.DataFrame]] = []
        for name, values in self.change.items():
            column = rows[name]
            for value in values:
                others = [other for other in values if other != value]
                which = Slice(column=name, values=tuple(others)).of(rows).arg_true()
                literal = pl.lit(value).cast(column.dtype).alias(name)
                found.append((which.to_numpy(), rows[which].with_columns(literal)))
        return found

    def _by_function(self, change: Change, rows: pl.DataFrame) -> pl.DataFrame:
        with UserCode("gate", self.name):
            said = change(rows)
        if not isinstance(said, pl.DataFrame) or said.height != rows.height:
            problem = "returned no frame of as many rows"
            hint = "return the rows that it is given, in their order, with columns changed"
            raise UserCodeFailed("gate", self.name, problem, hint=hint)
        if missing := [name for name in rows.columns if name not in said.columns]:
            hint = "return every column that it is given"
            raise UserCodeFailed("gate", self.name, f"lost the column {missing[0]!r}", hint=hint)
        return said


class Direction(msgspec.Struct, frozen=True, tag="direction"):
    """A feature that is moved moves predictions in one direction, for a share of the held-out rows."""

    name: str
    feature: str
    by: float
    """What is added to it."""
    prediction: Way
    share: float
    tolerance: float = 0.0
    """Moves no larger than this are none."""
    output: str | None = None
    slice: Slice | None = None

    def require_task(self, task: Task) -> None:
        """Check that one number is meant."""
        _require_output("direction", task, self.output)

    def require_features(self, kinds: Mapping[str, Kind]) -> None:
        """Check that the feature is a number."""
        require_slice("direction", self.slice, kinds)
        require_feature("direction", "feature", self.feature, kinds, kind="numeric")

    def named(self, task: Task) -> str:
        """Return the name that its results bear."""
        return f"direction {self.name}"

    def judge(self, judgement: Judgement) -> GateResult:
        """Compare predictions of the rows with those of the rows with the feature moved."""
        inside = judgement.within(self.slice)
        known = inside.rows[self.feature].cast(pl.Float64).fill_null(float("nan")).is_finite().to_numpy()
        rows = _asked(inside.only(known))
        moved = rows.rows.with_columns(pl.col(self.feature) + _as_given(self.by))

        def judged(served: Served) -> _Shift:
            before, after = served.predict(rows.rows), served.predict(moved)
            step = _numbers(rows.task, after, self.output) - _numbers(rows.task, before, self.output)
            rises, falls = step > self.tolerance, step < -self.tolerance
            right = {"up": rises, "down": falls, "not down": ~falls, "not up": ~rises}[self.prediction]
            return _Shift(before, after, right & np.isfinite(step), np.ones(len(before), dtype=bool))

        question = (
            f"Does the prediction {_WORDS[self.prediction]} in {percent(self.share)} of rows"
            f"{sliced('', self.slice, joint=' where ')} when {self.feature} changes by {self.by:+g}?"
        )
        return _result(self.named(judgement.task), question, rows, judged, self.share)


_NO_FEATURES = ("key", "requested_at")


class _Shift(NamedTuple):
    """What a version says of rows before and after a change, and of which rows that is right.

    `touched` are the rows that were changed at all.
    """

    before: Array
    after: Array
    right: Mask
    touched: Mask


def _result(
    name: str, question: str, rows: Judgement, judged: Callable[[Served], _Shift], share: float
) -> GateResult:
    """Return the result of a test that a share of the changed rows has to pass."""
    shift = judged(_served(rows)) if len(rows) else None
    evidence: dict[str, float | None] = {"at_least": share}
    if shift is None or not shift.touched.any():
        held = nothing_shown("no held-out row could be changed", shown=False)
        return GateResult(name, held.passed, held.verdict, evidence, question, held.answer)
    found = _share(shift, rows)
    evidence |= {"share": found.value, "low": found.low, "high": found.high, "n": float(found.n)}
    evidence["n_wrong"] = float(np.sum(~shift.right))
    told = f"{_percents(found)} of the changed rows pass"
    if rows.champion_served is not None:
        theirs = _share(judged(rows.champion_served), rows)
        evidence["champion_share"] = theirs.value
        told += f", {100 * theirs.value:.4g} % of the champion's"
    examples = _examples(shift, rows)
    told += f"; {examples[0]} does not" if examples else ""
    held = held_against(found, Limit(low=share), told, shown=False)
    return GateResult(
        name,
        held.passed,
        held.verdict,
        evidence,
        question,
        held.answer,
        found.n,
        interval_of(found),
        examples,
    )


def _share(shift: _Shift, rows: Judgement) -> Estimate:
    return share_of(shift.right[shift.touched], rows.days[shift.touched])


def _percents(found: Estimate) -> str:
    value, low, high = (f"{100 * number:.4g}" for number in (found.value, found.low, found.high))
    return f"{value} % [{low}, {high}]"


def _examples(shift: _Shift, rows: Judgement) -> tuple[str, ...]:
    """Return the rows at fault whose prediction moved furthest."""
    wrong = np.flatnonzero(~shift.right)
    apart = np.max(np.abs(shift.after[wrong].astype(np.float64) - shift.before[wrong]), axis=1)
    worst = wrong[np.argsort(-apart, kind="stable")][:MOST_EXAMPLES].tolist()
    keys = rows.rows["key"] if "key" in rows.rows.columns else pl.Series(range(len(rows)))
    said = rows.task.said
    return tuple(
        f"row {keys[number]} ({said(shift.before[number])} → {said(shift.after[number])})" for number in worst
    )


def _asked(judgement: Judgement) -> Judgement:
    """Return the rows that are asked, in the order of their requests."""
    order = np.argsort(judgement.at, kind="stable")
    if len(order) > MOST_ROWS:
        order = order[np.linspace(0, len(order) - 1, MOST_ROWS).astype(np.int64)]
    chosen = np.zeros(len(judgement), dtype=bool)
    chosen[order] = True
    return judgement.only(chosen)


def _served(judgement: Judgement) -> Served:
    assert judgement.served is not None, "a version that is judged has a package"
    return judgement.served


def _require_output(gate: str, task: Task, output: str | None) -> None:
    if output is None and task.width > 1:
        hint = f"say which: output=one of {', '.join(task.outputs[:20])}"
        problem = f"is about one number, and task {task.name!r} predicts {task.width}"
        raise InvalidDeclaration("gate", gate, problem, hint=hint)
    if output is not None and output not in task.outputs:
        hint = f"the outputs are {', '.join(task.outputs[:20])}"
        raise InvalidDeclaration("gate", gate, f"has no output {output!r}", hint=hint)


def _numbers(task: Task, predicted: Array, output: str | None) -> Array:
    number = 0 if output is None else task.outputs.index(output)
    return predicted[:, number].astype(np.float64)


def _labels(task: Task) -> Callable[[Array], Sequence[Any]] | None:
    """Return what gives the labels of predictions, None where the task has no label."""
    return next((tensor.values for tensor in task.tensors() if tensor.name == "label"), None)


def _as_given(number: float) -> int | float:
    """Return a whole number as such: a column of whole numbers then stays one."""
    return int(number) if float(number).is_integer() else number
