"""Lineage: from a version back to what it was made of."""

from __future__ import annotations

from typing import Any

import msgspec

from varv.kernel.clock import Instant, iso
from varv.kernel.codec import Digest
from varv.kernel.wording import count
from varv.registry.model import DatasetUse, Imported, Judged
from varv.registry.views import RegistryView


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """Where a version came from: code, environment, parameters, and rows of dataset versions.

    A training row is one whose request lies in [``trained_from``, ``fitted_until``) and whose outcome was
    known by ``cutoff``; with the dataset versions that names the source rows exactly. ``judged`` are the
    fits that the gates looked at; none of them is the version itself if it was refitted. A version that is
    ``imported`` was fitted elsewhere, on rows that nobody here knows.
    """

    model: str
    version: int
    registered_in: int
    package: Digest
    code: Digest
    environment: Digest
    params: dict[str, Any]
    seed: int
    trained_from: Instant
    fitted_until: Instant
    cutoff: Instant
    n_rows: int
    datasets: tuple[DatasetUse, ...]
    judged: tuple[Judged, ...]
    is_refit: bool
    strategy: str
    parent: int | None
    n_trials: int
    imported: Imported | None

    def origin(self) -> str:
        """Return in a few words how it was made."""
        if self.imported is not None:
            return f"trained elsewhere on requests before {iso(self.fitted_until)}: {self.imported.line()}"
        after = "" if self.parent is None else f" from v{self.parent} on"
        tried = f", the best of {count(self.n_trials)} trials" if self.n_trials else ""
        return f"{count(self.n_rows)} rows{after}{tried}, seed {self.seed}"


def lineage(view: RegistryView, model: str, version: int) -> Lineage:
    """Return the lineage of one version.

    Raises
    ------
    NotFound
        If the version is not registered.
    """
    record = view.version(model, version)
    made = record.registered
    return Lineage(
        model=model,
        version=version,
        registered_in=record.seq,
        package=made.package,
        code=made.code,
        environment=made.environment,
        params=made.params,
        seed=made.seed,
        trained_from=made.trained_from,
        fitted_until=made.data_end,
        cutoff=made.cutoff,
        n_rows=made.n_rows,
        datasets=made.datasets,
        judged=made.judged_fits,
        is_refit=made.is_refit,
        strategy=made.strategy,
        parent=made.parent,
        n_trials=len(made.trials),
        imported=made.imported,
    )
