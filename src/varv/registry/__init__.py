"""The registry: numbered versions of each model that never change, and the aliases that move between them.

`model` holds the events of loops and those of what is logged from outside, `views` the read model
folded from them, `lineage` walks from a version back to the code and the rows it was made from. A `package`
is what a version is made of: a model and its `signature`, a blob named by its digest; `ports` says what a
runtime must do to run it. `tables` are the rows of it all in the recorder's file, `service` says what can be
done from outside, `imports` how models from elsewhere are taken over, `reading` what can be asked, `rules`
what names may be.
"""

from varv.registry.lineage import Lineage, lineage
from varv.registry.model import AliasMoved, DatasetUse, Imported, Judged, Trial, VersionRegistered
from varv.registry.package import Package, open_package, packed
from varv.registry.ports import LoadedModel, Runtime, Runtimes, Surroundings
from varv.registry.service import LoopNames, Models, Origin
from varv.registry.signature import Column, Rows, Signature, n_rows, signature_of
from varv.registry.tables import RegistryTables
from varv.registry.views import ModelRecord, RegistryView, VersionRecord, number_after

__all__ = [
    "AliasMoved",
    "Column",
    "DatasetUse",
    "Imported",
    "Judged",
    "Lineage",
    "LoadedModel",
    "LoopNames",
    "ModelRecord",
    "Models",
    "Origin",
    "Package",
    "RegistryTables",
    "RegistryView",
    "Rows",
    "Runtime",
    "Runtimes",
    "Signature",
    "Surroundings",
    "Trial",
    "VersionRecord",
    "VersionRegistered",
    "lineage",
    "n_rows",
    "number_after",
    "open_package",
    "packed",
    "signature_of",
]
