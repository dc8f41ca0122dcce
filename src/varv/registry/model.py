"""Nouns of the registry: what is known of a version when it is registered, and how aliases move."""

from __future__ import annotations

from typing import Any

import msgspec

from varv.kernel.clock import Instant
from varv.kernel.codec import Digest, Event, event


class DatasetUse(msgspec.Struct, frozen=True):
    """The version of a dataset that a model was trained from, and the digest of all batches up to it."""

    dataset: str
    version: int
    digest: Digest


@event("registry.version_registered")
class VersionRegistered(Event, frozen=True, kw_only=True):
    """A version exists from now on and never changes.

    It was fitted on requests from ``trained_from`` up to ``held_out_from`` and judged on those after that;
    ``cutoff`` is the instant up to which outcomes were known; ``metrics`` are those on the held-out last
    stretch. ``work`` counts rows times boosting rounds (or rows, where there are none): a measure of compute
    that is the same on every machine.
    """

    model: str
    version: int
    package: Digest
    reference: Digest
    signature: tuple[str, ...]
    estimator: str
    trained_from: Instant
    held_out_from: Instant
    cutoff: Instant
    n_rows: int
    n_validation: int
    metrics: dict[str, float | None]
    params: dict[str, Any]
    seed: int
    code: Digest
    environment: Digest
    datasets: tuple[DatasetUse, ...]
    pipeline_key: Digest
    work: int
    planted: str = ""


@event("registry.alias_moved")
class AliasMoved(Event, frozen=True, kw_only=True):
    """An alias such as ``champion`` names another version, or none, from now on."""

    model: str
    alias: str
    version: int | None
    previous: int | None
