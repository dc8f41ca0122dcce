"""Rows that are weighed by the probabilities with which their outcomes came to be seen, and how many rows of
equal weight they are worth.
"""

from __future__ import annotations

import polars as pl

from varv.labels.counting import Counted, inverse_propensity
from varv.loop.fits import Rows, served_span
from varv.stats.sampling import effective_sample_size
from varv.training import InversePropensity, Train
from varv.training.weights import PROPENSITY

ARMS = ("arm", "share")
"""The columns of predictions that say with which probability a version answered."""


def is_by_chance(train: Train) -> bool:
    """Return whether a training weighs rows by probabilities on record."""
    return isinstance(train.weights, InversePropensity)


def with_counts(rows: pl.DataFrame, known: Counted) -> pl.DataFrame:
    """Return rows with what each counts for in place of the columns that say how it was answered."""
    return rows.drop(ARMS).with_columns(inverse_propensity(rows, known).alias(PROPENSITY))


def effective_n(rows: Rows, train: Train) -> float | None:
    """Return how many rows of equal weight would say as much as those of the fit that is served; None where
    none is weighed by probabilities.
    """
    if not isinstance(train.weights, InversePropensity) or PROPENSITY not in rows.frame.columns:
        return None
    served = served_span(rows, train)
    counts = rows.between(served.since, served.until, columns=(PROPENSITY,))[PROPENSITY].to_numpy()
    return effective_sample_size(train.weights.stabilised(counts))


def n_worth(rows: Rows, train: Train) -> float:
    """Return how many rows the fit that is served is given, or is worth where that is less."""
    served, worth = served_span(rows, train), effective_n(rows, train)
    n = rows.n_between(served.since, served.until)
    return n if worth is None else min(n, worth)
