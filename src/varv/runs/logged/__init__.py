"""Logged models: what a run has made that can predict, with parameters, tags and metrics of its own.

`model` holds the events, `tables` the rows folded from them, `service` what can be done, `reading` what can
be asked. A version of a registered model may come from one; the registry itself is another room.
"""

from varv.runs.logged.service import LoggedModels
from varv.runs.logged.tables import LoggedTables

__all__ = ["LoggedModels", "LoggedTables"]
