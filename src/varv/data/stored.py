"""Reading what is kept of datasets, as of any version and any instant.

The same version and instant give the same rows for ever, or `Expired` and `Erased` once their files are gone.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.data.cold import ColdFiles, require_warm
from varv.data.dataset import Dataset
from varv.data.quarantined import Quarantined, quarantine_of
from varv.data.recorded import RecordedDatasets
from varv.data.shape import in_shape
from varv.data.versions import table_of
from varv.data.views import DatasetsView
from varv.kernel.catalogue import Catalogue, Extent, digests
from varv.kernel.clock import Instant, as_datetime
from varv.kernel.codec import Digest
from varv.kernel.columns import SEGMENT, Columns, stretches
from varv.kernel.content import rows_digest
from varv.kernel.errors import Corrupt
from varv.kernel.ids import Version
from varv.kernel.ledger import Ledger
from varv.kernel.secret import Secret
from varv.kernel.segment_files import COMPACTED, RESTORE
from varv.kernel.views import Views


class StoredDatasets(RecordedDatasets):
    """The datasets of one store, to be read.

    Parameters
    ----------
    ledger, columns
        Where facts and rows are kept.
    views
        Views of the same ledger, `DatasetsView` among them.
    secret
        Of the home, for digests of what the ledger must not reveal.
    """

    def __init__(self, ledger: Ledger, columns: Columns, views: Views, secret: Secret) -> None:
        super().__init__(ledger, views, secret)
        self._columns = columns
        # The archive of a home lies beside its columns.
        self.cold = ColdFiles(columns.folder("data").parents[1])
        """Where archived files are."""

    def counts(self, dataset: Dataset, part: str, segment: str) -> bool:
        """Return whether the rows of a batch that made a version are in the present one as they came, and not
        in an archive.
        """
        with self._views.reading(DatasetsView) as view:
            held = view.catalogue(dataset.name, part)
            alone, files = held.alone.get(segment), held.extents()
            has_changed = held.has_gone or held.has_cold
        if alone is not None or not has_changed:
            return alone is None or not (alone.gone or alone.cold)
        table = table_of(dataset.name, part)
        listed = (self._columns.listed(table, one.name) for one in files if one.is_file and not one.cold)
        return any(one.segment == segment for several in listed for one in several)

    def _extents_after(
        self, dataset: Dataset, part: str, version: Version, upto: Version | None = None
    ) -> list[Extent]:
        """Return where the rows of a part are that came after a version; maybe some from before it too."""
        # A file of many batches may begin before: those once more change nothing.
        return [one for one in self.extents(dataset, part, upto=upto) if one.last_number > version]

    def ever_after(
        self, dataset: Dataset, part: str, version: Version, upto: Version
    ) -> Iterator[pl.DataFrame]:
        """Yield the rows of a part that came after a version and by another, a file at a time, archived ones
        too; maybe some from before it.

        Raises
        ------
        Unavailable
            If an archive cannot be reached.
        """
        extents = self._extents_after(dataset, part, version, upto)
        for is_cold, several in groupby(extents, lambda one: one.cold is not None):
            if is_cold:
                yield from map(self.cold.rows, several)
            else:
                yield from self._columns.batches(table_of(dataset.name, part), digests(several))

    def later(
        self, dataset: Dataset, part: str, version: Version, *, warm_only: bool = False
    ) -> pl.DataFrame:
        """Return the rows of a part in all batches after a version, in the order in which they came; maybe of
        some before it too.

        Parameters
        ----------
        warm_only
            Leave out rows that are archived.
        """
        extents = self._extents_after(dataset, part, version)
        extents = [one for one in extents if not one.cold] if warm_only else extents
        if not extents:
            return pl.DataFrame(schema=dataset.part_types(part))
        return self._rows_of_extents(dataset, part, extents).select(dataset.columns(part))

    def read(
        self,
        dataset: Dataset,
        *,
        version: Version | int | None = None,
        known_at: Instant | None = None,
        since: Instant | None = None,
        until: Instant | None = None,
        remaining: bool = False,
    ) -> pl.DataFrame:
        """Return the rows of a version, by default the latest, with what was known at an instant, by default
        all.

        The result depends on the arguments only: the same version and instant give the same frame for ever.

        Parameters
        ----------
        since, until
            The event times that are wanted, [since, until); all by default. Segments without any are not
            read.
        remaining
            Whether of a version of which rows were erased the others are wanted.

        Returns
        -------
        pl.DataFrame
            One row a key, the columns as declared, in the order of event time and key. What was not known is
            null, its knowledge time too.

        Raises
        ------
        NotFound
            If there is no such dataset or version.
        Erased
            If rows of the version were erased; the entry is named.
        FailedPrecondition
            If some of them are archived; what restores them is named.
        """
        base, as_of = dataset.event_time, {"version": version, "remaining": remaining}
        frame = self.read_part(dataset, base, known_at=known_at, since=since, until=until, **as_of)
        for part in dataset.known_at:
            # What is said of a row is not from before it; where it is, it is not used.
            later = self.read_part(dataset, part, known_at=known_at, since=since, **as_of)
            own = [name for name in later.columns if name not in dataset.key]
            frame = frame.join(
                later.select(*dataset.key, *own), on=dataset.key, how="left", maintain_order="left"
            )
            # What is said of a row before it exists is not used.
            early = pl.col(part) < pl.col(dataset.event_time)
            frame = frame.with_columns(pl.when(~early).then(pl.col(name)).alias(name) for name in own)
        return frame.select(list(dataset.types())).sort(dataset.event_time, *dataset.key)

    def read_part(
        self,
        dataset: Dataset,
        part: str,
        *,
        version: Version | int | None = None,
        known_at: Instant | None = None,
        since: Instant | None = None,
        until: Instant | None = None,
        remaining: bool = False,
        warm_only: bool = False,
    ) -> pl.DataFrame:
        """Return the rows of one part as `read` would join them, in the order of its time and key; of those
        whose time is in [since, until), if that is given.

        Parameters
        ----------
        warm_only
            Leave out rows that are archived, which are refused otherwise.
        """
        columns = dataset.columns(part)
        before = None if known_at is None else Instant(known_at + 1)
        upto = until if before is None else before if until is None else min(until, before)
        held = self.extents(dataset, part, upto=version, remaining=remaining)
        extents = [one for one in held if one.reaches(since, upto) and not (warm_only and one.cold)]
        if not extents:
            return pl.DataFrame(schema=dataset.part_types(part))
        frame = self._rows_upto(dataset, part, extents, version)
        frame = frame.unique(dataset.key, keep="first", maintain_order=True)
        if known_at is not None:
            frame = frame.filter(pl.col(part) <= as_datetime(known_at))
        if since is not None:
            frame = frame.filter(pl.col(part) >= as_datetime(since))
        if until is not None:
            frame = frame.filter(pl.col(part) < as_datetime(until))
        return frame.select(columns).sort(part, *dataset.key)

    def batches(
        self,
        dataset: Dataset,
        part: str,
        *,
        columns: Sequence[str],
        version: Version | int | None = None,
        since: Instant | None = None,
        until: Instant | None = None,
        warm_only: bool = False,
    ) -> Iterator[pl.DataFrame]:
        """Yield some columns of a part's rows in the order in which they came, a file at a time; a version
        gives the same rows for ever.

        Parameters
        ----------
        since, until
            Files are left out that have no row with a time of the part in [since, until); rows are not.
        warm_only
            Leave out rows that are archived, which are refused otherwise.

        Raises
        ------
        NotFound
            If there is no such version.
        FailedPrecondition
            If a file is archived; what restores it is named.
        """
        names = list(dict.fromkeys(columns))
        types = {name: dataset.types()[name] for name in names}
        table = table_of(dataset.name, part)
        for one in self.extents(dataset, part, upto=version):
            if not one.reaches(since, until) or (warm_only and one.cold):
                continue
            n_rows = one.n_rows if version is None else self.n_rows_upto(dataset, part, one, version)
            with self._warm(dataset, part, [one]):
                [rows] = self._columns.batches(table, {one.name: one.digest}, columns=names)
            yield in_shape(rows, types).select(names).head(n_rows)

    def arrivals(
        self,
        dataset: Dataset,
        part: str,
        *,
        columns: Sequence[str],
        version: Version | int | None = None,
        since: Instant | None = None,
    ) -> Iterator[tuple[npt.NDArray[np.int64], pl.DataFrame]]:
        """Yield some columns of a part's rows as `batches` does, with the version that brought each row."""
        table = table_of(dataset.name, part)
        types = {name: dataset.types()[name] for name in dict.fromkeys(columns)}
        for one in self.extents(dataset, part, upto=version):
            if not one.reaches(since, None):
                continue
            with self._warm(dataset, part, [one]):
                listed = self._columns.listed(table, one.name) if one.is_file else ()
                [rows] = self._columns.batches(table, {one.name: one.digest}, columns=list(types))
            own = np.repeat(one.numbers(), [held.n_rows for held in listed] or [one.n_rows])
            shaped = in_shape(rows, types).select(list(types))
            if version is None or own.size == 0 or own[-1] <= version:
                yield own, shaped
            else:
                n = int(np.searchsorted(own, version, side="right"))
                yield own[:n], shaped.head(n)

    def _rows_upto(
        self, dataset: Dataset, part: str, extents: Sequence[Extent], version: Version | int | None
    ) -> pl.DataFrame:
        """Return the rows of extents, of a file that goes on after a version only those of up to then."""
        cut = [one for one in extents if version is not None and one.last_number > version]
        whole = [one for one in extents if one not in cut]
        parts = [self._rows_of_extents(dataset, part, whole)] if whole else []
        for one in cut:
            n_rows = self.n_rows_upto(dataset, part, one, version or 0)
            parts.append(self._rows_of_extents(dataset, part, [one]).head(n_rows))
        return pl.concat(rows.select(dataset.columns(part)) for rows in parts)

    @contextmanager
    def _warm(self, dataset: Dataset, part: str, extents: Sequence[Extent]) -> Generator[None]:
        """Refuse to read what is archived, and what goes into the archive while it is read."""
        require_warm(dataset.name, extents)
        try:
            yield
        except (Corrupt, FileNotFoundError):
            names = {one.name for one in extents}
            with self._views.reading(DatasetsView) as view:
                held = view.catalogue(dataset.name, part)
                now = [one for one in (*held.ever(), *held.left.values()) if one.name in names]
            require_warm(dataset.name, now)
            raise

    def _rows_of_extents(self, dataset: Dataset, part: str, extents: Sequence[Extent]) -> pl.DataFrame:
        with self._warm(dataset, part, extents):
            return self.rows_of(dataset, part, digests(extents))

    def rows_of(self, dataset: Dataset, part: str, segments: Mapping[str, Digest]) -> pl.DataFrame:
        """Return the rows of segments, null in columns that the dataset gained after they were stored."""
        table, types = table_of(dataset.name, part), dataset.part_types(part)
        with self._views.reading(DatasetsView) as view:
            was_widened = view.was_widened(dataset.name)
        if not was_widened:
            # What commands write, and retired models had captured, is stored by the record, which keeps no
            # order of columns.
            with suppress(pl.exceptions.SchemaError, pl.exceptions.InvalidOperationError):
                return self._columns.scan(table, segments).collect()
        batches = self._columns.batches(table, segments)
        return pl.concat([in_shape(rows, types).select(list(types)) for rows in batches])

    def segments(self, dataset: Dataset, part: str) -> Iterator[tuple[str, pl.DataFrame]]:
        """Yield the name and the rows of each batch of a part, in the order in which they came."""
        names, types = list(dataset.columns(part)), dataset.part_types(part)
        extents = [one for one in self.extents(dataset, part) if one.n_rows]
        require_warm(dataset.name, extents)
        batches = self._columns.batches(table_of(dataset.name, part), digests(extents), segment_as=SEGMENT)
        for rows in batches:
            for segment, own in stretches(rows):
                yield segment, in_shape(own, types).select(names)

    def n_rows_upto(self, dataset: Dataset, part: str, extent: Extent, version: int) -> int:
        """Return how many rows of an extent, the first ones, had come by a version."""
        if extent.last_number <= version:
            return extent.n_rows
        if extent.counts:
            return extent.n_left_upto(version)
        if not extent.is_file:
            return 0
        with self._warm(dataset, part, [extent]):
            listed = self._columns.listed(table_of(dataset.name, part), extent.name)
        return sum(one.n_rows for one in listed[: extent.n_upto(version)])

    def rows_in(self, dataset: Dataset, part: str, extent: Extent) -> pl.DataFrame:
        """Return the rows of one extent as they are stored, in the columns of the part."""
        return self._rows_of_extents(dataset, part, [extent]).select(dataset.columns(part))

    def rows_put_aside(self, held: Quarantined) -> pl.DataFrame:
        """Return all rows of a batch that were put aside.

        Raises
        ------
        Corrupt
            If they are not what was stored.
        """
        table = quarantine_of(held.dataset, held.part)
        rows = self._columns.scan(table, {held.stored or held.segment: Digest("")}).collect()
        if held.kept and self.keyed(rows_digest(rows)) != held.kept:
            name = f"columns/{table}/{held.segment}"
            raise Corrupt("file", name, "does not hold the rows that were put aside", hint=RESTORE)
        return rows


def copies_in(columns: Columns, table: str, held: Catalogue, name: str) -> list[str]:
    """Return the segments of a compacted file, if it is there, that may have files of their own which nothing
    names: a compaction leaves them to the next one, and that asks the file what they are.
    """
    if not name.startswith(COMPACTED) or columns.file_of(table, name) is None:
        return []
    named = {one.name for one in held.stored() if not one.removed_by}
    return [one.segment for one in columns.listed(table, name) if one.segment not in named]
