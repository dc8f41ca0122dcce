"""The port of serving: what those that answer requests must do."""

from __future__ import annotations

from typing import Protocol

from varv.data import Dataset
from varv.data.intake import Batch
from varv.kernel.codec import Digest
from varv.kernel.ids import ModelName, Version
from varv.serving.routing import RoutingTable


class Fleet(Protocol):
    """Whatever answers requests of a home's models: data planes in this process, or worker processes."""

    def warm(self, model: ModelName, version: Version, package: Digest) -> None:
        """Bring a version into memory wherever requests are answered; return when it has answered its probe
        rows.
        """
        ...

    def apply(self, model: ModelName, table: RoutingTable) -> int:
        """Put a table in force everywhere and return the epoch that all have confirmed."""
        ...

    def unload(self, model: ModelName, version: Version) -> None:
        """Let a version go once its last request has left."""
        ...

    def reserve(self, model: ModelName, version: Version | None) -> None:
        """Keep the champion before of a model from now on, to answer where its champion cannot: each time
        that another version leads, the one before stays in memory though it is unloaded.

        Parameters
        ----------
        version
            That was champion before, and is warm; None if none was.
        """
        ...

    def keep_no_reserve(self, model: ModelName) -> None:
        """Keep the champion before of a model no more; let it go if it is kept for nothing else."""
        ...

    def restore(self) -> None:
        """Let features be brought up to what the ledger holds; from then on `rows_known` keeps them there."""
        ...

    def rows_known(self, batch: Batch) -> None:
        """Send rows that became known, and are committed; the same ones again change nothing."""
        ...

    def rows_rewritten(self, dataset: Dataset) -> None:
        """Let everybody who answers look features up in the rows that a dataset has now, some of which were
        replaced; return when all do. Until then each goes by the rows before.
        """
        ...
