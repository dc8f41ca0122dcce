"""Carrying erasures out, on a home that nobody else writes rows to: none serves it, or its server holds
still.

Every step may be done again, so a process that is killed leaves nothing that the next one does not finish:
`varv erase`, or the next start of the server.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from varv.data import Datasets
from varv.data.profiling.keeping import FOLDER as PROFILES
from varv.features.online.materialising import Materialiser
from varv.features.online.ports import KeyValue
from varv.home.erasure.held import Held
from varv.home.erasure.model import (
    ErasureFound,
    ErasureProven,
    ErasureRequested,
    ErasureSearched,
    stream_of,
)
from varv.home.erasure.online import OnlineStore
from varv.home.erasure.results import erase_results
from varv.home.erasure.rows import Store
from varv.home.erasure.rules import next_step
from varv.home.erasure.searching import Search, search
from varv.home.erasure.subject import Subject, Subjects, subject_of
from varv.home.erasure.views import ErasureRecord, ErasuresView
from varv.kernel.clock import Clock
from varv.kernel.codec import Event
from varv.kernel.errors import Corrupt, FailedPrecondition
from varv.kernel.faults import Faults
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ledger import Append, Change, Ledger
from varv.kernel.secret import SECRET_FILE, Secret
from varv.kernel.snapshots import SNAPSHOTS
from varv.kernel.subject_keys import SubjectKeys
from varv.kernel.views import Views

CAPTURES = "capture"
_MADE_ANEW = (SNAPSHOTS, PROFILES, "staged")
"""Folders of what follows from rows: made by the next start, the next round, the next command."""


class Erasures:
    """The erasures of one home.

    Parameters
    ----------
    home
        The folder.
    ledger, views, clock
        Of that home, which this process owns; all views of a home are there.
    faults
        Where a crash may be tried.
    online
        The online store of the home; what it holds is named as left if it is None.
    """

    def __init__(
        self,
        home: Path,
        ledger: Ledger,
        views: Views,
        clock: Clock,
        faults: Faults | None = None,
        online: KeyValue | None = None,
    ) -> None:
        self._home = home
        self._ledger = ledger
        self._views = views
        self._clock = clock
        secret, self._faults = Secret(home / SECRET_FILE), faults or Faults()
        columns = FolderColumns(home / "columns", faults=self._faults)
        datasets = Datasets(ledger, columns, clock, views, secret)
        self._store = Store(datasets, columns, views, secret, self._faults)
        self._keys = secret.purposes
        self._subjects = Subjects(self._keys)
        self._online: OnlineStore | None = None
        if online is not None:
            filler = Materialiser(datasets, views, online, clock, datasets.commit, self._faults)
            self._online = OnlineStore(online, filler)

    def request(
        self, dataset: str, column: str, value: str, *, by: str, why: str = "", is_served: bool = False
    ) -> str:
        """Put on record that the rows of a subject are to go, and return what the erasure is called. One that
        is under way for the same subject is the same.

        Parameters
        ----------
        is_served
            Whether a server ingests what is captured before it is carried out.

        Raises
        ------
        NotFound
            If there is no such dataset or column.
        FailedPrecondition
            If the column identifies nobody, or rows were captured that nobody ingests.
        """
        if not is_served:
            self._require_ingested()
        known = self._store.datasets.registered(dataset)
        with self._views.reading(ErasuresView) as view:
            under_way, number = view.open(), len(view.of) + 1
        subject = subject_of(known, column, value, self._keys, f"e{number}")
        for other in self._subjects.all():
            if other.is_same(subject) and other.erasure in under_way:
                return other.erasure
        # First the file: an erasure on record whose subject nobody knows could never be finished.
        self._subjects.keep(subject)
        self._faults.reach("erasure.after_subject")
        event = ErasureRequested(
            erasure=subject.erasure,
            dataset=dataset,
            column=column,
            subject=subject.digest,
            by=by,
            why=why,
        )
        self._commit(event, subject.erasure)
        return subject.erasure

    def carry(self, erasure: str) -> ErasureRecord:
        """Do what an erasure has left to do; return what the ledger says of it then. It is not proven if
        something is left that is not ours to remove, which the last search names.

        Raises
        ------
        Corrupt
            If the file of the subject is gone before the erasure was proven.
        """
        suspects = tuple[str, ...]()
        for _ in range(2):
            if self._is_over(self.record(erasure)):
                return self.conclude(erasure)
            self.erase(erasure, suspects)
            record = self.conclude(erasure)
            suspects = () if record.searched is None else self._suspects(erasure, record)
            if not suspects:
                return record
        return self.record(erasure)

    def erase(self, erasure: str, suspects: Collection[str] = ()) -> None:
        """Find the rows, and let them go, and all that follows from them, if that is not done; nothing is
        proven yet.

        Parameters
        ----------
        suspects
            Files where a search found something, that are written once more.

        Raises
        ------
        Corrupt
            If the file of the subject is gone before the erasure was proven.
        """
        record = self.record(erasure)
        if self._is_over(record):
            return
        subject = self._subject(erasure)
        if record.found is None:
            subject = self._find(subject)
        self._erase(subject, suspects)

    def conclude(self, erasure: str) -> ErasureRecord:
        """Search for what is left; if nothing is, destroy the keys and state the proof. Return what the
        ledger says then.
        """
        record = self.record(erasure)
        if not self._is_over(record):
            self._search(self._subject(erasure))
        while True:
            record = self.record(erasure)
            step = next_step(record, has_key=self._subjects.of(erasure) is not None)
            if step == "destroy":
                self._subjects.destroy(erasure)
                self._faults.reach("erasure.after_key")
            elif step == "prove":
                self._prove(record)
            else:
                return record

    def finish(self) -> list[ErasureRecord]:
        """Carry on with all erasures that are not proven, and return them as they are then."""
        under_way = self.under_way()
        if not under_way:
            return []
        self._require_ingested()
        return [self.carry(erasure) for erasure in under_way]

    def under_way(self) -> list[str]:
        """Return the erasures that are not proven."""
        with self._views.reading(ErasuresView) as view:
            found, every = view.open(), set(view.of)
        for subject in self._subjects.all():
            if subject.erasure not in every:
                # Its request never came on record, and whoever made it was not told that it had.
                self._subjects.destroy(subject.erasure)
        return found

    def record(self, erasure: str) -> ErasureRecord:
        """Return what the ledger says of an erasure."""
        with self._views.reading(ErasuresView) as view:
            return view.of[erasure]

    def _is_over(self, record: ErasureRecord) -> bool:
        """Whether a search found nothing, after which nothing is erased or searched any more."""
        return record.proven is not None or record.is_clean

    def _subject(self, erasure: str) -> Subject:
        subject = self._subjects.of(erasure)
        if subject is None:
            hint = "ask for the erasure again; this one can never be proven"
            raise Corrupt("erasure", erasure, "has lost the file of its subject", hint=hint)
        return subject

    def _held(self, subject: Subject, suspects: Collection[str] = ()) -> Held:
        return Held(self._store, self._ledger, subject, self._online, suspects)

    def _find(self, subject: Subject) -> Subject:
        """Put on record what there is of the subject, and where; return the subject with the keys of its
        rows.
        """
        subject = self._held(subject).with_keys()
        self._subjects.keep(subject)
        held = self._held(subject)
        found = self._looked(subject)
        event = ErasureFound(
            erasure=subject.erasure,
            n_rows=held.n_rows(),
            models=held.trained_on(),
            digests=held.digests(),
            places=_by_folder(found.places) | held.online(),
        )
        self._commit(event, subject.erasure)
        return subject

    def _erase(self, subject: Subject, suspects: Collection[str]) -> None:
        # First what would make the rest readable again: from here on no copy of it is, wherever it lies.
        self._subject_keys().destroy(subject.owners)
        self._faults.reach("erasure.after_owners")
        held = self._held(subject, suspects)
        held.erase()
        for name in _MADE_ANEW:
            shutil.rmtree(self._home / name, ignore_errors=True)
        self._faults.reach("erasure.after_files")
        erase_results(self._home, self._ledger, subject.needles())
        held.refill()
        self._faults.reach("erasure.after_online")

    def _subject_keys(self) -> SubjectKeys:
        return self._keys.subjects

    def _looked(self, subject: Subject) -> Search:
        needles = subject.needles()
        return search(self._home, needles) if needles else Search(0, 0, {})

    def _search(self, subject: Subject) -> None:
        """Put on record what a search of the home finds."""
        found, held = self._looked(subject), self._held(subject)
        left = {_masked(place, subject): n for place, n in found.places.items()}
        left |= held.n_rows() | held.n_online()
        event = ErasureSearched(
            erasure=subject.erasure,
            n_files=found.n_files,
            n_bytes=found.n_bytes,
            left=left,
            by_value=bool(subject.needles()),
        )
        self._commit(event, subject.erasure)

    def _suspects(self, erasure: str, record: ErasureRecord) -> tuple[str, ...]:
        """Return what a search found, if there are files of rows among it."""
        left = () if record.searched is None else tuple(record.searched.left)
        has_rows = any(place.startswith("columns/data/") for place in left)
        return left if has_rows and self._subjects.of(erasure) is not None else ()

    def _prove(self, record: ErasureRecord) -> None:
        assert record.found is not None, "it was found before it was searched for"
        assert record.searched is not None, "only a clean search leads here"
        datasets = [self._store.datasets.registered(name) for name in record.found.digests]
        event = ErasureProven(
            erasure=record.requested.erasure,
            n_rows=record.found.n_rows,
            models=record.found.models,
            before=record.found.digests,
            after={one.name: self._store.datasets.digest(one) for one in datasets},
            n_files=record.searched.n_files,
            places={place: _done_at(place) for place in (*record.found.n_rows, *record.found.places)},
        )
        self._commit(event, event.erasure)

    def _require_ingested(self) -> None:
        """Refuse while rows lie in captures: nobody could say whose they are without the declaration."""
        left = [path for path in (self._home / CAPTURES).glob("*/*.jsonl") if path.stat().st_size]
        if left:
            hint = "start varv up; it ingests them, and erases while it serves"
            problem = "has captured rows that are not ingested"
            raise FailedPrecondition("home", self._home.name, problem, n_files=len(left), hint=hint)

    def _commit(self, event: Event, erasure: str) -> None:
        self._ledger.commit(Change(at=self._clock.now(), facts=(Append(stream_of(erasure), event),)))
        self._faults.reach("erasure.after_entry")


_DONE = {
    "data": "written again without them, and the files of before removed",
    "predictions": "written again without them, and the files of before removed",
    "quarantine": "rows kept without values",
    "labels": "forgotten",
    "online": "filled anew",
    "keys": "destroyed",
    "columns": "written again without them, and the files of before removed",
    "cache": "removed",
    "blobs": "results that no entry names removed",
    **dict.fromkeys(_MADE_ANEW, "removed, and made anew when it is needed"),
}


def _done_at(place: str) -> str:
    """Return in words what became of what was found at a place."""
    return _DONE.get(place.partition("/")[0], "removed by hand")


def _by_folder(places: dict[str, int]) -> dict[str, int]:
    """Return how often the subject was in each folder of the home; files of it itself are one place."""
    found: dict[str, int] = {}
    for place, n in places.items():
        folder, mark, _ = place.partition("/")
        name = folder if mark else "files"
        found[name] = found.get(name, 0) + n
    return found


def _masked(place: str, subject: Subject) -> str:
    """Return a place without what it says of the subject: a file may be named after somebody."""
    lowered = place.lower()
    for text in subject.needles():
        if (at := lowered.find(text.lower())) >= 0:
            return f"{place[:at]}…{place[at + len(text) :]}"
    return place
