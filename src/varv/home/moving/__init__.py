"""Moving in: what was tracked elsewhere becomes runs, logged models and registered models of this home.

`ports` says what a source has to tell, `importing` in which order it is asked, `taking` what is brought and
who writes it, `files` how artifacts come, `places` where they are from then on, `checking` compares source
and home at the end, `report` is what came of it all. Sources are in `adapters.moving`; what is written, and
what is refused, is decided in `runs.imports` and `registry.imports`.
"""

from varv.home.moving.importing import Importing
from varv.home.moving.ports import Owner, Source, SourceFile
from varv.home.moving.report import MoveReport
from varv.home.moving.taking import LocalTaker, Taker

__all__ = ["Importing", "LocalTaker", "MoveReport", "Owner", "Source", "SourceFile", "Taker"]
