"""Tiers: files of old rows go from the columns, where they are warm, into an archive, and come back when
somebody needs them.

What a request needs at once is hot: in memory, and in the online store, each view as far back as its window
or ttl says. `data.cold` knows where an archive is; which file is where is in the ledger.
"""

from varv.data.tiers.archiving import Moved, Tiers
from varv.data.tiers.due import Reach, Reached

__all__ = ["Moved", "Reach", "Reached", "Tiers"]
