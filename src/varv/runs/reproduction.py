"""What a rerun is worth: two outcomes compared, and what follows from a run and two reruns of it.

Numbers in, a verdict out; who reruns, and where, is `app.scripts.reproducing`.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterator, Mapping

import msgspec
import numpy as np

from varv.kernel.codec import Digest
from varv.kernel.errors import InvalidInput
from varv.runs.model import Status, Verdict

BEST_FIRST: tuple[Verdict, ...] = (
    "bit-identical",
    "prediction-identical",
    "within tolerance",
    "differs",
    "cannot run",
)
MOST_NAMED = 50
"""Of what differs."""

Columns = Mapping[str, np.ndarray]
"""Predictions: numbers or texts, in one order of rows."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run."""

    status: Status
    metrics: Mapping[str, float] = {}
    """The last value of each."""
    artifacts: Mapping[str, Digest] = {}
    """Digests by path, without what was captured of the run itself."""
    predictions: Columns | None = None
    """Predictions on the pinned probe set, if there are any."""


class Tolerance(msgspec.Struct, frozen=True, kw_only=True):
    """How far numbers may be apart, and which are not looked at.

    Raises
    ------
    InvalidInput
        If a number is negative.
    """

    relative: float = 1e-6
    """Of the larger one."""
    absolute: float = 0.0
    ignored: tuple[str, ...] = ()
    """Patterns of metrics and artifacts that tell how long something took, or when, such as ``*_s``."""

    def __post_init__(self) -> None:
        for name, value in (("relative", self.relative), ("absolute", self.absolute)):
            if not (value >= 0.0 and math.isfinite(value)):
                hint = "give a number from 0 on"
                raise InvalidInput("tolerance", name, "is out of range", given=value, hint=hint)


class Comparison(msgspec.Struct, frozen=True):
    """How alike two outcomes are, and in what they differ."""

    verdict: Verdict
    differing: tuple[str, ...] = ()


def compared(before: Outcome, after: Outcome, tolerance: Tolerance) -> Comparison:
    """Return how alike two outcomes are.

    Notes
    -----
    Equal bytes of everything are *bit-identical*. Equal metrics and equal predictions are
    *prediction-identical*, whatever else differs: a model's file may hold a time or the number of threads.
    Without predictions that cannot be said, and artifacts that differ beside equal metrics are *within
    tolerance*, as are numbers that are no further apart than it allows. Without any number there is nothing
    that could be within it.

    Examples
    --------
    >>> a = Outcome(status="FINISHED", metrics={"auc": 0.81}, artifacts={"model.bin": "a1"})
    >>> compared(a, a, Tolerance()).verdict
    'bit-identical'
    >>> b = Outcome(status="FINISHED", metrics={"auc": 0.80}, artifacts={"model.bin": "b2"})
    >>> compared(a, b, Tolerance())
    Comparison(verdict='differs', differing=('artifact model.bin', 'metric auc: 0.81, then 0.8'))
    """
    artifacts = tuple(_artifacts(before, after, tolerance))
    exact = tuple(_numbers(before, after, Tolerance(relative=0.0, ignored=tolerance.ignored)))
    differing = (*artifacts, *exact)[:MOST_NAMED]
    if before.status != after.status:
        return Comparison("differs", (f"status {before.status}, then {after.status}", *differing))
    if not differing:
        return Comparison("bit-identical")
    if not exact and before.predictions is not None:
        return Comparison("prediction-identical", differing)
    has_numbers = before.predictions is not None or any(_looked_at(before.metrics, tolerance))
    if has_numbers and not any(_numbers(before, after, tolerance)):
        return Comparison("within tolerance", differing)
    return Comparison("differs", differing)


def _artifacts(before: Outcome, after: Outcome, tolerance: Tolerance) -> Iterator[str]:
    for path in _looked_at(before.artifacts.keys() | after.artifacts.keys(), tolerance):
        if path not in after.artifacts or path not in before.artifacts:
            yield f"artifact {path}: {'new' if path in after.artifacts else 'missing'}"
        elif before.artifacts[path] != after.artifacts[path]:
            yield f"artifact {path}"


def _numbers(before: Outcome, after: Outcome, tolerance: Tolerance) -> Iterator[str]:
    for name in _looked_at(before.metrics.keys() | after.metrics.keys(), tolerance):
        a, b = before.metrics.get(name), after.metrics.get(name)
        if a is None or b is None:
            yield f"metric {name}: {'new' if a is None else 'missing'}"
        elif not _close(np.array([a]), np.array([b]), tolerance):
            yield f"metric {name}: {a!r}, then {b!r}"
    yield from _predictions(before.predictions, after.predictions, tolerance)


def _predictions(before: Columns | None, after: Columns | None, tolerance: Tolerance) -> Iterator[str]:
    if before is None or after is None:
        if before is not after:
            yield f"predictions: {'new' if before is None else 'missing'}"
        return
    if before.keys() != after.keys():
        yield f"columns of predictions: {', '.join(before)}, then {', '.join(after)}"
        return
    for name, a in before.items():
        b = after[name]
        if len(a) != len(b):
            yield f"rows of predictions: {len(a)}, then {len(b)}"
            return
        if not _close(a, b, tolerance):
            yield f"predictions {name}: {_apart(a, b)}"


def _close(a: np.ndarray, b: np.ndarray, tolerance: Tolerance) -> bool:
    if a.dtype.kind not in "fiub" or b.dtype.kind not in "fiub":
        return bool(np.array_equal(a.astype(str), b.astype(str)))
    if not tolerance.relative and not tolerance.absolute:
        return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f" and b.dtype.kind == "f"))
    x, y = a.astype(float), b.astype(float)
    with np.errstate(invalid="ignore"):
        near = np.abs(x - y) <= tolerance.absolute + tolerance.relative * np.maximum(np.abs(x), np.abs(y))
    return bool(np.all(near | (x == y) | (np.isnan(x) & np.isnan(y))))


def _apart(a: np.ndarray, b: np.ndarray) -> str:
    n = int(np.sum(a.astype(str) != b.astype(str)))
    if a.dtype.kind in "fiub" and b.dtype.kind in "fiub":
        with np.errstate(invalid="ignore"):
            apart = np.abs(a.astype(float) - b.astype(float))
        most = np.max(apart, initial=0.0, where=np.isfinite(apart))
        return f"{n} of {len(a)} differ, by {most:.3g} at most"
    return f"{n} of {len(a)} differ"


def _looked_at(names: Mapping[str, object] | set[str], tolerance: Tolerance) -> Iterator[str]:
    for name in sorted(names):
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in ("system/*", *tolerance.ignored)):
            yield name
