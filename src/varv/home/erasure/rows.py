"""The tables of a home that hold rows of a dataset's subjects: how many each holds, and how they go.

All of it may be done again after a crash: what has gone is not found any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from varv.data import Datasets, DatasetsView
from varv.data.cold import require_warm
from varv.data.identity import keys_of
from varv.data.kept_contracts import texts_table
from varv.data.privacy.model import QuarantineErased
from varv.data.quarantined import REASON, quarantine_of
from varv.data.registered import registered_dataset
from varv.data.shape import span_of
from varv.data.versions import stream_of, table_of
from varv.data.versions.model import AddedSegment, DatasetRewritten, DatasetVacuumed
from varv.home.erasure.marks import MadeFrom, marks_of
from varv.home.erasure.subject import Subject, texts_of
from varv.kernel.catalogue import Extent, digests
from varv.kernel.codec import Event
from varv.kernel.columns import Columns
from varv.kernel.content import rows_digest
from varv.kernel.faults import Faults
from varv.kernel.ids import Version
from varv.kernel.sagas import Fact
from varv.kernel.secret import Secret
from varv.kernel.segment_files import COMPACTED
from varv.kernel.views import Views

ERASED = "erased"
"""The reason of a row in quarantine that has no values any more."""
_AGAIN = ".erased-"


class Store(NamedTuple):
    """What holds rows of datasets."""

    datasets: Datasets
    columns: Columns
    views: Views
    secret: Secret
    faults: Faults


class SubjectRows:
    """The rows of one subject in the tables of its dataset, or of one that was made from it.

    Parameters
    ----------
    store
        Of a home that nobody else writes to.
    subject
        Whose rows; its keys are looked for by `find_keys`, and used by all else.
    suspects
        Places where a search found something: a file may hold what none of its rows says, in the memory that
        it was written from.
    made
        The dataset that was made from that of the subject; by default its rows in its own are meant.
    """

    def __init__(
        self,
        store: Store,
        subject: Subject,
        suspects: Collection[str] = (),
        made: MadeFrom | None = None,
    ) -> None:
        self._store = store
        self._subject = subject
        self._suspects = suspects
        self.dataset = registered_dataset(store.views, subject.dataset if made is None else made.dataset)
        self._keys = subject.row_keys(self.dataset)
        self._marks = marks_of(subject, self.dataset, store.views, made)

    @property
    def keys(self) -> pl.DataFrame:
        """The keys of the rows."""
        return self._keys

    @property
    def keys_as_text(self) -> pl.Series:
        """The keys of the rows as requests are known by."""
        return keys_of(self.dataset.key, self._keys)

    def find_keys(self) -> pl.DataFrame:
        """Return the keys of all rows that are of the subject, of every version and in quarantine."""
        found = [self._keys]
        for part in self.dataset.parts:
            several = [rows for _, rows in self._extents(part)] + [rows for *_, rows in self._held(part)]
            for rows in several:
                if set(self.dataset.key) <= set(rows.columns):
                    hits = rows.filter(self._is_theirs(rows)).select(self.dataset.key)
                    found.append(hits.cast(self._keys.schema, strict=False))
        return pl.concat(found).drop_nulls().unique().sort(self.dataset.key)

    def n_rows(self) -> dict[str, int]:
        """Return how many rows of the subject each table holds, of versions of before too."""
        found: dict[str, int] = {}
        for part in self.dataset.parts:
            counts = {
                table_of(self.dataset.name, part): sum(
                    int(self._is_theirs(rows).sum()) for _, rows in self._extents(part)
                ),
                quarantine_of(self.dataset.name, part): sum(
                    int(self._is_theirs(rows).sum()) for _, _, rows in self._held(part)
                ),
            }
            found |= {table: n for table, n in counts.items() if n}
        return found

    def spans(self) -> list[tuple[int, int]]:
        """Return from which version on, and up to before which, files with rows of the subject counted; 0 for
        those that count now.
        """
        return [
            (one.number, one.gone)
            for part in self.dataset.parts
            for one, rows in self._extents(part)
            if self._is_theirs(rows).any()
        ]

    def erase(self) -> None:
        """Let the rows go: out of the present version, out of every file of those before, out of quarantine
        and out of what contracts say a column may hold.
        """
        # A home of before may hold compacted files that are on no record; from here on none does.
        datasets = self._store.datasets
        datasets.commit(datasets.compact(self.dataset))
        # A move of files that a crash cut short may have left one in the archive that is on no record.
        with self._store.views.reading(DatasetsView) as view:
            on_record = view.in_archives()
        datasets.cold.settle(on_record)
        for part in self.dataset.parts:
            self._rewrite(part)
        self._vacuum()
        for part in self.dataset.parts:
            self._erase_strays(part)
            self._erase_held(part)
            self._erase_texts(part)
        self._store.datasets.forget()

    def _is_theirs(self, rows: pl.DataFrame) -> pl.Series:
        """Return which rows are of the subject: by its value, or by the key of a row that has it."""
        return self._marks.in_rows(rows)

    def _is_suspect(self, part: str, name: str) -> bool:
        place = f"columns/{table_of(self.dataset.name, part)}/{name}"
        return any(path.rpartition(".")[0] == place for path in self._suspects)

    def _extents(self, part: str) -> Iterator[tuple[Extent, pl.DataFrame]]:
        """Yield every extent whose file is there, with its rows."""
        with self._store.views.reading(DatasetsView) as view:
            held = view.catalogue(self.dataset.name, part)
            extents = held.stored()
        # An archive cannot be searched, and a file in it cannot be written again.
        require_warm(self.dataset.name, extents)
        for one in extents:
            if not one.removed_by:
                # As they are stored: the record of a dataset keeps no order of columns.
                [rows] = self._store.columns.batches(table_of(self.dataset.name, part), digests([one]))
                yield one, rows

    def _rewrite(self, part: str) -> None:
        """Make a version of the part without the rows, if there are any in the present one."""
        version = Version(self._store.datasets.version(self.dataset) + 1)
        removed, added = list[Extent](), list[AddedSegment]()
        remains, counts, n_lost = dict[str, str](), dict[str, tuple[int, ...]](), 0
        for one, rows in self._extents(part):
            theirs = self._is_theirs(rows)
            is_suspect = self._is_suspect(part, one.name)
            if one.gone or not (theirs.any() or is_suspect):
                continue
            removed.append(one)
            n_lost += int(theirs.sum())
            if not theirs.all():
                rest = rows.filter(~theirs)
                rest = pl.DataFrame(rest.rows(), schema=rest.schema, orient="row") if is_suspect else rest
                added.append(self._put(part, f"erased-{version:09d}.{len(added):04d}", rest))
                remains[one.name] = added[-1].name
                counts |= self._counts(part, one.name, ~theirs, self._sizes(part, one))
        if removed:
            event = DatasetRewritten(
                dataset=self.dataset.name,
                part=part,
                cause="erasure",
                removed=tuple(one.name for one in removed),
                added=tuple(added),
                why=self._subject.erasure,
                n_removed=sum(one.n_rows for one in removed),
                n_lost=n_lost,
                remains=remains,
                counts=counts,
            )
            self._commit(event)

    def _sizes(self, part: str, one: Extent) -> list[int]:
        """Return how many rows each segment of a file has; nothing for a segment that lies alone."""
        table = table_of(self.dataset.name, part)
        return [held.n_rows for held in self._store.columns.listed(table, one.name)] if one.is_file else []

    def _counts(
        self, part: str, name: str, stays: pl.Series, sizes: Sequence[int] = ()
    ) -> dict[str, tuple[int, ...]]:
        """Return by part and file of many segments whose rows lie in an extent how many stay of each.

        Parameters
        ----------
        sizes
            Of the segments in the extent itself.
        """
        with self._store.views.reading(DatasetsView) as view:
            before = view.catalogue(self.dataset.name, part).left_in(name)
        every = {one.name: one.sizes for one in before} | ({name: sizes} if sizes else {})
        total = np.concatenate([[0], np.cumsum(stays.to_numpy())])
        return {
            f"{part}/{name}": tuple(np.diff(total[np.concatenate([[0], np.cumsum(several)])]).tolist())
            for name, several in every.items()
        }

    def _moved_in(
        self, part: str, one: Extent, rows: pl.DataFrame, stays: pl.Series
    ) -> Iterator[tuple[str, pl.DataFrame, pl.Series]]:
        """Yield the segments in a file that hold what is left of extents of before: the name, the rows, and
        which of these stay.
        """
        if not one.is_file:
            return
        with self._store.views.reading(DatasetsView) as view:
            moved = view.catalogue(self.dataset.name, part).moved()
        first = 0
        for held in self._store.columns.listed(table_of(self.dataset.name, part), one.name):
            if held.segment in moved:
                yield held.segment, rows.slice(first, held.n_rows), stays.slice(first, held.n_rows)
            first += held.n_rows

    def _put_left(self, part: str, of: Extent, rows: pl.DataFrame) -> AddedSegment:
        """Store rows that no version counts on any more."""
        return self._put(part, f"left-{of.number:09d}", rows)

    def _put(self, part: str, name: str, rows: pl.DataFrame) -> AddedSegment:
        """Store rows under a name that begins so, and ends with what they are."""
        content = rows_digest(rows)
        name = f"{name}.{content[:16]}"
        self._store.columns.append(table_of(self.dataset.name, part), name, rows, content=content)
        first, last = span_of(rows, part)
        return AddedSegment(name=name, n_rows=rows.height, digest=content, first=first, last=last)

    def _vacuum(self) -> None:
        """Remove every file that holds one of the rows; no version that counts needs one any more."""
        datasets, spent = self._store.datasets, dict[str, list[Extent]]()
        left: dict[str, AddedSegment] = {}
        counts: dict[str, tuple[int, ...]] = {}
        datasets.finish_vacuum(self.dataset)
        for part in self.dataset.parts:
            for one, rows in self._extents(part):
                theirs = self._is_theirs(rows)
                if not one.gone or not (theirs.any() or self._is_suspect(part, one.name)):
                    continue
                spent.setdefault(part, []).append(one)
                if not one.remains and not theirs.all():
                    left[f"{part}/{one.name}"] = self._put_left(part, one, rows.filter(~theirs))
                    counts |= self._counts(part, one.name, ~theirs, self._sizes(part, one))
                for name, own, stays in self._moved_in(part, one, rows, ~theirs):
                    left[f"{part}/{name}"] = self._put_left(part, one, own.filter(stays))
                    counts |= self._counts(part, name, stays)
        if not spent:
            return
        event = DatasetVacuumed(
            dataset=self.dataset.name,
            files={part: tuple(one.name for one in several) for part, several in spent.items()},
            because=f"rows of a subject lay in them ({self._subject.erasure})",
            n_rows=sum(one.n_rows for several in spent.values() for one in several),
            erasure=self._subject.erasure,
            left=left,
            counts=counts,
        )
        self._commit(event)
        datasets.finish_vacuum(self.dataset)

    def _erase_strays(self, part: str) -> None:
        """Remove files of rows that nothing names: a compaction leaves some, a crash others."""
        table = table_of(self.dataset.name, part)
        columns = self._store.columns
        with self._store.views.reading(DatasetsView) as view:
            held = view.catalogue(self.dataset.name, part)
            named = {one.name for one in held.stored() if not one.removed_by}
        files = columns.files(table)
        elsewhere = named.difference(files)
        strays = [name for name in files if name not in named]
        # What an entry names and has no file of its own lies in one that is not on record: that stays.
        needed = {
            name
            for name in strays
            if name.startswith(COMPACTED)
            and not elsewhere.isdisjoint(one.segment for one in columns.listed(table, name))
        }
        columns.remove(table, set(strays) - needed)

    def _held(self, part: str) -> Iterator[tuple[str, str, pl.DataFrame]]:
        """Yield the batches in quarantine that have a file, settled ones too: the name of each, that of the
        segment that holds it, and its rows.
        """
        table = quarantine_of(self.dataset.name, part)
        for segment in self._store.columns.segments(table):
            [rows] = self._store.columns.batches(table, [segment])
            yield segment.partition(_AGAIN)[0], segment, rows

    def _erase_held(self, part: str) -> None:
        table = quarantine_of(self.dataset.name, part)
        for batch, segment, rows in list(self._held(part)):
            with self._store.views.reading(DatasetsView) as view:
                last = view.arrivals.erased_from.get((self.dataset.name, part, batch), batch)
            theirs = self._is_theirs(rows)
            if segment == last and theirs.any():
                self._blank(table, part, (batch, segment), rows, theirs)
            if segment != last or theirs.any():
                self._store.columns.remove(table, [segment])

    def _blank(
        self, table: str, part: str, names: tuple[str, str], rows: pl.DataFrame, theirs: pl.Series
    ) -> None:
        """Store a batch in quarantine once more, with rows of the subject without values."""
        batch, segment = names
        if REASON not in rows.columns:
            rows = rows.with_columns(pl.lit(None, pl.String).alias(REASON))
        nothing = tuple(ERASED if name == REASON else None for name in rows.columns)
        pairs = zip(rows.iter_rows(), theirs, strict=True)
        # Row by row: a value that is only masked as null is still in the file.
        left = [nothing if is_theirs else row for row, is_theirs in pairs]
        into = f"{batch}{_AGAIN}{self._subject.erasure}"
        blanked = pl.DataFrame(left, schema=rows.schema, orient="row")
        stored = self._store.columns.append(table, into, blanked)
        event = QuarantineErased(
            dataset=self.dataset.name,
            part=part,
            segment=batch,
            into=into,
            rows=tuple(theirs.arg_true().to_list()),
            n_rows=rows.height,
            digest=self._store.secret.digest(stored.encode()),
            erasure=self._subject.erasure,
            before=segment,
        )
        self._commit(event)

    def _erase_texts(self, part: str) -> None:
        """Remove lists of what a column may hold that have the subject's value; the rest is checked on."""
        table = texts_table(self.dataset.name, part)
        for segment in self._store.columns.segments(table):
            [rows] = self._store.columns.batches(table, [segment])
            if rows.select(texts_of("value").is_in(list(self._subject.texts))).to_series().any():
                self._store.columns.remove(table, [segment])

    def _commit(self, event: Event) -> None:
        self._store.datasets.commit([Fact(stream_of(self.dataset.name), event)])
        self._store.faults.reach("erasure.after_rows")
