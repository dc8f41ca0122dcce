"""Lineage: from a version back to what it was made of."""

from __future__ import annotations

from typing import Any

import msgspec

from varv.kernel.clock import Instant
from varv.kernel.codec import Digest
from varv.registry.model import DatasetUse, Judged
from varv.registry.views import RegistryView


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """Where a version came from: code, environment, parameters, and rows of dataset versions.

    A training row is one whose request lies in [``trained_from``, ``fitted_until``) and whose outcome was
    known by ``cutoff``; with the dataset versions that names the source rows exactly. ``judged`` are the
    fits that the gates looked at; none of them is the version itself if it was refitted.
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
    )
