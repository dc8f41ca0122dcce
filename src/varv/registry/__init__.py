"""The registry: numbered versions of each model that never change, and the aliases that move between them.

`model` holds the events, `views` the read model folded from them, `lineage` walks from a version back to the
code and the rows it was made from. A `package` is what a version is made of: a model and its `signature`, a
blob named by its digest.
"""

from varv.registry.environment import Environment, environment
from varv.registry.lineage import Lineage, lineage
from varv.registry.model import AliasMoved, DatasetUse, Judged, VersionRegistered
from varv.registry.package import Package, open_package
from varv.registry.signature import Column, Signature, signature_of
from varv.registry.views import ModelRecord, RegistryView, VersionRecord

__all__ = [
    "AliasMoved",
    "Column",
    "DatasetUse",
    "Environment",
    "Judged",
    "Lineage",
    "ModelRecord",
    "Package",
    "RegistryView",
    "Signature",
    "VersionRecord",
    "VersionRegistered",
    "environment",
    "lineage",
    "open_package",
    "signature_of",
]
