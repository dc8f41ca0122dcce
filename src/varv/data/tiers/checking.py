"""Compares archived files with what the ledger says of them, for `varv verify`: each is read, where it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import NamedTuple

from varv.data.cold import ColdFiles
from varv.data.cold.places import FOLDER
from varv.data.versions import table_of
from varv.data.versions.model import ArchivedFile, SegmentsArchived, SegmentsRestored
from varv.kernel.audit import Named
from varv.kernel.codec import Event
from varv.kernel.errors import Corrupt, FailedPrecondition, NotFound, Unavailable


class ArchiveFlaw(NamedTuple):
    """An archived file that is not what was put there."""

    place: str
    problem: str
    expected: str
    found: str


class _Archived(NamedTuple):
    """A file in an archive: what the rows in it are, and its segments as the ledger names them."""

    place: str
    file: ArchivedFile
    by: str
    named: dict[str, Named]


class Moves:
    """Which files are in an archive, as the ledger is walked over.

    Parameters
    ----------
    tables
        By table and segment, what is to be in the columns; what is moved goes from there, and comes back.
    compacted
        By table and compacted file, the segments in it.
    """

    def __init__(
        self,
        tables: MutableMapping[str, dict[str, Named]],
        compacted: Mapping[str, Mapping[str, tuple[str, ...]]],
    ) -> None:
        self._tables, self._compacted = tables, compacted
        self._archived: dict[str, dict[str, _Archived]] = {}

    def take(self, event: Event) -> None:
        """Take in an event; those that move no file are passed over."""
        if not isinstance(event, SegmentsArchived | SegmentsRestored):
            return
        for part, several in event.files.items():
            table = table_of(event.dataset, part)
            held, cold = self._tables.setdefault(table, {}), self._archived.setdefault(table, {})
            for file in several:
                if isinstance(event, SegmentsRestored):
                    held |= cold.pop(file.name).named
                    continue
                segments = self._compacted.get(table, {}).get(file.name, (file.name,))
                named = {one: held.pop(one) for one in segments if one in held}
                by = next((one.by for one in named.values()), f"rows of dataset {event.dataset}")
                cold[file.name] = _Archived(event.place, file, by, named)

    def forget(self, table: str, names: Iterable[str]) -> None:
        """Take in that files were removed, wherever they were."""
        for name in names:
            self._archived.get(table, {}).pop(name, None)

    def flaws(self, home: Path) -> Iterator[ArchiveFlaw]:
        """Yield the files that are not in the archives of a home as they were put there."""
        cold = ColdFiles(home)
        for one in (one for several in self._archived.values() for one in several.values()):
            digest = one.file.digest
            place, expected = f"{one.place or FOLDER}/{digest[:2]}/{digest[2:]}", f"digest {digest[:12]}"
            try:
                for _ in cold.archive(one.place).chunks(digest):
                    pass
            except NotFound:
                yield ArchiveFlaw(place, f"is missing; it is {one.by}", expected, "no file")
            except (Corrupt, Unavailable, FailedPrecondition) as error:
                found = str(error.facts.get("found", error.facts.get("why", "nothing")))
                yield ArchiveFlaw(place, f"{error.problem}; it is {one.by}", expected, found)
