"""Skew: the values that features were served with, held against the same values computed anew, each as of the
instant of its request.
"""

from varv.features.skew.classes import CLASSES, SKEW, FeatureSkew, added, counted
from varv.features.skew.comparing import Comparison, Served, compare
from varv.features.skew.sampling import sample_share, sampled

__all__ = [
    "CLASSES",
    "SKEW",
    "Comparison",
    "FeatureSkew",
    "Served",
    "added",
    "compare",
    "counted",
    "sample_share",
    "sampled",
]
