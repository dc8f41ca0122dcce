"""Choosing the requests of a window that people are to label, each with its probability of being chosen.

All but the drawn ones follow from the rows, so their probability is 1; of the rest a fixed number is drawn,
each request with one probability. So a mean over labels, weighted by the inverse of the probability, has no
bias, whatever else was chosen (`stats.sampling.inverse_probability_mean`). Nothing here reads a store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.kernel.clock import Instant
from varv.kernel.ids import coin
from varv.labels.model import Cause, Chosen
from varv.labels.policy import LabellingPolicy, Measure
from varv.stats.intervals import Numbers
from varv.stats.recalibration import Recalibration
from varv.stats.sampling import farthest_first
from varv.tasks import Task
from varv.tasks.measures import Array

Ints = npt.NDArray[np.int64]
MOST_COMPARED = 5000
"""Requests among which those far apart are looked for; the most unsure ones if there are more."""
_MOST_TEXTS = 20


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The requests of a window that have no outcome, in their order; n of them."""

    keys: Sequence[str]
    requested_at: Ints
    unsure: Numbers
    """How unsure the prediction of each is; the larger, the more."""
    features: pl.DataFrame
    """What is known of each, of n rows."""
    parts: Ints
    """The number of the declared slice that each is in; -1 for none."""
    worst: Sequence[int]
    """The slices, and -1 for the rest, the one of the worst loss first."""
    held_back: npt.NDArray[np.bool_]
    """Which wait for a person to decide, and so are labelled in any case."""


def uncertainty(
    task: Task, predicted: Array, by: Measure, calibrated: Recalibration | None
) -> Numbers | None:
    """Return how unsure predictions are, shape (n,); None if those of this task do not say.

    Parameters
    ----------
    calibrated
        Brings probabilities to what has turned out; None to believe them.
    """
    if by == "interval":
        return task.interval_width(predicted)
    p = task.class_probabilities(predicted)
    if p is None:
        return None
    p = p if calibrated is None else calibrated(p)
    if by == "margin":
        ordered = np.sort(p, axis=1)
        return 1.0 - (ordered[:, -1] - ordered[:, -2])
    return -np.sum(np.where(p > 0, p * np.log(np.clip(p, 1e-300, None)), 0.0), axis=1)


def points_of(features: pl.DataFrame) -> Numbers:
    """Return features on scales of their own, shape (n, d): numbers by their spread, texts as one of the
    twenty commonest; what is missing lies at the mean.
    """
    columns: list[Numbers] = []
    for column in features.iter_columns():
        if column.dtype.is_numeric() or column.dtype == pl.Boolean:
            values = column.cast(pl.Float64).to_numpy()
            values = np.where(np.isfinite(values), values, np.nan)
            known = values[~np.isnan(values)]
            spread = float(known.std()) if known.size else 0.0
            if spread > 0:
                columns.append(np.nan_to_num((values - known.mean()) / spread))
        elif column.dtype in (pl.String, pl.Categorical, pl.Enum):
            texts = column.cast(pl.String)
            common = texts.drop_nulls().value_counts(sort=True)[column.name].sort().head(_MOST_TEXTS)
            columns += [(texts == one).fill_null(value=False).to_numpy().astype(float) for one in common]
    return np.column_stack(columns) if columns else np.zeros((features.height, 1))


def choose(found: Candidates, policy: LabellingPolicy, salt: str) -> tuple[Chosen, ...]:
    """Return the requests that are to be labelled, in the order in which they are shown.

    Parameters
    ----------
    salt
        Of the coins by which requests are drawn; one of each window.

    Notes
    -----
    Answers that were held back come beside the budget. Of the budget a share is drawn, at least a tenth; of
    the rest a part lies far apart in its features, and the others are the most unsure ones, as many of each
    slice, the slice of the worst loss first. The causes alternate in the order, and requests of one cause
    come as chance has it: so of a queue that is not finished, what was labelled stands for the rest.
    """
    n_random = policy.n_random
    causes: dict[int, Cause] = dict.fromkeys(np.flatnonzero(found.held_back).tolist(), "review")
    targeted = max(0, policy.budget - n_random)
    n_diverse = int(targeted * policy.diverse)
    for row in _unsure(found, targeted - n_diverse, causes):
        causes[row] = "unsure"
    for row in _diverse(found, n_diverse, causes):
        causes[row] = "diverse"
    tossed = np.array([coin(salt, key) for key in found.keys])
    rest = [row for row in np.argsort(tossed, kind="stable").tolist() if row not in causes]
    probability = min(1.0, n_random / len(rest)) if rest else 1.0
    for row in rest[:n_random]:
        causes[row] = "random"
    return tuple(
        Chosen(
            key=found.keys[row],
            requested_at=Instant(int(found.requested_at[row])),
            cause=causes[row],
            probability=probability if causes[row] == "random" else 1.0,
            n_labels=2 if coin(f"{salt}/twice", found.keys[row]) < policy.double else 1,
            part=policy.slices[found.parts[row]].label if found.parts[row] >= 0 else "",
        )
        for row in _alternating(causes, tossed)
    )


def _unsure(found: Candidates, n: int, taken: dict[int, Cause]) -> list[int]:
    """Return the most unsure requests, dealt out to slices in turn, the worst one first."""
    order = [row for row in np.argsort(-found.unsure, kind="stable").tolist() if row not in taken]
    queues = [iter([row for row in order if found.parts[row] == part]) for part in found.worst]
    chosen: list[int] = []
    while queues and len(chosen) < n:
        for queue in list(queues):
            row = next(queue, None)
            if row is None:
                queues.remove(queue)
            elif len(chosen) < n:
                chosen.append(row)
    return chosen


def _diverse(found: Candidates, n: int, taken: dict[int, Cause]) -> list[int]:
    if n == 0:
        return []
    order = [row for row in np.argsort(-found.unsure, kind="stable").tolist() if row not in taken]
    pool = [*taken, *order[:MOST_COMPARED]]
    picked = farthest_first(points_of(found.features[pool]), n, chosen=range(len(taken)))
    return [pool[place] for place in picked]


def _alternating(causes: dict[int, Cause], tossed: Numbers) -> Iterator[int]:
    """Yield rows so that of each cause a like share has come at any time, in the order of their coins."""
    n_of, seen = Counter(causes.values()), Counter[Cause]()
    places: list[tuple[float, Cause, int]] = []
    for row in sorted(causes, key=lambda row: tossed[row]):
        seen[causes[row]] += 1
        places.append((seen[causes[row]] / n_of[causes[row]], causes[row], row))
    return (row for *_, row in sorted(places))
