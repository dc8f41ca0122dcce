"""Moving in: what was tracked elsewhere becomes runs, logged models and registered models of this home.

`ports` says what a source has to tell, `importing` in which order it is asked and what is done with it,
`files` how artifacts come, `checking` compares source and home at the end, `report` is what came of it all.
Sources are in `adapters.moving`; what is written, and what is refused, is decided in `runs.imports` and
`registry.imports`.
"""

from varv.home.moving.importing import Importing
from varv.home.moving.ports import Owner, Source, SourceFile
from varv.home.moving.report import MoveReport

__all__ = ["Importing", "MoveReport", "Owner", "Source", "SourceFile"]
