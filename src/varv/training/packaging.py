"""Making a package of a fitted estimator: a form that a runtime loads without running code, checked first.

ONNX is tried first, since it is the fastest to answer and holds data only; where an estimator has no ONNX
form, or one that predicts otherwise, the format of its own library is tried. Whatever is kept has predicted
as the estimator does, on every probe row, through the runtime that will serve it. How each library is
written down is in `estimators`; what a package is, and how it is opened, in `registry.package`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl

from varv.kernel.environment import Environment
from varv.kernel.errors import Corrupt, InvalidInput, UserCodeFailed
from varv.registry import Package, Rows, Runtimes, n_rows, packed
from varv.registry.package import difference
from varv.registry.signature import frame_of, take
from varv.tasks import Task
from varv.training.estimators import Family, NoForm, family_of, has_state, plain_files
from varv.training.training_set import Packaged, TrainingSet

TOLERANCE = 1e-5
"""Largest difference of a prediction between an estimator and its package that is put down to float32,
relative to the prediction where that is above 1."""

_PROBE_ROWS = 32
_ALONE = 3
"""Rows that are asked once more by themselves: what a model says of one must not depend on its company."""


def build_package(
    estimator: Any,
    given: TrainingSet,
    probe: pl.DataFrame,
    *,
    task: Task,
    runtimes: Runtimes,
    environment: Environment,
    params: dict[str, Any],
    keep_state: bool = False,
) -> bytes:
    """Return the package of a fitted estimator, after checking that it predicts as the estimator does.

    Parameters
    ----------
    estimator
        What the training function returned: an estimator, or a `Packaged` one.
    given
        What the training function was given.
    probe
        Rows with all features, to compare on; at most 32 of them are kept in the package.
    task
        What is predicted.
    runtimes
        What may run the package.
    keep_state
        Whether the estimator is to be kept as well, for a later training to go on from.

    Raises
    ------
    InvalidInput
        If the estimator does not predict what the task needs, was fitted on something else than it was given,
        or has no form that predicts as it does.
    UserCodeFailed
        If the estimator raised.
    """
    wanted = estimator if isinstance(estimator, Packaged) else Packaged(estimator)
    fitted = wanted.estimator
    family = family_of(fitted)
    try:
        signature = family.signature(fitted, given, wanted.form)
        rows = signature.feed(probe)
        package = Package(
            task=task.spec,
            estimator=family.kind(fitted),
            signature=signature,
            environment=environment,
            params=params,
            seed=given.seed,
            n_rows=len(given),
            runtime="",
            started_from=None if given.previous is None else given.previous.version,
            probe=listed(take(rows, slice(0, _PROBE_ROWS))),
            probe_scores=(),
            files={},
        )
        trial = _Trial(package, fitted, family, task, runtimes, rows)
        made = trial.first_that_agrees(_candidates(wanted, family))
    except NoForm as none:
        raise InvalidInput("estimator", type(fitted).__name__, str(none), hint=family.hint) from None
    if wanted.runtime not in (None, "onnx"):
        made = msgspec.structs.replace(made, not_onnx=f"the training function asks for {wanted.runtime}")
    state = family.state(fitted) if keep_state else {}
    files = {**family.beside(fitted), **state, **made.files}
    return packed(msgspec.structs.replace(made, files=files))


def listed(rows: Rows) -> tuple[tuple[float | str | None, ...], ...]:
    """Return rows that a model is fed as JSON can hold them, missing numbers as None."""
    columns = rows.T if isinstance(rows, np.ndarray) else rows.values()
    plain = [[None if value != value else value for value in column.tolist()] for column in columns]
    return tuple(zip(*plain, strict=True))


def disagreement(package: Package, runtimes: Runtimes, rows: Rows, expected: np.ndarray) -> str:
    """Return why a package does not predict what is expected, the subject being its estimator; empty if it
    does.

    Parameters
    ----------
    rows
        As the model is fed them.
    expected
        Predictions of shape (n, width).

    Raises
    ------
    FailedPrecondition
        If what runs it is not installed.
    """
    form = "ONNX" if package.runtime == "onnx" else package.runtime
    try:
        loaded = runtimes.load(package)
        got = loaded.predict(rows)
        alone = [loaded.predict(take(rows, slice(at, at + 1))) for at in range(min(_ALONE, n_rows(rows)))]
    except (Corrupt, UserCodeFailed) as error:
        return f"has no {form} form that runs: {error.facts.get('why', error.problem)}"
    apart = difference(expected, got)
    if not apart <= TOLERANCE:
        return f"differs from its {form} form by {apart:.2g}"
    if alone and not difference(expected[: len(alone)], np.concatenate(alone)) <= TOLERANCE:
        return "predicts otherwise for a row that comes alone"
    return ""


class _Trial(NamedTuple):
    """An estimator, what it predicts, and a package that lacks its files."""

    package: Package
    estimator: Any
    family: Family
    task: Task
    runtimes: Runtimes
    rows: Rows

    def first_that_agrees(self, candidates: tuple[str, ...]) -> Package:
        """Return the package with the files of the first runtime that predicts what the estimator does."""
        expected = self._expected()
        few = expected[:_PROBE_ROWS].astype(np.float32)
        scores = tuple(tuple(map(float, row)) for row in few)
        problems: dict[str, str] = {}
        for runtime in candidates:
            try:
                for files in self._forms(runtime):
                    made = self._made(runtime, files, problems.get("onnx", ""))
                    problem = disagreement(made, self.runtimes, self.rows, expected)
                    if not problem:
                        return msgspec.structs.replace(made, probe_scores=scores)
                    problems.setdefault(runtime, problem)
            except NoForm as none:
                problems.setdefault(runtime, str(none))
        name = type(self.estimator).__name__
        first, *others = (problems[runtime] for runtime in candidates)
        facts = {"nor": others[0]} if others else {}
        raise InvalidInput("estimator", name, first, **facts, hint=self.family.hint)

    def _expected(self) -> np.ndarray:
        """Return what the estimator predicts, float64 of shape (n, width)."""
        asked = self.family.asked(self.estimator, self.package.signature, self.task)
        if asked is None:
            # Nothing but the runtime can ask it, so there is nothing to compare that with.
            runtime = self.family.runtime or "onnx"
            made = self._made(runtime, next(self._forms(runtime)), "")
            found = self.runtimes.load(made).predict(self.rows)
        else:
            rows = self.rows if isinstance(self.rows, np.ndarray) else frame_of(self.rows)
            found = self.task.estimates(asked, rows)  # type: ignore[arg-type]
        wrong = ~self.task.valid(found)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            hint = "look at what it predicts for rows with missing values"
            problem = f"predicts {found[row].tolist()} of a row, which is no prediction"
            name = type(self.estimator).__name__
            raise InvalidInput("estimator", name, problem, n=int(wrong.sum()), hint=hint)
        return found

    def _forms(self, runtime: str) -> Iterator[Mapping[str, bytes]]:
        about = (self.estimator, self.package.signature, self.task)
        if runtime == "onnx":
            yield from ({"model.onnx": onnx} for onnx in self.family.onnx(*about))
        elif runtime == self.family.runtime:
            yield self.family.files(*about)
        elif runtime == "python" and has_state(self.estimator):
            yield plain_files(self.estimator, self.task)
        else:
            raise NoForm(f"cannot be written for the runtime {runtime}")

    def _made(self, runtime: str, files: Mapping[str, bytes], not_onnx: str) -> Package:
        return msgspec.structs.replace(self.package, runtime=runtime, files=dict(files), not_onnx=not_onnx)


def _candidates(wanted: Packaged, family: Family) -> tuple[str, ...]:
    """Return the runtimes to try, in order."""
    if wanted.runtime is None:
        own = () if family.runtime is None or (family.needs_trust and not wanted.trust) else (family.runtime,)
        return ("onnx", *own, *(("python",) if has_state(wanted.estimator) else ()))
    if wanted.runtime == family.runtime and family.needs_trust and not wanted.trust:
        hint = "return varv.packaged(..., trust=True) if you made it yourself"
        problem = f"may run code when {wanted.runtime} loads it"
        raise InvalidInput("estimator", type(wanted.estimator).__name__, problem, hint=hint)
    return (wanted.runtime,)
