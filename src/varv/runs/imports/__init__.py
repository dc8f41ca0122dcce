"""Runs that were recorded elsewhere: taken over with their ids, times and histories, once, however often they
are brought.

`model` holds what a source says of them and the event that they were taken over, `rules` whether they are
what is here under the same id, `tables` what is noted of each, `points` how points lie, `service` what can be
done, `traces` the same of traces. Sources and the order in which they are read are not here (`home.moving`,
`adapters.moving`).
"""

from varv.runs.imports.model import SourceExperiment, SourceModel, SourceRun, SourceTrace
from varv.runs.imports.service import Imports, Taken
from varv.runs.imports.tables import ImportTables

__all__ = ["ImportTables", "Imports", "SourceExperiment", "SourceModel", "SourceRun", "SourceTrace", "Taken"]
