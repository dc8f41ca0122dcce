"""The use cases of publication: publish a version, and say how engines of others read it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec

from varv.data.dataset import Dataset
from varv.data.delta.joined import joined_view, table_in
from varv.data.delta.publishing import Publications
from varv.data.versioning.references import parse_reference
from varv.data.versioning.verbs import VersionsDesk
from varv.data.versions import table_of
from varv.kernel.clock import Clock
from varv.kernel.faults import Faults
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.verbs import OPERATE, READ, verb


class PublishRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names the version of a dataset to publish: ``flights``, ``flights@12``, ``flights@tag``."""

    dataset: str
    if_published: bool = False
    """Only if the dataset is published by itself, or was before, and the version still can be."""


class SqlRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a dataset, or a version of it that was published, a dialect, and where its tables are: where they
    are published, or the place of an export.
    """

    dataset: str
    dialect: str = "duckdb"
    place: str = ""


class PartPublished(msgspec.Struct, frozen=True, kw_only=True):
    """A part as it was published: the version of its table, the files that came and went, and the folder,
    seen from the home.
    """

    part: str
    delta_version: int
    n_files: int
    n_removed: int
    place: str


class PublicationDone(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a dataset that is published."""

    dataset: str
    version: int
    parts: tuple[PartPublished, ...]


class SqlText(msgspec.Struct, frozen=True, kw_only=True):
    """A statement that makes a view of a dataset."""

    dataset: str
    dialect: str
    sql: str


class PublicationDesk:
    """What the use cases work on; versions are published before they get a tag from then on.

    Parameters
    ----------
    versions
        Acts on versions of the same store.
    """

    def __init__(self, versions: VersionsDesk, publications: Publications) -> None:
        self.versions = versions
        self.publications = publications
        versions.versions.before_naming = self._publish_named

    @property
    def alone(self) -> AbstractContextManager[Any]:
        """Held while tables are committed to."""
        return self.versions.alone

    def _publish_named(self, dataset: Dataset, version: int) -> None:
        with self.alone:
            self.publications.publish_named(dataset, version)


def offline_publications(
    versions: VersionsDesk, clock: Clock, faults: Faults | None = None
) -> PublicationDesk:
    """Return what publishes datasets of a home that nobody serves."""
    columns = FolderColumns(versions.home / "columns", faults=faults)
    publications = Publications(versions.datasets, columns, versions.views, versions.ledger, clock, faults)
    return PublicationDesk(versions, publications)


@verb("dataset.publish", needs=OPERATE)
def publish(desk: PublicationDesk, request: PublishRequest) -> PublicationDone:
    """Publish a version of a dataset: commit it to the Delta table of each part."""
    reference = parse_reference(request.dataset)
    dataset = desk.versions.datasets.registered(reference.dataset)
    version = desk.versions.version(reference)
    with desk.alone:
        act = desk.publications.publish_named if request.if_published else desk.publications.publish
        made = act(dataset, version)
    parts = (
        PartPublished(
            part=one.part,
            delta_version=one.delta_version,
            n_files=len(one.files),
            n_removed=len(one.removed),
            place=f"columns/{table_of(dataset.name, one.part)}",
        )
        for one in made
    )
    return PublicationDone(dataset=dataset.name, version=int(version), parts=tuple(parts))


@verb("dataset.sql", needs=READ)
def sql(desk: PublicationDesk, request: SqlRequest) -> SqlText:
    """Give the statement of a view that joins the published parts of a dataset by key."""
    reference = parse_reference(request.dataset)
    dataset = desk.versions.datasets.registered(reference.dataset)
    at_home = Path(desk.versions.home).absolute() / "columns/data" / dataset.name
    root = request.place.rstrip("/") or str(at_home)
    versions: dict[str, int] = {}
    if str(reference) != dataset.name and not request.place:
        made = desk.publications.publication(dataset, desk.versions.version(reference))
        versions = {one.part: one.delta_version for one in made}
    tables = {part: table_in(request.dialect, f"{root}/{part}", versions.get(part)) for part in dataset.parts}
    text = joined_view(dataset, tables, request.dialect)
    return SqlText(dataset=dataset.name, dialect=request.dialect, sql=text)
