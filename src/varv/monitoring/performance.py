"""How good the matured predictions of a window are, every number with its interval.

A pure function of rows. Which of the numbers is watched, and what follows, is decided in `monitoring.rules`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from varv.kernel.clock import HOUR
from varv.kernel.codec import finite
from varv.kernel.errors import InvalidInput
from varv.kernel.ids import ModelName, Version
from varv.monitoring.model import CHAMPION, PerformanceMeasured, ScoreCounts, Window
from varv.monitoring.windows import require
from varv.stats.calibration import calibration_error, excess_error, excess_losses, log_losses
from varv.stats.intervals import Estimate, Numbers, clustered_mean
from varv.stats.ranking import auc_error, auc_interval, score_cells

FEWEST_OF_A_CLASS = 5
"""Fewer outcomes of one kind, and a day's AUC is too lumpy to be watched."""


def measure_performance(
    frame: pl.DataFrame, window: Window, *, model: ModelName, version: Version, role: str = CHAMPION
) -> PerformanceMeasured:
    """Return the quality of one version over the rows of a window.

    Parameters
    ----------
    frame
        What `windows.cut` returned: ``requested_at``, ``score`` (null: no answer), ``outcome`` (0, 1, or
        null: not come in time).
    window
        What the rows were cut to.
    role
        In which role the version answered them.

    Raises
    ------
    InvalidInput
        If a column is missing, or a score or outcome is not what it should be.
    """
    require(frame, "requested_at", "score", "outcome")
    labelled = frame.drop_nulls(["score", "outcome"])
    missing = frame["outcome"].null_count() / frame.height if frame.height else None
    return PerformanceMeasured(
        model=model,
        version=version,
        window=window,
        n_requests=frame.height,
        n=labelled.height,
        missing_share=missing,
        role=role,
        **({} if labelled.is_empty() else _numbers(labelled, model, version)),
    )


def _numbers(labelled: pl.DataFrame, model: ModelName, version: Version) -> dict[str, Any]:
    y = labelled["outcome"].cast(pl.Float64).to_numpy()
    p = labelled["score"].cast(pl.Float64).to_numpy()
    if not np.all((y == 0) | (y == 1)) or not np.all((p >= 0) & (p <= 1)):
        hint = "outcomes are 0, 1 or null; scores are probabilities or null"
        raise InvalidInput(
            "predictions", model, "hold an outcome or score out of range", version=version, hint=hint
        )
    hours = np.asarray(labelled["requested_at"].dt.epoch("us") // HOUR)
    error = calibration_error(y, p)
    enough = min(y.sum(), y.size - y.sum()) >= FEWEST_OF_A_CLASS
    return {
        **_limits("log_loss", clustered_mean(log_losses(y, p), hours)),
        **_limits("excess_loss", clustered_mean(excess_losses(y, p), hours)),
        **_limits("bias", clustered_mean(y - p, hours)),
        **_limits("auc", auc_interval(y, p, hours)),
        "excess_loss_error": excess_error(p),
        "bias_error": float(np.sqrt(np.sum(p * (1 - p)))) / y.size,
        "auc_error": finite(auc_error(y, p)) if enough else None,
        "ece": error.value,
        "ece_by_chance": error.by_chance,
        "base_rate": float(y.mean()),
        "mean_score": float(p.mean()),
        "scored": _counts(y, p),
    }


def _counts(y: Numbers, p: Numbers) -> ScoreCounts:
    cells = score_cells(p)
    first = int(cells.min())
    n_cells = int(cells.max()) - first + 1
    of_class = [np.bincount(cells[y == kind] - first, minlength=n_cells).tolist() for kind in (1, 0)]
    return ScoreCounts(first, tuple(of_class[0]), tuple(of_class[1]))


def _limits(name: str, estimate: Estimate) -> dict[str, float | None]:
    return {
        name: finite(estimate.value),
        f"{name}_low": finite(estimate.low),
        f"{name}_high": finite(estimate.high),
    }
