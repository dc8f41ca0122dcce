"""An estimator of one's own, in a small file, since a package keeps the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl


class OddsOfHours:
    """An estimator of one's own: the share of late flights by the hour of their departure."""

    def fit(self, frame: pl.DataFrame, y: np.ndarray) -> OddsOfHours:
        """Count late flights by hour."""
        hours = frame["sched_hour"].to_numpy().astype(int)
        late = np.bincount(hours, weights=y, minlength=24) + 1.0
        self.shares = late / (np.bincount(hours, minlength=24) + 4.0)
        return self

    def predict_proba(self, frame: Mapping[str, Any]) -> np.ndarray:
        """Return the share of the hour of each row."""
        late = self.shares[np.asarray(frame["sched_hour"]).astype(int)]
        return np.column_stack([1 - late, late])
