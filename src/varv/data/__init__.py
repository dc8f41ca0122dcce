"""Datasets: append-only logs of rows whose every column has a time at which it became known.

A dataset is declared once (`Dataset`), kept as immutable versions (`Datasets`), and read as it was at any
version and as it was known at any instant. Each arriving batch is checked by a contract inferred from a
reference period; a bad batch is put in quarantine whole, with a report, until a person releases it.
"""

from varv.data.model import Dataset
from varv.data.service import Appended, Datasets, Prepared
from varv.data.sources import Csv, Frame, Parquet
from varv.data.views import DatasetsView, DatasetVersion

__all__ = [
    "Appended",
    "Csv",
    "Dataset",
    "DatasetVersion",
    "Datasets",
    "DatasetsView",
    "Frame",
    "Parquet",
    "Prepared",
]
