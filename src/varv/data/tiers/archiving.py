"""Moving files of rows between the columns and an archive.

A file is copied first, byte by byte; then the ledger says where it is; only then one of the two goes. A crash
leaves it in both places at most, and the next move finishes that. While files are copied others may write to
the dataset: what is put on record is what is still so then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from varv.data.cold import ColdFiles
from varv.data.cold.files import checked_rows
from varv.data.dataset import Dataset
from varv.data.stored import copies_in
from varv.data.tiers.due import Due, Reached, due
from varv.data.versions import stream_of, table_of
from varv.data.versions.model import ArchivedFile, SegmentsArchived, SegmentsRestored
from varv.data.views import DatasetsView
from varv.kernel.catalogue import Extent
from varv.kernel.clock import DAY, Clock, Duration, Instant, iso
from varv.kernel.columns import Columns
from varv.kernel.errors import Corrupt, Unavailable
from varv.kernel.faults import Faults
from varv.kernel.sagas import Fact
from varv.kernel.segment_files import RESTORE
from varv.kernel.views import Views

FILES_AT_ONCE = 64
BYTES_AT_ONCE = 1 << 30
"""So much is put on record together: what a crash has to copy again."""
STAYS = Duration(7 * DAY)
"""How long what was restored stays, unless it is said."""


class Moved(NamedTuple):
    """What was moved: files, rows and bytes; and what kept files with rows old enough."""

    n_files: int
    n_rows: int
    n_bytes: int
    kept: Mapping[str, int] = {}

    def plus(self, n_files: int, n_rows: int, n_bytes: int) -> Moved:
        """Return it with more."""
        return Moved(self.n_files + n_files, self.n_rows + n_rows, self.n_bytes + n_bytes, self.kept)


class Tiers:
    """The tiers of the datasets of one home.

    Parameters
    ----------
    columns, cold
        Where rows are warm, and cold.
    place
        The archive that files go into from now on, as `data.cold.require_place` gave it.
    reached
        What looks at rows by itself.
    commit
        Puts facts on record.
    alone
        Held while they are, and while a file goes: nothing else is written to datasets meanwhile.
    """

    def __init__(
        self,
        columns: Columns,
        cold: ColdFiles,
        views: Views,
        clock: Clock,
        commit: Callable[[Sequence[Fact]], object],
        *,
        place: str = "",
        reached: Reached = lambda _: (),
        alone: AbstractContextManager[Any] | None = None,
        faults: Faults | None = None,
    ) -> None:
        self._columns, self._cold, self._views, self._clock = columns, cold, views, clock
        self._commit, self._place, self._reached = commit, place, reached
        self._alone = nullcontext() if alone is None else alone
        self._faults = faults or Faults()
        self._one_at_a_time = threading.Lock()

    def due(self, dataset: Dataset, before: Instant, *, held_back: bool = False) -> Due:
        """Return what may be archived; see `due.due`."""
        reached, now = self._reached(dataset.name), self._clock.now()
        with self._views.reading(DatasetsView) as view:
            return due(dataset, view, reached, before=before, now=now, held_back=held_back)

    def n_bytes(self, dataset: Dataset, extents: Mapping[str, Sequence[Extent]]) -> int:
        """Return how many bytes the files of extents have, wherever they are."""
        return sum(self._size(dataset, part, one) for part, several in extents.items() for one in several)

    def archive(
        self,
        dataset: Dataset,
        before: Instant,
        *,
        by: str = "",
        held_back: bool = False,
        ends: Callable[[], bool] = lambda: False,
    ) -> Moved:
        """Archive the files all of whose rows are from before an instant, as far as nothing looks at them.

        Parameters
        ----------
        held_back
            Whether files that somebody had restored stay as long as that says.
        ends
            Returns whether to leave the rest for another time.

        Raises
        ------
        Corrupt
            If a file is not what was stored; it stays where it is.
        Unavailable, StorageFull
            If the archive does not take them.
        """
        with self._moving(dataset):
            found = self.due(dataset, before, held_back=held_back)
            moved = Moved(0, 0, 0, found.kept)
            for some in _portions(found.extents, lambda part, one: self._size(dataset, part, one)):
                if ends():
                    break
                still = partial(self.due, dataset, before, held_back=held_back)
                because = f"all from before {iso(before)[:19]}"
                moved = moved.plus(*self._archive(dataset, some, still, because, by))
        return moved

    def cold(
        self, dataset: Dataset, since: Instant | None = None, until: Instant | None = None
    ) -> dict[str, list[Extent]]:
        """Return what is archived, by part, and may hold rows of [since, until)."""
        with self._views.reading(DatasetsView) as view:
            held = {part: view.catalogue(dataset.name, part) for part in dataset.parts}
        found = {
            part: [one for one in several.ever() if _is_cold(one) and one.reaches(since, until)]
            for part, several in held.items()
        }
        return {part: several for part, several in found.items() if several}

    def restore(
        self,
        dataset: Dataset,
        since: Instant | None = None,
        until: Instant | None = None,
        *,
        stays: Duration = STAYS,
        by: str = "",
        why: str = "",
    ) -> Moved:
        """Bring archived files back that may hold rows of [since, until); all by default.

        Parameters
        ----------
        stays
            How long they are not archived again by themselves.

        Raises
        ------
        NotFound, Corrupt
            If an archive does not hold what was put there.
        Unavailable, StorageFull
            If it cannot be reached, or there is no room.
        """
        moved = Moved(0, 0, 0)
        with self._moving(dataset):
            found = self.cold(dataset, since, until)
            for some in _portions(found, lambda part, one: self._size(dataset, part, one)):
                moved = moved.plus(*self._restore(dataset, some, stays, by, why))
        return moved

    @contextmanager
    def _moving(self, dataset: Dataset) -> Generator[None]:
        """Let one move follow the other, each after what a crash has left of the one before."""
        if not self._one_at_a_time.acquire(blocking=False):
            hint = "try again when it is done"
            raise Unavailable("archive", dataset.name, "is busy: other files are being moved", hint=hint)
        try:
            self.finish(dataset)
            yield
        finally:
            self._one_at_a_time.release()

    def finish(self, dataset: Dataset) -> None:
        """Remove files from where the ledger says that they are not any more: a crash has left them there."""
        with self._alone:
            for part, several in self.cold(dataset).items():
                for one in several:
                    self._remove_warm(dataset, part, one)
        with self._views.reading(DatasetsView) as view:
            restored = view.history(dataset.name).restored
        self._settle()
        if restored is not None:
            self._drop(restored)

    def _restore(
        self, dataset: Dataset, some: Sequence[tuple[str, Extent]], stays: Duration, by: str, why: str
    ) -> tuple[int, int, int]:
        """Restore some files of one archive, and return how many they were, and how many rows and bytes."""
        files = [(part, self._brought_back(dataset, part, one)) for part, one in some]
        event = SegmentsRestored(
            dataset=dataset.name,
            place=_place_of(some[0][1]),
            files=_by_part(files),
            stays_until=Instant(self._clock.now() + stays),
            by=by,
            why=why,
            n_rows=sum(one.n_rows for _, one in some),
        )
        with self._alone:
            self._commit([Fact(stream_of(dataset.name), event)])
        self._drop(event)
        return len(files), event.n_rows, sum(file.n_bytes for _, file in files)

    def _archive(
        self,
        dataset: Dataset,
        some: Sequence[tuple[str, Extent]],
        still: Callable[[], Due],
        because: str,
        by: str,
    ) -> tuple[int, int, int]:
        """Archive some files, and return how many they were, and how many rows and bytes.

        Parameters
        ----------
        still
            Returns what may be archived once they are copied: others have gone on meanwhile.
        """
        copied: list[tuple[str, ArchivedFile]] = []
        empty: set[str] = set()
        paths = [self._warm_file(dataset, part, one) for part, one in some]
        self._cold.intend(paths, self._place)
        for (part, one), path in zip(some, paths, strict=True):
            file, nulls = self._copied(path, one)
            copied.append((part, file))
            empty |= nulls if part == dataset.event_time else set()
        with self._alone:
            there = {(part, one.name): one for part, several in still().extents.items() for one in several}
            files = [(part, file) for part, file in copied if (part, file.name) in there]
            gone = [(part, there[part, file.name]) for part, file in files]
            event = SegmentsArchived(
                dataset=dataset.name,
                place=self._place,
                files=_by_part(files),
                because=because,
                by=by,
                n_rows=sum(one.n_rows for _, one in gone),
                empty=tuple(sorted(empty)),
            )
            if files:
                self._commit([Fact(stream_of(dataset.name), event)])
            for part, one in gone:
                self._remove_warm(dataset, part, one)
        self._settle()
        return len(files), event.n_rows, sum(file.n_bytes for _, file in files)

    def _settle(self) -> None:
        """Remove what was copied and could not be put on record."""
        with self._views.reading(DatasetsView) as view:
            on_record = view.in_archives()
        self._cold.settle(on_record)

    def _warm_file(self, dataset: Dataset, part: str, one: Extent) -> Path:
        table = table_of(dataset.name, part)
        path = self._columns.file_of(table, one.name)
        if path is None:
            raise Corrupt("file", f"columns/{table}/{one.name}", "is missing", segment=one.name, hint=RESTORE)
        return path

    def _copied(self, path: Path, one: Extent) -> tuple[ArchivedFile, set[str]]:
        """Copy a file into the archive, once it is compared with what the ledger says of it; return beside it
        the columns that are empty in some of its rows.
        """
        rows = checked_rows(path, one)
        digest, n_bytes = self._cold.keep(path, self._place)
        self._faults.reach("tiers.after_copy")
        file = ArchivedFile(name=one.name, file=path.name, digest=digest, n_bytes=n_bytes)
        return file, {name for name in rows.columns if rows[name].null_count()}

    def _remove_warm(self, dataset: Dataset, part: str, one: Extent) -> None:
        """Remove the file of an archived extent from the columns, if it is there."""
        table = table_of(dataset.name, part)
        if self._columns.file_of(table, one.name) is not None:
            with self._views.reading(DatasetsView) as view:
                held = view.catalogue(dataset.name, part)
                copies = copies_in(self._columns, table, held, one.name)
            self._columns.remove(table, [*copies, one.name])

    def _drop(self, event: SegmentsRestored) -> None:
        """Remove what was restored from its archive, unless another file has the same bytes."""
        self._faults.reach("tiers.before_drop")
        with self._views.reading(DatasetsView) as view:
            on_record = view.in_archives()
        for digest in sorted({one.digest for files in event.files.values() for one in files}):
            if (event.place, digest) not in on_record:
                self._cold.drop(event.place, digest)

    def _brought_back(self, dataset: Dataset, part: str, one: Extent) -> ArchivedFile:
        """Copy an archived file to where it was, and compare it with what the ledger says of it."""
        assert one.cold is not None, "it was chosen for that"
        table, cold = table_of(dataset.name, part), one.cold
        self._columns.put_back(table, cold.file, self._cold.parts(cold))
        path = self._columns.file_of(table, one.name)
        assert path is not None, "it was just put there"
        checked_rows(path, one)
        self._faults.reach("tiers.after_copy")
        return ArchivedFile(name=one.name, file=cold.file, digest=cold.digest, n_bytes=cold.n_bytes)

    def _size(self, dataset: Dataset, part: str, one: Extent) -> int:
        if one.cold is not None:
            return one.cold.n_bytes
        path = self._columns.file_of(table_of(dataset.name, part), one.name)
        return 0 if path is None else path.stat().st_size


def _is_cold(one: Extent) -> bool:
    return one.cold is not None and not one.removed_by


def _portions(
    found: Mapping[str, Sequence[Extent]], size: Callable[[str, Extent], int]
) -> Iterator[list[tuple[str, Extent]]]:
    """Yield what is put on record together, of one archive where it is archived."""
    every = [(part, one) for part, several in found.items() for one in several]
    for _, of_place in groupby(sorted(every, key=lambda pair: _place_of(pair[1])), lambda p: _place_of(p[1])):
        some: list[tuple[str, Extent]] = []
        n_bytes = 0
        for part, one in of_place:
            some.append((part, one))
            n_bytes += size(part, one)
            if len(some) >= FILES_AT_ONCE or n_bytes >= BYTES_AT_ONCE:
                yield some
                some, n_bytes = list[tuple[str, Extent]](), 0
        if some:
            yield some


def _place_of(one: Extent) -> str:
    return "" if one.cold is None else one.cold.place


def _by_part(files: Iterable[tuple[str, ArchivedFile]]) -> dict[str, tuple[ArchivedFile, ...]]:
    found: dict[str, list[ArchivedFile]] = {}
    for part, file in files:
        found.setdefault(part, []).append(file)
    return {part: tuple(several) for part, several in found.items()}
