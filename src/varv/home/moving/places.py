"""Where artifacts are from now on: here, or, in a store of objects, where they were."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from varv.registry.imports import SourceRegistered, SourceVersion
from varv.runs.experiments import ARTIFACTS
from varv.runs.imports import SourceExperiment
from varv.runs.model import DEFAULT

LINKED = frozenset(
    {"s3", "gs", "wasbs", "wasb", "abfs", "abfss", "hdfs", "viewfs", "oss", "r2", "b2", "sftp"}
)
"""Schemes of places that clients read by themselves."""


class Places:
    """The places of a source's experiments, there and here.

    Parameters
    ----------
    copies
        Whether artifacts in a store of objects are brought as well.
    """

    def __init__(self, *, copies: bool) -> None:
        self._copies = copies
        self._moved: dict[str, str] = {}
        self._linked: set[str] = set()

    def of(self, one: SourceExperiment) -> str:
        """Return where the artifacts of an experiment are from now on."""
        there = one.artifacts.rstrip("/")
        linked = urlsplit(there).scheme in LINKED and not self._copies and one.id != DEFAULT
        if linked:
            self._linked.add(one.id)
        here = there if linked else f"{ARTIFACTS}/{one.id}"
        if there:
            self._moved[_plain(there)] = here
        return here

    def is_linked(self, experiment: str) -> bool:
        """Whether the artifacts of an experiment stay where they were."""
        return experiment in self._linked

    def moved(self, one: SourceRegistered) -> SourceRegistered:
        """Return a registered model whose versions are stored where they are from now on."""
        return msgspec.structs.replace(
            one, versions=tuple(self._version(version) for version in one.versions)
        )

    def _version(self, one: SourceVersion) -> SourceVersion:
        return msgspec.structs.replace(one, storage=self.here(one.storage))

    def here(self, storage: str) -> str:
        """Return where something is from now on: below the longest place that it was below, or unchanged.

        Examples
        --------
        >>> places = Places(copies=False)
        >>> places.of(SourceExperiment(id="7", name="a", artifacts="file:///x/7", created_ms=0, updated_ms=0))
        'mlflow-artifacts:/7'
        >>> places.here("/x/7/models/m-1/artifacts")
        'mlflow-artifacts:/7/models/m-1/artifacts'
        """
        plain = _plain(storage)
        found = [there for there in self._moved if plain == there or plain.startswith(f"{there}/")]
        if not found:
            return storage
        there = max(found, key=len)
        return self._moved[there] + plain[len(there) :]


def _plain(place: str) -> str:
    return place.removeprefix("file://").rstrip("/") if place.startswith("file:") else place.rstrip("/")
