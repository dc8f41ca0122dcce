"""Many requests at once: training sets, with what was known at each request, from histories that need not fit
into memory.
"""

from varv.features.bulk.feeder import BulkFeeder, Requests
from varv.features.bulk.history_rows import Mode
from varv.features.bulk.tables import SourceTables, StoredTables, Tables

__all__ = ["BulkFeeder", "Mode", "Requests", "SourceTables", "StoredTables", "Tables"]
