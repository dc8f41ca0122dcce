"""Runs: what was tried, with its parameters, its metrics, its inputs and its outputs.

`model` holds the nouns and events, `rules` what names and values may be, `tables` the rows that are folded
from events, `points` the log of metrics that is sealed into the ledger, `service` what can be done, `reading`
what can be asked; `book` is how varv's own pipelines and studies write. A training of a loop and a run of a
tracking client are the same noun.
"""

from varv.runs.artifacts import ArtifactIndex
from varv.runs.book import HomeBook, RunBook
from varv.runs.experiments import ensure_default
from varv.runs.search import RunSearch
from varv.runs.series import Series
from varv.runs.service import Point, Tracking
from varv.runs.tables import RunTables

__all__ = [
    "ArtifactIndex",
    "HomeBook",
    "Point",
    "RunBook",
    "RunSearch",
    "RunTables",
    "Series",
    "Tracking",
    "ensure_default",
]
