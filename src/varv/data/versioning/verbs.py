"""The use cases of versions: look at them, name them, replace rows, and give files up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec

from varv.data.dataset import Dataset, part_named
from varv.data.inbox import typed_rows
from varv.data.ingestion.views import PullsView
from varv.data.retention import retention_of
from varv.data.rewriting.files import Rewritten
from varv.data.service import Datasets
from varv.data.sources import Upstream
from varv.data.versioning.keeping import Named, Versions
from varv.data.versioning.references import Reference, parse_reference, version_meant
from varv.data.versioning.staging import staged_rows, unstage
from varv.data.views import DatasetsView
from varv.kernel.clock import Clock, Instant, iso
from varv.kernel.faults import Faults
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ledger import Ledger
from varv.kernel.secret import SECRET_FILE, Secret
from varv.kernel.verbs import OPERATE, READ, verb
from varv.kernel.views import Views


class ShowDataset(msgspec.Struct, frozen=True, kw_only=True):
    """Names a version of a dataset: ``flights``, ``flights@12``, ``flights@tag``, ``flights@2013-05-01``."""

    dataset: str


class TagRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a version of a dataset, and gives it a tag; says who does it and why."""

    dataset: str
    tag: str
    by: str = "operator"
    why: str = ""


class RewriteRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Gives rows for a dataset or one of its parts, ``flights/arrived_at``: themselves, or the name under
    which they were staged in the home; says who does it and why.
    """

    dataset: str
    rows: list[dict[str, Any]] = msgspec.field(default_factory=list)
    staged: str = ""
    seen: int | None = None
    """The version that the caller knows; another one is a conflict."""
    by: str = "operator"
    why: str = ""


class VacuumRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a dataset, and what to keep of its versions though nothing names them: ``90d``, or a number of
    versions; what the dataset declares if it is left out.
    """

    dataset: str
    keep: str = ""
    dry_run: bool = False
    by: str = "operator"


class TagShown(msgspec.Struct, frozen=True, kw_only=True):
    """A tag: its version, and who gave it and why."""

    tag: str
    version: int
    by: str
    why: str


class PartShown(msgspec.Struct, frozen=True, kw_only=True):
    """What a version holds of one part: its rows, the times they span, and the files they lie in."""

    part: str
    n_rows: int
    first: str
    last: str
    n_files: int


class PublishedShown(msgspec.Struct, frozen=True, kw_only=True):
    """A version of one part that was published last: which version of the part's Delta table it is."""

    part: str
    version: int
    delta_version: int


class DatasetShown(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a dataset: what it holds, and what is known of the others."""

    dataset: str
    version: int
    last: int
    key: tuple[str, ...]
    columns: dict[str, str]
    parts: tuple[PartShown, ...]
    tags: tuple[TagShown, ...]
    keeps: str
    named: dict[int, str]
    """The versions that something names, with what does."""
    made_from: dict[str, int] = {}
    """Of a version that was made from versions of other datasets, these."""
    published: tuple[PublishedShown, ...] = ()
    """The last publication of each part."""
    upstreams: tuple[Upstream, ...] = ()
    """How fresh what its source is made of was when somebody looked last."""


class TagGiven(msgspec.Struct, frozen=True, kw_only=True):
    """A tag, the version that it names, and the one that it named before."""

    dataset: str
    tag: str
    version: int
    before: int | None = None


class RewriteDone(msgspec.Struct, frozen=True, kw_only=True):
    """What became of rows that replace others: the version that they made, or that is like them already, and
    how many keys are new, say something else, are gone, or stayed as they were.
    """

    dataset: str
    version: int
    n_new: int
    n_changed: int
    n_lost: int
    n_unchanged: int
    flows: bool
    """Whether features and labels follow it now; if not, they do at the next start of the server."""


class Vacuumed(msgspec.Struct, frozen=True, kw_only=True):
    """Files that were removed, or would be: how many, with so many rows; and what kept others."""

    dataset: str
    n_files: int
    n_rows: int
    keeps: str
    named: dict[int, str]
    removed: bool


class VersionsDesk:
    """What the use cases work on.

    Parameters
    ----------
    home
        The folder.
    datasets, views, ledger, versions
        Of that home.
    rewrite
        Has rows of a dataset, named first, replaced by a function, and whoever answers told of it.
    alone
        Held while files are removed.
    flows
        Whether what is replaced is known to those that answer at once.
    """

    def __init__(
        self,
        home: Path,
        datasets: Datasets,
        views: Views,
        ledger: Ledger,
        versions: Versions,
        rewrite: Callable[[str, Callable[[], Rewritten]], Rewritten],
        alone: AbstractContextManager[Any],
        *,
        flows: bool,
    ) -> None:
        self.home = home
        self.datasets = datasets
        self.views = views
        self.ledger = ledger
        self.versions = versions
        self.rewrite = rewrite
        self.alone = alone
        self.flows = flows

    def version(self, reference: Reference) -> int:
        """Return the version that a reference means."""
        return version_meant(reference, self.views, self.ledger)

    def now(self) -> Instant:
        """Return the present, by the clock of the home."""
        return self.versions.now()


def offline_versions(
    home: Path, ledger: Ledger, views: Views, clock: Clock, named: Named, faults: Faults | None = None
) -> VersionsDesk:
    """Return what acts on the versions of a home that nobody serves."""
    columns = FolderColumns(home / "columns", faults=faults)
    datasets = Datasets(ledger, columns, clock, views, Secret(home / SECRET_FILE))
    versions = Versions(datasets, views, ledger, clock, named)
    return VersionsDesk(
        home, datasets, views, ledger, versions, lambda _, act: act(), threading.RLock(), flows=False
    )


@verb("dataset.show", needs=READ)
def show_dataset(desk: VersionsDesk, request: ShowDataset) -> DatasetShown:
    """Show what a version of a dataset holds, and which of its versions have names."""
    reference = parse_reference(request.dataset)
    version = desk.version(reference)
    dataset = desk.datasets.registered(reference.dataset)
    with desk.views.reading(DatasetsView) as view:
        history, last = view.history(dataset.name), view.version(dataset.name)
        tags = [
            TagShown(tag=one.tag, version=one.version, by=one.by, why=one.why)
            for one in history.tags.values()
        ]
        made_from = history.made_from.get(version, {})
        keeps, published = str(history.retention), list(history.published.values())
    with desk.views.reading(PullsView) as view:
        pulled = view.state(dataset.name)
    types = dataset.types()
    return DatasetShown(
        dataset=dataset.name,
        version=version,
        last=last,
        key=dataset.key,
        columns={name: str(types[name]) for name in desk.datasets.columns_at(dataset, version)},
        parts=tuple(_part(desk.datasets, dataset, part, version) for part in dataset.parts),
        tags=tuple(sorted(tags, key=lambda one: one.tag)),
        keeps=keeps,
        named=dict(desk.versions.named(dataset.name)),
        made_from=made_from,
        published=tuple(
            PublishedShown(part=one.part, version=one.version, delta_version=one.delta_version)
            for one in published
        ),
        upstreams=() if pulled is None else pulled.upstreams,
    )


def _part(datasets: Datasets, dataset: Dataset, part: str, version: int) -> PartShown:
    extents = datasets.extents(dataset, part, upto=version)
    first = min((one.first for one in extents if one.first is not None), default=None)
    last = max((one.last for one in extents if one.last is not None), default=None)
    return PartShown(
        part=part,
        n_rows=sum(datasets.n_rows_upto(dataset, part, one, version) for one in extents),
        first="" if first is None else iso(first),
        last="" if last is None else iso(last),
        n_files=len(extents),
    )


@verb("dataset.tag", needs=OPERATE)
def tag(desk: VersionsDesk, request: TagRequest) -> TagGiven:
    """Give a version of a dataset a name, which another version may have had until now."""
    given = desk.versions.tag(parse_reference(request.dataset), request.tag, by=request.by, why=request.why)
    return TagGiven(dataset=given.dataset, tag=given.tag, version=given.version, before=given.before)


@verb("dataset.untag", needs=OPERATE)
def untag(desk: VersionsDesk, request: TagRequest) -> TagGiven:
    """Give a name of a version up; the version may be removed then, once nothing else names it."""
    gone = desk.versions.untag(request.dataset, request.tag, by=request.by, why=request.why)
    return TagGiven(dataset=gone.dataset, tag=gone.tag, version=gone.version, before=gone.version)


@verb("dataset.overwrite", needs=OPERATE)
def overwrite(desk: VersionsDesk, request: RewriteRequest) -> RewriteDone:
    """Put rows in the place of all that a part of a dataset holds."""
    return _rewritten(desk, request, desk.datasets.overwrite)


@verb("dataset.merge", needs=OPERATE)
def merge(desk: VersionsDesk, request: RewriteRequest) -> RewriteDone:
    """Put rows in the place of those that have their keys, and add those whose keys are new."""
    return _rewritten(desk, request, desk.datasets.merge)


def _rewritten(desk: VersionsDesk, request: RewriteRequest, act: Callable[..., Rewritten]) -> RewriteDone:
    name = request.dataset.partition("/")[0]
    known = desk.datasets.registered(name)
    dataset, part = part_named({known.name: known}, request.dataset)
    rows = (
        staged_rows(desk.home, request.staged) if request.staged else typed_rows(dataset, part, request.rows)
    )
    more = {"by": request.by, "why": request.why, "seen": request.seen}
    try:
        found = desk.rewrite(name, lambda: act(dataset, part, rows, **more))
    finally:
        unstage(desk.home, request.staged)
    return RewriteDone(
        dataset=name,
        version=found.version,
        n_new=found.n_new,
        n_changed=found.n_changed,
        n_lost=found.n_lost,
        n_unchanged=found.n_unchanged,
        flows=desk.flows,
    )


@verb("dataset.vacuum", needs=OPERATE)
def vacuum(desk: VersionsDesk, request: VacuumRequest) -> Vacuumed:
    """Remove the files of versions that nothing names and that are not to be kept."""
    dataset = desk.datasets.registered(request.dataset)
    retention = retention_of(request.keep) if request.keep else None
    if request.dry_run:
        found = desk.versions.removable(dataset, retention)
    else:
        with desk.alone:
            found = desk.versions.vacuum(dataset, retention, by=request.by)
    return Vacuumed(
        dataset=dataset.name,
        n_files=found.n_files,
        n_rows=found.n_rows,
        keeps=str(found.retention),
        named=dict(found.kept),
        removed=not request.dry_run,
    )
