"""The versions of datasets: what can happen to them, and what the ledger and read models know of each."""

from varv.data.versions.listing import Came, DatasetVersion, batch_of, stream_of, table_of, versions_of

__all__ = ["Came", "DatasetVersion", "batch_of", "stream_of", "table_of", "versions_of"]
