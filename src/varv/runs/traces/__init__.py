"""Traces: what an application did for each request, in spans, and what was judged of it.

`model` holds the nouns and events, `rules` the limits, `tables` the rows, `spans` how a span is stored and
what it says of its trace, `service` and `assessing` what can be done, `reading` and `search` what can be
asked.
"""

from varv.runs.traces.model import TRACES_FOLDER
from varv.runs.traces.service import Traces
from varv.runs.traces.tables import TraceTables

__all__ = ["TRACES_FOLDER", "TraceTables", "Traces"]
