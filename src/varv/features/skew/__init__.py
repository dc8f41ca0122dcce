"""Skew: what features were served with, held against what they are when computed anew as of the same instant."""

from varv.features.skew.classes import CLASSES, FeatureSkew, counted
from varv.features.skew.comparing import Comparison, Served, compare
from varv.features.skew.sampling import sample_share, sampled

__all__ = [
    "CLASSES",
    "Comparison",
    "FeatureSkew",
    "Served",
    "compare",
    "counted",
    "sample_share",
    "sampled",
]
