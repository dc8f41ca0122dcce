"""Which requests are compared: a sample by the hash of the request's key, the same wherever it is drawn."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import numpy.typing as npt
import polars as pl

SHARE = 0.01
"""Of the requests."""
FEWEST_A_DAY = 1000
"""Requests a day that are compared at least, if there are so many."""
_WHOLE = 1 << 64


def sample_share(n_day: int) -> float:
    """Return the share of requests to compare of a model that gets so many a day.

    Examples
    --------
    >>> sample_share(500), sample_share(10_000), sample_share(10_000_000)
    (1.0, 0.1, 0.01)
    """
    return max(SHARE, min(1.0, FEWEST_A_DAY / max(n_day, 1)))


def sampled(keys: pl.Series, share: float) -> npt.NDArray[np.bool_]:
    """Return which keys are in the sample; those of a smaller share are among those of a larger one."""
    limit = math.ceil(share * _WHOLE)
    hashes = (hashlib.blake2b(key.encode(), digest_size=8).digest() for key in keys.to_list())
    return np.fromiter((int.from_bytes(one) < limit for one in hashes), np.bool_, len(keys))
