"""Many requests at once: training sets, with what was known at each request, from histories that need not fit
into memory.
"""

from varv.features.bulk.feeder import BulkFeeder, Requests
from varv.features.bulk.history_rows import Mode
from varv.features.bulk.model import Recipe, TrainingSetMade
from varv.features.bulk.recorded import TrainingSets, columns_read, recipe_of
from varv.features.bulk.tables import SourceTables, StoredTables, Tables
from varv.features.bulk.training_set import TrainingSetMaker, features_for, requests_of

__all__ = [
    "BulkFeeder",
    "Mode",
    "Recipe",
    "Requests",
    "SourceTables",
    "StoredTables",
    "Tables",
    "TrainingSetMade",
    "TrainingSetMaker",
    "TrainingSets",
    "columns_read",
    "features_for",
    "recipe_of",
    "requests_of",
]
