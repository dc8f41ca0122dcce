"""A fleet whose restoring exchanges the workers: so the owner brings a changed declaration into force."""

from __future__ import annotations

from collections.abc import Mapping

from varv.app.server.fleet import Workers
from varv.app.server.wire import Access
from varv.data import Dataset
from varv.data.intake import Batch
from varv.kernel.codec import Digest
from varv.kernel.ids import ModelName, Version
from varv.serving.routing import RoutingTable


class RenewedWorkers:
    """The workers of a home, of which `restore` lets new ones take over: they answer by what is declared now.

    Parameters
    ----------
    workers
        Of the home.
    declarations, access
        What new ones have to find declared, and who may ask them.
    """

    def __init__(self, workers: Workers, declarations: Mapping[ModelName, Digest], access: Access) -> None:
        self._workers = workers
        self._declarations = declarations
        self._access = access

    def warm(self, model: ModelName, version: Version, package: Digest) -> None:
        """Bring a version into memory in every worker."""
        self._workers.warm(model, version, package)

    def apply(self, model: ModelName, table: RoutingTable) -> int:
        """Put a table in force in every worker and return its epoch."""
        return self._workers.apply(model, table)

    def unload(self, model: ModelName, version: Version) -> None:
        """Let a version go in every worker."""
        self._workers.unload(model, version)

    def reserve(self, model: ModelName, version: Version | None) -> None:
        """Keep the champion before of a model from now on."""
        self._workers.reserve(model, version)

    def keep_no_reserve(self, model: ModelName) -> None:
        """Keep the champion before of a model no more."""
        self._workers.keep_no_reserve(model)

    def restore(self) -> None:
        """Let new workers take over."""
        self._workers.renew(self._declarations, self._access)

    def rows_known(self, batch: Batch) -> None:
        """Tell that rows became known."""
        self._workers.rows_known(batch)

    def rows_rewritten(self, dataset: Dataset) -> None:
        """Let every worker read what the ledger holds anew."""
        self._workers.rows_rewritten(dataset)
