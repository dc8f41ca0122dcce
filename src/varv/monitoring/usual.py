"""Which losses are usual where a feature has a value: what harm of drift is measured against, where
predictions do not promise a loss.

Made with the reference, from rows that the model was not fitted on. Pure functions; how bins are cut is
decided in `monitoring.reference`.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from varv.stats.intervals import Numbers

PRIOR_ROWS = 20
"""The loss of a bin counts as so many rows of the mean of all: a bin of few rows says little."""


class UsualLosses(msgspec.Struct, frozen=True):
    """The mean loss of each bin of a feature in the reference, and its standard error."""

    mean: tuple[float, ...]
    error: tuple[float, ...]

    def at(self, code: npt.NDArray[np.int64]) -> tuple[Numbers, float]:
        """Return the usual loss of rows in these bins, shape (n,), and the standard error of its mean.

        Notes
        -----
        Errors of bins are added, not their squares: the bins of one reference share its days.
        """
        return np.array(self.mean)[code], float(np.mean(np.array(self.error)[code]))


def usual_losses(
    losses: Numbers, code: npt.NDArray[np.int64], n_bins: int, days: npt.NDArray[np.int64]
) -> UsualLosses:
    """Return what losses are usual in each bin.

    Parameters
    ----------
    losses, code, days
        Of each row its loss, its bin and its day, shape (n,), n at least 1.
    n_bins
        How many bins there are; one that no row lies in has the mean of all.

    Notes
    -----
    A mean of bins is drawn towards the mean of all rows by `PRIOR_ROWS`. Its error has two parts: that of the
    bin's own rows, with days as clusters, and what bins differ by, as far as the bin relies on the others.
    """
    n = np.bincount(code, minlength=n_bins).astype(np.float64)
    total = np.bincount(code, weights=losses, minlength=n_bins)
    overall, row_variance = float(losses.mean()), float(losses.var())
    own = np.divide(total, n, out=np.full(n_bins, overall), where=n > 0)
    known = n >= PRIOR_ROWS
    between = (
        float(np.average((own[known] - overall) ** 2, weights=n[known])) if known.any() else row_variance
    )
    variance = np.maximum(_clustered(losses - own[code], code, n_bins, days), row_variance * n)
    mean = (total + PRIOR_ROWS * overall) / (n + PRIOR_ROWS)
    error = np.sqrt(variance + PRIOR_ROWS**2 * between) / (n + PRIOR_ROWS)
    return UsualLosses(tuple(mean.tolist()), tuple(error.tolist()))


def _clustered(
    residual: Numbers, code: npt.NDArray[np.int64], n_bins: int, days: npt.NDArray[np.int64]
) -> Numbers:
    """Return the variance of each bin's sum of losses, days being the unit of observation."""
    position = np.unique(days, return_inverse=True)[1]
    n_days = int(position.max()) + 1
    sums = np.bincount(position * n_bins + code, weights=residual, minlength=n_days * n_bins)
    return np.sum(sums.reshape(n_days, n_bins) ** 2, axis=0) * n_days / max(n_days - 1, 1)
