"""Features: what a model may know at the moment of a request, defined once for training and for serving.

A feature is a column of the request, an expression over such columns (`derived`), the last known row of
another table (`FeatureView` with columns), or a statistic of what had become known in a time window
(`FeatureView` with `windows`). A definition that would leak (use a value before it is known) is refused when
it is declared.
"""

from varv.features.bulk import TrainingSetMade
from varv.features.definitions import FeatureDefinition, definitions_of, digest_of_view, rebuilt
from varv.features.engine import FeatureEngine
from varv.features.feature_view import FeatureView
from varv.features.kinds import exported
from varv.features.model import Derived, FeatureSet, derived
from varv.features.slices import Slice, slice
from varv.features.statistics import share
from varv.features.store import FeatureStore
from varv.features.window_kinds import Windows, windows

__all__ = [
    "Derived",
    "FeatureDefinition",
    "FeatureEngine",
    "FeatureSet",
    "FeatureStore",
    "FeatureView",
    "Slice",
    "TrainingSetMade",
    "Windows",
    "definitions_of",
    "derived",
    "digest_of_view",
    "exported",
    "rebuilt",
    "share",
    "slice",
    "windows",
]
