"""Carrying erasures out, on a home that nobody else has open.

Every step may be done again, so a process that is killed leaves nothing that the next one does not finish:
`varv erase`, or the next start of the server.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from varv.data import Datasets
from varv.data.profiling.keeping import FOLDER as PROFILES
from varv.home.erasure.model import (
    ErasureFound,
    ErasureProven,
    ErasureRequested,
    ErasureSearched,
    stream_of,
)
from varv.home.erasure.requests import SubjectRequests, models_asked_by
from varv.home.erasure.rows import Store, SubjectRows
from varv.home.erasure.rules import next_step
from varv.home.erasure.searching import Search, files_of, n_in, search
from varv.home.erasure.subject import Subject, Subjects, subject_of, with_keys
from varv.home.erasure.views import ErasureRecord, ErasuresView
from varv.kernel.clock import Clock
from varv.kernel.codec import Digest, Event
from varv.kernel.columns import FolderColumns
from varv.kernel.errors import Corrupt, FailedPrecondition
from varv.kernel.faults import Faults
from varv.kernel.ledger import Append, Change, Ledger
from varv.kernel.secret import SECRET_FILE, Secret
from varv.kernel.snapshots import SNAPSHOTS
from varv.kernel.views import Views
from varv.registry import RegistryView
from varv.registry.model import DatasetUse

CAPTURES = "capture"
_BATCH = 1000


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
    """

    def __init__(
        self, home: Path, ledger: Ledger, views: Views, clock: Clock, faults: Faults | None = None
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

    def request(self, dataset: str, column: str, value: str, *, by: str, why: str = "") -> str:
        """Put on record that the rows of a subject are to go, and return what the erasure is called. One that
        is under way for the same subject is the same.

        Raises
        ------
        NotFound
            If there is no such dataset or column.
        FailedPrecondition
            If the column identifies nobody, or rows were captured that are not ingested.
        """
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
        n_searches, suspects = 0, tuple[str, ...]()
        while True:
            record = self.record(erasure)
            subject = self._subjects.of(erasure)
            step = next_step(record, has_key=subject is not None)
            if step == "done" or (n_searches == 2 and not record.is_clean):
                return record
            if step == "destroy":
                self._subjects.destroy(erasure)
                self._faults.reach("erasure.after_key")
            elif step == "prove":
                self._prove(record)
            elif subject is None:
                hint = "ask for the erasure again; this one can never be proven"
                raise Corrupt("erasure", erasure, "has lost the file of its subject", hint=hint)
            elif step == "find":
                self._find(subject)
            else:
                self._erase(subject, suspects)
                suspects = self._search(subject)
                n_searches += 1
                if suspects and not any(place.startswith("columns/data/") for place in suspects):
                    return self.record(erasure)

    def finish(self) -> list[ErasureRecord]:
        """Carry on with all erasures that are not proven, and return them as they are then."""
        with self._views.reading(ErasuresView) as view:
            under_way, every = view.open(), set(view.of)
        for subject in self._subjects.all():
            if subject.erasure not in every:
                # Its request never came on record, and whoever made it was not told that it had.
                self._subjects.destroy(subject.erasure)
        if not under_way:
            return []
        self._require_ingested()
        return [self.carry(erasure) for erasure in under_way]

    def record(self, erasure: str) -> ErasureRecord:
        """Return what the ledger says of an erasure."""
        with self._views.reading(ErasuresView) as view:
            return view.of[erasure]

    def _find(self, subject: Subject) -> None:
        """Put on record how many rows there are, and where."""
        subject = with_keys(subject, SubjectRows(self._store, subject).find_keys())
        self._subjects.keep(subject)
        rows = SubjectRows(self._store, subject)
        counts = rows.n_rows()
        counts |= {one.table: n for one in self._requests(rows) if (n := one.n_rows())}
        event = ErasureFound(
            erasure=subject.erasure,
            n_rows=counts,
            models=self._trained_on(rows),
            digests={subject.dataset: self._store.datasets.digest(rows.dataset)},
        )
        self._commit(event, subject.erasure)

    def _requests(self, rows: SubjectRows) -> list[SubjectRequests]:
        models, keys = models_asked_by(self._store, rows.dataset.name), rows.keys_as_text
        return [SubjectRequests(self._store, model, keys) for model in models]

    def _trained_on(self, rows: SubjectRows) -> tuple[str, ...]:
        """Return the versions of models that were trained from a version with rows of the subject."""
        name, spans = rows.dataset.name, rows.spans()

        def held(use: DatasetUse) -> bool:
            within = (since <= use.version and (not gone or use.version < gone) for since, gone in spans)
            return use.dataset == name and any(within)

        with self._views.reading(RegistryView) as registry:
            return tuple(
                f"{model} v{number}"
                for model, record in sorted(registry.models.items())
                for number, version in sorted(record.versions.items())
                if any(map(held, version.registered.datasets))
            )

    def _erase(self, subject: Subject, suspects: Collection[str]) -> None:
        rows = SubjectRows(self._store, subject, suspects)
        rows.erase()
        for one in self._requests(rows):
            one.erase(subject.erasure)
        # What follows from rows is made anew: by the next start, the next training, the next command.
        for name in (SNAPSHOTS, PROFILES, "staged"):
            shutil.rmtree(self._home / name, ignore_errors=True)
        self._faults.reach("erasure.after_files")
        self._erase_results(subject)

    def _erase_results(self, subject: Subject) -> None:
        """Remove results of steps that hold the subject and that no entry names."""
        needles = [text.lower().encode() for text in subject.needles()]
        blobs = self._home / "blobs"
        held = {Digest(path.parent.name + path.name): path for path in files_of(blobs) if n_in(path, needles)}
        if not held:
            return
        named = set(self._named(held))
        for path in files_of(self._home / "cache"):
            text = path.read_text(errors="replace")
            if any(digest in text for digest in held if digest not in named):
                path.unlink(missing_ok=True)
        for digest, path in held.items():
            if digest not in named:
                path.unlink(missing_ok=True)

    def _named(self, digests: dict[Digest, Path]) -> Iterator[Digest]:
        """Yield those digests that an entry of the ledger holds."""
        position = 0
        while entries := self._ledger.read(position, limit=_BATCH):
            for entry in entries:
                text = entry.data.decode(errors="replace")
                yield from (digest for digest in digests if digest in text)
            position = entries[-1].seq

    def _search(self, subject: Subject) -> tuple[str, ...]:
        """Put on record what a search of the home finds, and return where."""
        needles, rows = subject.needles(), SubjectRows(self._store, subject)
        found = search(self._home, needles) if needles else Search(0, 0, {})
        left = {**found.places, **rows.n_rows()}
        left |= {one.table: n for one in self._requests(rows) if (n := one.n_rows())}
        event = ErasureSearched(
            erasure=subject.erasure,
            n_files=found.n_files,
            n_bytes=found.n_bytes,
            left=left,
            by_value=bool(needles),
        )
        self._commit(event, subject.erasure)
        return tuple(left)

    def _prove(self, record: ErasureRecord) -> None:
        assert record.found is not None, "it was found before it was searched for"
        assert record.searched is not None, "only a clean search leads here"
        dataset = self._store.datasets.registered(record.requested.dataset)
        event = ErasureProven(
            erasure=record.requested.erasure,
            n_rows=record.found.n_rows,
            models=record.found.models,
            before=record.found.digests,
            after={record.requested.dataset: self._store.datasets.digest(dataset)},
            n_files=record.searched.n_files,
        )
        self._commit(event, event.erasure)

    def _require_ingested(self) -> None:
        """Refuse while rows lie in captures: nobody could say whose they are without the declaration."""
        left = [path for path in (self._home / CAPTURES).glob("*/*.jsonl") if path.stat().st_size]
        if left:
            hint = "start varv up, stop it once it serves, and erase then"
            problem = "has captured rows that are not ingested"
            raise FailedPrecondition("home", self._home.name, problem, n_files=len(left), hint=hint)

    def _commit(self, event: Event, erasure: str) -> None:
        self._ledger.commit(Change(at=self._clock.now(), facts=(Append(stream_of(erasure), event),)))
        self._faults.reach("erasure.after_entry")
