"""The archive: where files of rows lie that nobody looks at from day to day, and how they are read there.

`data.tiers` decides what is archived and restored; which file is where is in the ledger.
"""

from varv.data.cold.files import ColdFiles, require_warm
from varv.data.cold.places import require_place

__all__ = ["ColdFiles", "require_place", "require_warm"]
