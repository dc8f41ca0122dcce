"""Publication: a version of a dataset becomes one version of each of its parts' Delta tables.

No row is written: the folder of a part is its table, and a commit names the files that came and went since
the last one. Small batches are compacted first, since only Parquet belongs into a Delta table; from then on
none of these files is compacted again, so the files of a published version are those that the catalogue has
of it. Segment, entry in the ledger, commit, entry that it was committed: in this order, so a crash leaves a
log that lags behind, or one entry ahead, and `catch_up` puts both right.

A table that is published often would grow by a file each time. Many small files of a version that is
published are stored in a larger one (`merging`), in the same order: file, entry, commit, entry. That makes a
version of the table with the same rows, and those before it read on until their files are vacuumed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from varv.data.dataset import Dataset
from varv.data.delta.log import DIGEST, SEQ, VERSION, LogEntry, entry_file, live_files, log_entries
from varv.data.delta.merging import Mergeable, worth_merging
from varv.data.delta.statistics import statistics
from varv.data.delta.tables import AddedFile, Commit, app_of, commit, created, fill, require_library
from varv.data.delta.types import delta_types
from varv.data.model import FilesMerged
from varv.data.service import Datasets
from varv.data.versions import stream_of, table_of
from varv.data.versions.model import DatasetPublished
from varv.data.views import DatasetsView
from varv.kernel.catalogue import Extent, digests
from varv.kernel.clock import Clock
from varv.kernel.codec import Digest, digest_of
from varv.kernel.columns import Columns
from varv.kernel.errors import Corrupt, FailedPrecondition, VarvError
from varv.kernel.faults import Faults
from varv.kernel.ids import Version
from varv.kernel.ledger import Ledger, entries_of
from varv.kernel.observe import log
from varv.kernel.sagas import Fact
from varv.kernel.segment_files import SUFFIX
from varv.kernel.views import Views

_LOG = logging.getLogger(__name__)


class _Step(NamedTuple):
    """What a version of a part adds to the one that was published before, and the files that it removes."""

    added: list[Extent]
    removed: list[str]
    digest: Digest


class Publications:
    """Publishes the datasets of one store. Whoever calls it sees to it that nobody rewrites meanwhile.

    Parameters
    ----------
    datasets, columns, views, ledger, clock
        Of that store.
    """

    def __init__(
        self,
        datasets: Datasets,
        columns: Columns,
        views: Views,
        ledger: Ledger,
        clock: Clock,
        faults: Faults | None = None,
    ) -> None:
        self._datasets, self._columns = datasets, columns
        self._views, self._ledger, self._clock = views, ledger, clock
        self._faults = faults or Faults()

    def publish(self, dataset: Dataset, version: Version | int | None = None) -> list[DatasetPublished]:
        """Commit a version, by default the last, to the Delta table of each part; return what is on record of
        it, which is what was before if it had been published.

        Raises
        ------
        FailedPrecondition
            If Delta's library is not installed, a column is of no type that Delta has, somebody else has
            committed to a table, or the version is older than what is published or lies in one file with
            later ones.
        NotFound
            If there is no such version, or it expired.
        Conflict
            If somebody commits to a table at the same time.
        """
        require_library()
        upto = self._datasets.version(dataset) if version is None else Version(int(version))
        self.catch_up(dataset)
        before = self.published(dataset)
        if before is not None and upto <= before:
            return self.publication(dataset, upto)
        self._datasets.require_warm(dataset, version=upto)
        self._datasets.commit(self._datasets.compact(dataset, entirely=upto))
        made = self._commit_all(dataset, upto)
        self._merge_small(dataset)
        return made

    def publish_named(self, dataset: Dataset, version: Version | int) -> list[DatasetPublished]:
        """Publish a version that gets a name, or leaves, if the dataset is one that is published: by itself,
        or by command before. One that cannot be published any more is left to an export.
        """
        with self._views.reading(DatasetsView) as view:
            history = view.history(dataset.name)
            is_published = history.publish_every is not None or bool(history.published)
        is_later = int(version) > (self.published(dataset) or 0)
        if not (is_published and is_later and self._is_whole(dataset, version)):
            return []
        return self.publish(dataset, version)

    def publish_used(self, dataset: Dataset, version: Version | int) -> None:
        """Publish a version that something is made of, as `publish_named` does. Nothing fails for want of
        that: an error is logged.
        """
        try:
            self.publish_named(dataset, version)
        except VarvError as error:
            log(_LOG, logging.ERROR, "publication.failed", dataset=dataset.name, why=str(error))

    def is_due(self, dataset: Dataset) -> bool:
        """Return whether a dataset has a version that was to be published by now."""
        with self._views.reading(DatasetsView) as view:
            history, last = view.history(dataset.name), view.version(dataset.name)
        if history.publish_every is None or last <= (self.published(dataset) or 0):
            return False
        return not history.published or self._clock.now() - history.published_at >= history.publish_every

    def published(self, dataset: Dataset) -> Version | None:
        """Return the last version that every part has published; None if there is none."""
        with self._views.reading(DatasetsView) as view:
            published = view.history(dataset.name).published
        there = [published[part].version for part in dataset.parts if part in published]
        return min(there) if len(there) == len(dataset.parts) else None

    def publication(self, dataset: Dataset, version: Version | int) -> list[DatasetPublished]:
        """Return what is on record of a version's publication, by part.

        Raises
        ------
        FailedPrecondition
            If it was not published.
        """
        found = {one.part: one for one in self.events(dataset) if one.version == version}
        if not found.keys() >= set(dataset.parts):
            problem = f"was not published as version {version}, and a later version was"
            hint = f"write it elsewhere: varv data publish {dataset.name}@{version} --to FOLDER"
            raise FailedPrecondition("dataset", dataset.name, problem, hint=hint)
        return [found[part] for part in dataset.parts]

    def events(self, dataset: Dataset) -> Iterator[DatasetPublished]:
        """Yield what is on record of all publications of a dataset, from the ledger."""
        for entry in entries_of(self._ledger, stream_of(dataset.name)):
            if isinstance(entry.event, DatasetPublished):
                yield entry.event

    def catch_up(self, dataset: Dataset) -> None:
        """Let the logs of a dataset's parts say what the ledger does, and the ledger what they do.

        Raises
        ------
        FailedPrecondition
            If somebody else has committed to one.
        """
        for part in dataset.parts:
            self._write_again(dataset, part)
            self._take_over(dataset, part)
        with self._views.reading(DatasetsView) as view:
            published = dict(view.history(dataset.name).published)
        reached = max((one.version for one in published.values()), default=None)
        behind = [
            part for part in dataset.parts if part not in published or published[part].version != reached
        ]
        if reached is not None and behind:
            self._commit_all(dataset, reached)
        self._commit_merged(dataset)

    # What is to be committed

    def _commit_all(self, dataset: Dataset, version: Version) -> list[DatasetPublished]:
        """Commit a version to the tables that do not have it yet, and put that on record."""
        with self._views.reading(DatasetsView) as view:
            published = dict(view.history(dataset.name).published)
        due = [p for p in dataset.parts if p not in published or published[p].version < version]
        steps = {part: self._step(dataset, part, version) for part in due}
        made = [
            self._committed(dataset, part, version, step, before=published.get(part))
            for part, step in steps.items()
        ]
        self._datasets.commit([Fact(stream_of(dataset.name), one) for one in made])
        return [published[part] for part in dataset.parts if part not in due] + made

    def _merge_small(self, dataset: Dataset) -> None:
        """Store small files of what is published in larger ones, if there are many of them."""
        for part in dataset.parts:
            several = worth_merging(self._mergeable(dataset, part))
            if not several:
                continue
            with self._views.reading(DatasetsView) as view:
                held = view.catalogue(dataset.name, part)
                known, removed = {one.name for one in held.stored() if one.is_file}, held.removed_files()
            table = table_of(dataset.name, part)
            made = self._columns.merge(table, digests(several), known=known, removed=removed)
            names = tuple(one.name for one in several)
            event = FilesMerged(
                dataset=dataset.name, part=part, file=made.file, files=names, digest=made.digest
            )
            self._datasets.commit([Fact(stream_of(dataset.name), event)])
        self._commit_merged(dataset)

    def _mergeable(self, dataset: Dataset, part: str) -> Iterator[Mergeable]:
        """Yield the files of the last publication that the present version has too."""
        folder = self._folder(dataset, part)
        with self._views.reading(DatasetsView) as view:
            extents = view.catalogue(dataset.name, part).extents()
            live = set(view.history(dataset.name).live.get(part, ()))
        for one in extents:
            place = folder / f"{one.name}{SUFFIX}"
            if place.name in live and one.digest and not one.cold:
                columns = tuple(pl.read_parquet_schema(place).items())
                yield Mergeable(one, place.stat().st_size, columns)

    def _commit_merged(self, dataset: Dataset) -> None:
        """Commit that files of what is published last lie in larger ones by now."""
        for part in dataset.parts:
            with self._views.reading(DatasetsView) as view:
                history = view.history(dataset.name)
                last, live = history.published.get(part), set(history.live.get(part, ()))
                merged = live.intersection(_files(view.catalogue(dataset.name, part).superseded))
            if last is not None and merged:
                step = self._step(dataset, part, last.version)
                made = self._committed(dataset, part, last.version, step, before=last)
                self._datasets.commit([Fact(stream_of(dataset.name), made)])

    def _step(self, dataset: Dataset, part: str, version: Version | int) -> _Step:
        with self._views.reading(DatasetsView) as view:
            now = view.catalogue(dataset.name, part).extents(int(version))
            were = view.history(dataset.name).live.get(part, [])
        for one in now:
            if one.last_number > version:
                problem = f"has version {version} in one file with later ones"
                hint = f"publish the last version, or varv data publish {dataset.name}@{version} --to FOLDER"
                raise FailedPrecondition("dataset", dataset.name, problem, file=one.name, hint=hint)
        files, known = set(_files(now)), set(were)
        added = [one for one in now if f"{one.name}{SUFFIX}" not in known]
        removed = [file for file in were if file not in files]
        return _Step(added, removed, digest_of([one.digest for one in now]))

    def _is_whole(self, dataset: Dataset, version: Version | int) -> bool:
        """Return whether no file holds rows of this version and of later ones, or is archived."""
        with self._views.reading(DatasetsView) as view:
            held = [view.catalogue(dataset.name, part).extents(int(version)) for part in dataset.parts]
        return all(one.last_number <= version and not one.cold for several in held for one in several)

    def _committed(
        self,
        dataset: Dataset,
        part: str,
        version: Version,
        step: _Step,
        *,
        before: DatasetPublished | None,
        expected: int | None = None,
    ) -> DatasetPublished:
        """Commit one version of a part, and return what is to be put on record.

        Parameters
        ----------
        before
            The publication before it.
        expected
            The version of the table that it was before; the next one by default.
        """
        folder, columns = self._folder(dataset, part), self._columns_of(dataset, part)
        if not entry_file(folder, 0).exists():
            created(folder, f"{dataset.name}/{part}", columns)
        while expected is not None and not entry_file(folder, expected - 1).exists():
            # Where columns were gained, a version of its own said so.
            fill(folder, columns)
        added = [self._added(dataset, part, one) for one in step.added]
        removed = self._in_log(dataset, part, step.removed)
        info = {VERSION: int(version), SEQ: self._ledger.head().version, DIGEST: step.digest}
        now_ms = self._clock.now() // 1000
        follows = None if before is None else int(before.version)
        made = Commit(app_of(dataset.name, part), int(version), follows, info, added, removed, now_ms)
        self._faults.reach("delta.before_commit")
        delta_version = commit(folder, columns, made)
        self._faults.reach("delta.after_commit")
        return _published(dataset, part, version, delta_version, step)

    def _in_log(self, dataset: Dataset, part: str, files: Sequence[str]) -> Sequence[str]:
        """Return files without those that the log does not name: one that was lost was written again without
        what had been vacuumed.
        """
        if self._there(dataset, part).keys() >= set(files):
            return files
        live = live_files(self._folder(dataset, part))
        return [file for file in files if file in live]

    def _there(self, dataset: Dataset, part: str) -> dict[str, Extent]:
        """Return by file what is stored, without what was vacuumed."""
        with self._views.reading(DatasetsView) as view:
            stored = view.catalogue(dataset.name, part).stored()
        return {f"{one.name}{SUFFIX}": one for one in stored if not one.removed_by}

    def _added(self, dataset: Dataset, part: str, extent: Extent) -> AddedFile:
        """Return a file as a log names it; its rows are compared with what the ledger says of them."""
        rows = self._datasets.rows_in(dataset, part, extent)
        place = self._folder(dataset, part) / f"{extent.name}{SUFFIX}"
        if not place.exists():
            hint = "it is from before there were digests of rows; publish it with --to FOLDER"
            raise FailedPrecondition("file", place.name, "is not Parquet", part=part, hint=hint)
        said = statistics(rows, dataset.key)
        return AddedFile(place.name, place.stat().st_size, extent.at // 1000, said)

    def _folder(self, dataset: Dataset, part: str) -> Path:
        return self._columns.folder(table_of(dataset.name, part))

    def _columns_of(self, dataset: Dataset, part: str) -> dict[str, str]:
        return delta_types(dataset.name, dataset.part_types(part))

    # What a crash, a copy or somebody else left

    def _last(self, dataset: Dataset, part: str) -> DatasetPublished | None:
        with self._views.reading(DatasetsView) as view:
            return view.history(dataset.name).published.get(part)

    def _write_again(self, dataset: Dataset, part: str) -> None:
        """Commit again what the ledger says was committed, as far as the log does not have it."""
        last, folder = self._last(dataset, part), self._folder(dataset, part)
        if last is None or entry_file(folder, last.delta_version).exists():
            return
        there = self._there(dataset, part)
        before, live = None, live_files(folder)
        for event in self.events(dataset):
            if event.part != part:
                continue
            if not entry_file(folder, event.delta_version).exists():
                # What was vacuumed since is left out: no version needs it that can still be read.
                added = [there[file] for file in event.files if file in there]
                removed = [file for file in event.removed if file in live]
                live = live.difference(removed).union(_files(added))
                step = _Step(added, removed, event.digest)
                self._committed(
                    dataset, part, event.version, step, before=before, expected=event.delta_version
                )
            before = event

    def _take_over(self, dataset: Dataset, part: str) -> None:
        """Put on record what was committed before a crash, and refuse what somebody else committed."""
        last, app = self._last(dataset, part), app_of(dataset.name, part)
        after = -1 if last is None else last.delta_version
        for entry in log_entries(self._folder(dataset, part), after):
            if entry.only_columns:
                continue
            if app not in entry.transactions or VERSION not in entry.info:
                problem = "was committed to by somebody else"
                hint = "varv is the only writer; remove the versions from this one on, or restore the folder"
                name = f"{dataset.name}/{part}"
                raise FailedPrecondition("delta table", name, problem, delta_version=entry.version, hint=hint)
            self._took_over(dataset, part, entry, Version(entry.transactions[app]))

    def _took_over(self, dataset: Dataset, part: str, entry: LogEntry, version: Version) -> None:
        event = _published(dataset, part, version, entry.version, self._step(dataset, part, version))
        there = self._there(dataset, part).keys()
        is_removed = set(event.removed) & there == set(entry.removed) & there
        if set(event.files) != set(entry.added) or not is_removed:
            hint = "delete the folder _delta_log and publish again; the ledger knows what belongs into it"
            problem = "does not hold the version that it names"
            name = f"{dataset.name}/{part}"
            raise Corrupt("delta table", name, problem, delta_version=entry.version, hint=hint)
        self._datasets.commit([Fact(stream_of(dataset.name), event)])


def _files(extents: Iterable[Extent]) -> tuple[str, ...]:
    return tuple(f"{one.name}{SUFFIX}" for one in extents)


def _published(
    dataset: Dataset, part: str, version: Version, delta_version: int, step: _Step
) -> DatasetPublished:
    return DatasetPublished(
        dataset=dataset.name,
        part=part,
        version=version,
        delta_version=delta_version,
        files=_files(step.added),
        removed=tuple(step.removed),
        digest=step.digest,
    )
