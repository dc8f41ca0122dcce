"""Predictions of years with their outcomes, in little memory: a stretch at a time, with the hashes of keys in
place of keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.kernel.clock import DAY, Duration, Instant
from varv.serving.predictions import Predictions
from varv.serving.truths import Hashes, Ints, hashes_of

STRETCH = Duration(28 * DAY)
"""So much is read at once."""


def long_matured(
    predictions: Predictions, since: Instant, until: Instant, *, known_by: Instant, columns: Sequence[str]
) -> pl.DataFrame:
    """Return what `Predictions.matured` does, without ``known_at``, and with what `truths.hashes_of` says of
    keys in place of ``key``, which tells them apart in this process.
    """
    known = _known(predictions, since, known_by)
    dtype = predictions.task.outcome_dtype
    parts: list[pl.DataFrame] = []
    for start in range(since, max(until, since + 1), STRETCH):
        rows = predictions.asked(Instant(start), Instant(min(start + STRETCH, until)), columns)
        hashes, asked_at = hashes_of(rows["key"]), rows["requested_at"].to_physical().to_numpy()
        outcome = pl.Series("outcome", known.of_keys(hashes, asked_at)).cast(dtype)
        parts.append(predictions.settled(rows.with_columns(pl.Series("key", hashes), outcome), known_by))
    return pl.concat(parts)


class _Known(NamedTuple):
    """Outcomes by the hashes of their keys, in their order."""

    hashes: Hashes
    outcomes: npt.NDArray[np.float64]
    times: Ints

    def of_keys(self, hashes: Hashes, asked_at: Ints) -> pl.Series:
        """Return the outcome of each key, null where none is known, or only from before its request."""
        if not len(self.hashes):
            return pl.Series([None] * len(hashes), dtype=pl.Float64)
        places = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        known = (self.hashes[places] == hashes) & (self.times[places] >= asked_at)
        return pl.Series(np.where(known, self.outcomes[places], np.nan), nan_to_null=True)


def _known(predictions: Predictions, since: Instant, known_by: Instant) -> _Known:
    """Return what became known in [since, known_by]; the first outcome of a key stands."""
    hashes: list[Hashes] = [np.empty(0, np.uint64)]
    outcomes: list[npt.NDArray[np.float64]] = [np.empty(0)]
    times: list[Ints] = [np.empty(0, np.int64)]
    for start in range(since, known_by + 1, STRETCH):
        found = predictions.outcomes(Instant(start), Instant(min(start + STRETCH - 1, known_by)))
        hashes.append(hashes_of(found["key"]))
        outcomes.append(found["outcome"].cast(pl.Float64).to_numpy())
        times.append(found["known_at"].cast(pl.Int64).to_numpy())
    every = np.concatenate(hashes)
    # They came by time, which a stable order keeps among those of one key.
    order = np.argsort(every, kind="stable")
    return _Known(every[order], np.concatenate(outcomes)[order], np.concatenate(times)[order])
