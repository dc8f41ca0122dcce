"""The registry: numbered versions of each model that never change, and the aliases that move between them.

`model` holds the events, `views` the read model folded from them, `lineage` walks from a version back to the
code and the rows it was made from. Packages themselves are blobs, named by their digest.
"""

from varv.registry.lineage import Lineage, lineage
from varv.registry.model import AliasMoved, DatasetUse, Judged, VersionRegistered
from varv.registry.views import ModelRecord, RegistryView, VersionRecord

__all__ = [
    "AliasMoved",
    "DatasetUse",
    "Judged",
    "Lineage",
    "ModelRecord",
    "RegistryView",
    "VersionRecord",
    "VersionRegistered",
    "lineage",
]
