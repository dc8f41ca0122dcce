"""The use cases of tiers: say what is warm and what is archived, archive, and restore."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from varv.data.cold import require_place
from varv.data.dataset import Dataset
from varv.data.tiers.archiving import Tiers
from varv.data.tiers.due import Reach, Reached
from varv.data.versioning.verbs import VersionsDesk
from varv.data.views import DatasetsView
from varv.kernel.catalogue import Extent
from varv.kernel.clock import Clock, Instant, duration, instant, iso, spoken
from varv.kernel.errors import InvalidInput
from varv.kernel.faults import Faults
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.sagas import Fact
from varv.kernel.secret import SECRET_FILE, Secret
from varv.kernel.verbs import OPERATE, READ, verb


class ArchiveRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a dataset, and which of its rows to archive: those from before a time, or of an age; as the
    dataset declares if both are left out.
    """

    dataset: str
    before: str = ""
    older: str = ""
    dry_run: bool = False
    by: str = "operator"


class RestoreRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a dataset, and which of its archived rows to bring back: those of [since, until), by default all;
    and how long they are not archived again by themselves.
    """

    dataset: str
    since: str = ""
    until: str = ""
    stays: str = "7d"
    by: str = "operator"
    why: str = ""


class TiersRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a dataset; all of them if it is left out."""

    dataset: str = ""


class TierMoved(msgspec.Struct, frozen=True, kw_only=True):
    """Files that were moved, or would be: how many, with so many rows and bytes; and by what keeps others
    that are old enough, how many.
    """

    dataset: str
    n_files: int
    n_rows: int
    n_bytes: int
    kept: dict[str, int] = {}
    moved: bool = True


class PartTiers(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a dataset: its warm files, and its archived ones with the times that these span; files of
    earlier versions too.
    """

    part: str
    n_warm_files: int
    n_warm_rows: int
    n_warm_bytes: int
    n_cold_files: int
    n_cold_rows: int
    n_cold_bytes: int
    cold_from: str
    cold_to: str


class DatasetTiers(msgspec.Struct, frozen=True, kw_only=True):
    """Where the rows of a dataset are, when they are archived by themselves, and who looks how far back."""

    dataset: str
    archive_after: str
    parts: tuple[PartTiers, ...]
    reached: tuple[str, ...]


class TierList(msgspec.Struct, frozen=True, kw_only=True):
    """The tiers of datasets, by name."""

    datasets: tuple[DatasetTiers, ...]


class TierDesk:
    """What the use cases work on.

    Parameters
    ----------
    versions
        Acts on versions of the same store.
    tiers
        Move files.
    reached
        What looks at rows by itself.
    """

    def __init__(self, versions: VersionsDesk, tiers: Tiers, reached: Reached) -> None:
        self.versions, self.tiers, self.reached = versions, tiers, reached


def tier_desk(
    versions: VersionsDesk,
    clock: Clock,
    reached: Reached,
    *,
    place: str = "",
    commit: Callable[[Sequence[Fact]], object] | None = None,
    faults: Faults | None = None,
) -> TierDesk:
    """Return what moves files of datasets between tiers.

    Parameters
    ----------
    place
        The archive as it is set; empty for the one of the home.
    commit
        Puts facts on record; the datasets by default.
    """
    columns = FolderColumns(versions.home / "columns", faults=faults)
    tiers = Tiers(
        columns,
        versions.datasets.cold,
        versions.views,
        clock,
        commit or versions.datasets.commit,
        place=_own(place, Secret(versions.home / SECRET_FILE)),
        reached=reached,
        alone=versions.alone,
        faults=faults,
    )
    return TierDesk(versions, tiers, reached)


def _own(place: str, secret: Secret) -> str:
    # Two homes may be told the same place, and neither may remove what the other one needs.
    known = require_place(place)
    return f"{known}/{secret.digest(b'archive')[:16]}" if known else ""


@verb("dataset.archive", needs=OPERATE)
def archive(desk: TierDesk, request: ArchiveRequest) -> TierMoved:
    """Move files of old rows into the archive, as far as nothing that is served looks at them."""
    dataset = desk.versions.datasets.registered(request.dataset)
    before = _before(desk, dataset, request)
    if not request.dry_run:
        moved = desk.tiers.archive(dataset, before, by=request.by)
        return _told(dataset, moved.n_files, moved.n_rows, moved.n_bytes, dict(moved.kept))
    found = desk.tiers.due(dataset, before)
    every = [one for several in found.extents.values() for one in several]
    n_bytes = desk.tiers.n_bytes(dataset, found.extents)
    told = _told(dataset, len(every), sum(one.n_rows for one in every), n_bytes, dict(found.kept))
    return msgspec.structs.replace(told, moved=False)


@verb("dataset.restore", needs=OPERATE)
def restore(desk: TierDesk, request: RestoreRequest) -> TierMoved:
    """Bring archived files back, so that their rows can be read."""
    dataset = desk.versions.datasets.registered(request.dataset)
    moved = desk.tiers.restore(
        dataset,
        instant(request.since) if request.since else None,
        instant(request.until) if request.until else None,
        stays=duration(request.stays),
        by=request.by,
        why=request.why,
    )
    return _told(dataset, moved.n_files, moved.n_rows, moved.n_bytes, {})


@verb("dataset.tiers", needs=READ)
def show_tiers(desk: TierDesk, request: TiersRequest) -> TierList:
    """Say where the rows of datasets are: warm, or archived; and who looks how far back."""
    datasets = desk.versions.datasets
    if request.dataset:
        return TierList(datasets=(_shown(desk, datasets.registered(request.dataset)),))
    with desk.versions.views.reading(DatasetsView) as view:
        names = [str(one.dataset) for one in view.datasets()]
    return TierList(datasets=tuple(_shown(desk, datasets.registered(name)) for name in names))


def _before(desk: TierDesk, dataset: Dataset, request: ArchiveRequest) -> Instant:
    if request.before and request.older:
        raise InvalidInput("archive", dataset.name, "is given a time and an age", hint="give one of them")
    if request.before:
        return instant(request.before)
    with desk.versions.views.reading(DatasetsView) as view:
        after = view.history(dataset.name).archive_after
    if request.older:
        after = duration(request.older)
    if after is None:
        hint = "say --older 400d or --before TIME, or declare archive='400d'"
        raise InvalidInput("archive", dataset.name, "does not say when its rows are archived", hint=hint)
    return Instant(desk.versions.now() - after)


def _told(dataset: Dataset, n_files: int, n_rows: int, n_bytes: int, kept: dict[str, int]) -> TierMoved:
    return TierMoved(dataset=dataset.name, n_files=n_files, n_rows=n_rows, n_bytes=n_bytes, kept=kept)


def _shown(desk: TierDesk, dataset: Dataset) -> DatasetTiers:
    with desk.versions.views.reading(DatasetsView) as view:
        after = view.history(dataset.name).archive_after
        held = {part: view.catalogue(dataset.name, part).ever() for part in dataset.parts}
    return DatasetTiers(
        dataset=dataset.name,
        archive_after="" if after is None else spoken(after),
        parts=tuple(_part(desk, dataset, part, extents) for part, extents in held.items()),
        reached=tuple(_line(dataset, reach) for reach in _farthest(desk.reached(dataset.name))),
    )


def _part(desk: TierDesk, dataset: Dataset, part: str, extents: Sequence[Extent]) -> PartTiers:
    there = [one for one in extents if not one.removed_by]
    cold, warm = [one for one in there if one.cold], [one for one in there if not one.cold]
    first = min((one.first for one in cold if one.first is not None), default=None)
    last = max((one.last for one in cold if one.last is not None), default=None)
    return PartTiers(
        part=part,
        n_warm_files=len(warm),
        n_warm_rows=sum(one.n_rows for one in warm),
        n_warm_bytes=desk.tiers.n_bytes(dataset, {part: warm}),
        n_cold_files=len(cold),
        n_cold_rows=sum(one.n_rows for one in cold),
        n_cold_bytes=desk.tiers.n_bytes(dataset, {part: cold}),
        cold_from="" if first is None else iso(first),
        cold_to="" if last is None else iso(last),
    )


def _farthest(reached: Sequence[Reach]) -> list[Reach]:
    """Return of each who looks at a part how far back they look at most."""
    found: dict[tuple[str, str], Reach] = {}
    for one in reached:
        last = found.setdefault((one.part, one.by), one)
        if last.span is not None and (one.span is None or one.span > last.span):
            found[one.part, one.by] = one
    return list(found.values())


def _line(dataset: Dataset, reach: Reach) -> str:
    where = f"{dataset.name}/{reach.part}" if reach.part else dataset.name
    how = "all rows" if reach.span is None else f"{spoken(reach.span)} back"
    return f"{where}: {how}, by {reach.by}"
