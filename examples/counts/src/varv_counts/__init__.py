"""Models of counts for varv; see the README of this package."""

from varv_counts.estimator import LogLinear
from varv_counts.monitor import dispersion
from varv_counts.task import Counts


def counts(*, most: int) -> Counts:
    """Declare that the outcome is a count, and a prediction its mean.

    Parameters
    ----------
    most
        The largest count that matters; what lies beyond counts as it wherever losses are compared.

    Raises
    ------
    InvalidDeclaration
        If it is no whole number above 0.
    """
    return Counts(most=most)


__all__ = ["Counts", "LogLinear", "counts", "dispersion"]
