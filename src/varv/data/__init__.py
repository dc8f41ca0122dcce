"""Datasets: append-only logs of rows whose every column has a time at which it became known.

A dataset is declared once (`Dataset`), kept as immutable versions (`Datasets`), and read as it was at any
version and as it was known at any instant. Each arriving row is checked by a contract inferred from a
reference period; a bad one is put in quarantine (`Quarantine`), and a batch that is not to be trusted whole,
until a person releases, replaces or drops it.
"""

from varv.data.appending import Appended, Prepared
from varv.data.dataset import Dataset
from varv.data.profiling.model import AnomalyCleared, AnomalyRaised
from varv.data.quarantine import Correction, Quarantine, Selection
from varv.data.service import Datasets
from varv.data.sources import Csv, Dbt, Debezium, Frame, Http, JsonLines, Landing, Objects, Parquet, Rest, Sql
from varv.data.versions import DatasetVersion
from varv.data.views import DatasetsView

__all__ = [
    "AnomalyCleared",
    "AnomalyRaised",
    "Appended",
    "Correction",
    "Csv",
    "Dataset",
    "DatasetVersion",
    "Datasets",
    "DatasetsView",
    "Dbt",
    "Debezium",
    "Frame",
    "Http",
    "JsonLines",
    "Landing",
    "Objects",
    "Parquet",
    "Prepared",
    "Quarantine",
    "Rest",
    "Selection",
    "Sql",
]
