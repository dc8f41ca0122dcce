"""Signals that several tasks share: a mean whose normal is zero, and a loss whose normal has to be learned.

Tasks make them of their own numbers of a row; `varv.monitoring` watches them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from varv.stats.intervals import Numbers, clustered_mean
from varv.tasks.measures import Array, Loss, SignalSpec
from varv.tasks.model import Task

FEWEST_ROWS = 10
"""Fewer rows of a day do not tell how rows spread."""

MARGIN_OF_SHARES, MARGIN_OF_NUMBERS, MARGIN_OF_LEARNED_BIAS = 1.1, 1.5, 4.0
"""Of a bias. Numbers have longer tails than shares. Where the level is learned, days in a row are alike, so a
week about its own mean spreads less than weeks do. Chosen by simulation: `benchmarks.promises.alarms`."""


def excess_signal(task: Task) -> SignalSpec:
    """Return the signal of loss less promise, which is zero for a calibrated model."""
    loss = _loss(task)
    return SignalSpec(
        name="excess_loss",
        label="excess loss",
        kind="performance",
        subjects=(("excess_loss", 1),),
        learns_level=False,
        interval=lambda y, p, clusters, _: clustered_mean(_known(task.excess(y, p)), clusters),
        spread=lambda y, p, _: task.promised_error(p),
        margin=2.0,
        unit=loss.unit,
        digits=loss.digits,
        meaning=f"{loss.label} less what the scores themselves promise; zero on average for a calibrated "
        "model",
    )


def bias_signal(
    task: Task,
    *,
    learns_level: bool = False,
    label: str = "bias",
    unit: str = "",
    digits: int = 3,
    meaning: str = "",
) -> SignalSpec:
    """Return the signal of the mean residual, upwards and downwards."""
    margin = MARGIN_OF_NUMBERS if unit else MARGIN_OF_SHARES
    if learns_level:
        margin = MARGIN_OF_LEARNED_BIAS
    return SignalSpec(
        name="bias",
        label=label,
        kind="calibration",
        subjects=(("underestimated", 1), ("overestimated", -1)),
        learns_level=learns_level,
        interval=lambda y, p, clusters, _: clustered_mean(_known(task.residual(y, p)), clusters),
        spread=lambda y, p, _: task.residual_error(y, p),
        margin=margin,
        unit=unit,
        digits=digits,
        meaning=meaning,
    )


def loss_signal(task: Task) -> SignalSpec:
    """Return the signal of the mean default loss, where predictions do not say how large it should be."""
    loss = _loss(task)
    return SignalSpec(
        name="loss",
        label=loss.label,
        kind="performance",
        subjects=(("loss", 1),),
        learns_level=True,
        interval=lambda y, p, clusters, _: clustered_mean(loss.exact(y, p), clusters),
        spread=lambda y, p, _: mean_error(loss.exact(y, p)),
        margin=2.0,
        unit=loss.unit,
        digits=loss.digits,
        meaning=loss.meaning,
    )


def mean_error(values: Numbers) -> float | None:
    """Return the standard error of the mean of independent rows; None where they are too few to tell.

    Examples
    --------
    >>> round(mean_error(np.array([0.0, 2.0] * 50)), 4)
    0.1005
    """
    if values.size < FEWEST_ROWS:
        return None
    return float(np.std(values, ddof=1)) / float(np.sqrt(values.size))


def share_error(
    share: Callable[[Array, Array], float],
) -> Callable[[Array, Array, Array | None], float | None]:
    """Return the standard error of a share of independent rows, of which at least `FEWEST_ROWS` are needed.

    Notes
    -----
    With one row of each kind added, since a day without a miss is not a day without chance.
    """

    def error(y: Array, p: Array, groups: Array | None) -> float | None:
        n = len(y)
        if n < FEWEST_ROWS:
            return None
        smoothed = (share(y, p) * n + 1) / (n + 2)
        return float(np.sqrt(smoothed * (1 - smoothed) / n))

    return error


def _loss(task: Task) -> Loss:
    assert task.loss is not None, "a task without a loss has no signal of it"
    return task.loss


def _known(rows: Numbers | None) -> Numbers:
    assert rows is not None, "a task that promises nothing has no signal of it"
    return rows
