"""How good the matured predictions of a window are, every number with its interval.

A pure function of rows. Which of the numbers is watched, and what follows, is decided in `monitoring.rules`.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from varv.kernel.clock import HOUR
from varv.kernel.codec import finite
from varv.kernel.errors import InvalidInput
from varv.kernel.ids import ModelName, Version
from varv.monitoring.model import PerformanceMeasured, Window
from varv.monitoring.windows import require
from varv.stats.calibration import calibration_error, excess_losses, log_losses
from varv.stats.intervals import Estimate, clustered_mean
from varv.stats.ranking import auc_interval


def measure_performance(
    frame: pl.DataFrame, window: Window, *, model: ModelName, version: Version
) -> PerformanceMeasured:
    """Return the quality of one version over the rows of a window.

    Parameters
    ----------
    frame
        What `windows.cut` returned: ``requested_at``, ``score`` (null: no answer), ``outcome`` (0, 1, or
        null: not come in time).
    window
        What the rows were cut to.

    Raises
    ------
    InvalidInput
        If a column is missing, or a score or outcome is not what it should be.
    """
    require(frame, "requested_at", "score", "outcome")
    labelled = frame.drop_nulls(["score", "outcome"])
    missing = frame["outcome"].null_count() / frame.height if frame.height else None
    bare = PerformanceMeasured(
        model=model,
        version=version,
        window=window,
        n_requests=frame.height,
        n=labelled.height,
        missing_share=missing,
    )
    if labelled.is_empty():
        return bare
    y = labelled["outcome"].cast(pl.Float64).to_numpy()
    p = labelled["score"].cast(pl.Float64).to_numpy()
    if not np.all((y == 0) | (y == 1)) or not np.all((p >= 0) & (p <= 1)):
        hint = "outcomes are 0, 1 or null; scores are probabilities or null"
        raise InvalidInput(
            "predictions", model, "hold an outcome or score out of range", version=version, hint=hint
        )
    hours = np.asarray(labelled["requested_at"].dt.epoch("us") // HOUR)
    error = calibration_error(y, p)
    fields = {
        **_limits("log_loss", clustered_mean(log_losses(y, p), hours)),
        **_limits("excess_loss", clustered_mean(excess_losses(y, p), hours)),
        **_limits("auc", auc_interval(y, p)),
        "ece": error.value,
        "ece_by_chance": error.by_chance,
        "base_rate": float(y.mean()),
        "mean_score": float(p.mean()),
    }
    return PerformanceMeasured(
        model=model,
        version=version,
        window=window,
        n_requests=frame.height,
        n=labelled.height,
        missing_share=missing,
        **fields,
    )


def _limits(name: str, estimate: Estimate) -> dict[str, float | None]:
    return {
        name: finite(estimate.value),
        f"{name}_low": finite(estimate.low),
        f"{name}_high": finite(estimate.high),
    }
