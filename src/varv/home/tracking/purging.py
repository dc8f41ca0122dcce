"""Deleting runs and experiments for good: rows, points, artifacts and long texts, not only out of sight.

What the ledger says in short words stays, and so does the entry that says who purged what. A blob is deleted
only if no artifact has it and no entry names it but those of what was purged; whether one does is found by
reading the ledger once, so a purge of one run costs as much as of many.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from varv.home.tracking.desk import TrackingDesk
from varv.kernel.codec import Digest
from varv.kernel.errors import FailedPrecondition, InvalidInput, NotFound
from varv.kernel.ledger import Ledger
from varv.kernel.recorder import Write, Writing
from varv.kernel.verbs import OPERATE, verb
from varv.runs.experiments import ARTIFACTS
from varv.runs.logged.model import LoggedModelId, ModelPurged, logged_stream
from varv.runs.logged.tables import root_of
from varv.runs.model import (
    DEFAULT,
    ExperimentId,
    ExperimentPurged,
    RunId,
    RunPurged,
    experiment_stream,
    run_stream,
)

AT_ONCE = 200
"""Runs that are purged in one piece of work, so that whoever logs meanwhile does not wait for all of them."""
_ENTRIES_AT_ONCE = 5000
_FIRST = "delete it first, which can be undone"
_DIGEST = re.compile(rb"[0-9a-f]{64}")


class PurgeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names runs, and experiments with all that is in them, that were deleted and are to be gone for good."""

    runs: tuple[str, ...] = ()
    experiments: tuple[str, ...] = ()
    by: str = "operator"


class Purged(msgspec.Struct, frozen=True, kw_only=True):
    """What is gone for good; blobs that something else has are still there."""

    n_runs: int
    n_logged_models: int
    n_experiments: int
    n_blobs: int


@dataclass(frozen=True, slots=True)
class Purging:
    """What purges runs of a home.

    Parameters
    ----------
    desk, ledger
        Of the home.
    """

    desk: TrackingDesk
    ledger: Ledger

    def do(self, work: Callable[[Writing], int]) -> int:
        """Do a piece of work; what it deletes is overwritten in the file, and what is remembered of it is
        forgotten.
        """

        def done(writing: Writing) -> int:
            n = work(writing)
            writing.db.execute("PRAGMA secure_delete = ON")
            writing.then.append(lambda: self._forget(writing.db))
            return n

        return self.desk.recorder.do(Write(done))

    def _forget(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA secure_delete = OFF")
        self.desk.runs.series.forget()

    def sweep(self) -> int:
        """Delete the blobs of what was purged that nothing else has; return how many they were."""
        with self.desk.recorder.reading() as db:
            orphans = {Digest(one) for (one,) in db.execute("SELECT digest FROM orphan")}
            gone = {stream for (stream,) in db.execute("SELECT stream FROM purged")}
        if not orphans:
            return 0
        named, position = self._named(orphans, gone, 0)
        deleted: list[Digest] = []

        def work(writing: Writing) -> None:
            # Once the group is in the ledger, and before anything else is written.
            writing.then.append(lambda: deleted.extend(free(writing.db)))

        def free(db: sqlite3.Connection) -> list[Digest]:
            later, _ = self._named(orphans, gone, position)
            found = [one for one in orphans - named - later if not _is_kept(db, one)]
            there = [one for one in found if self.desk.runs.blobs.has(one)]
            for one in there:
                self.desk.runs.blobs.delete(one)
            return there

        self.desk.recorder.do(Write(work))
        self.desk.recorder.do(Write(lambda writing: writing.store(_settled(orphans)), stores=True))
        return len(deleted)

    def _named(self, digests: set[Digest], gone: set[str], position: int) -> tuple[set[Digest], int]:
        """Return those of some digests that entries name which are not of what is gone, and the last entry
        that was looked at.
        """
        wanted = {one.encode() for one in digests}
        found: set[bytes] = set()
        while entries := self.ledger.read(position, limit=_ENTRIES_AT_ONCE):
            for entry in entries:
                if len(entry.data) > 64 and entry.stream not in gone:
                    found.update(wanted.intersection(_DIGEST.findall(entry.data)))
            position = entries[-1].seq
        return {Digest(one.decode()) for one in found}, position


@verb("runs.purge", needs=OPERATE)
def purge(purging: Purging, asked: PurgeRequest) -> Purged:
    """Delete for good runs and experiments that were deleted before."""
    if not asked.runs and not asked.experiments:
        raise InvalidInput("purge", "", "names nothing", hint="name deleted runs, or deleted experiments")
    if not asked.by or len(asked.by) > 100:
        raise InvalidInput("field", "by", "is empty or too long", most=100)
    n_runs = n_models = 0
    for first in range(0, len(asked.runs), AT_ONCE):
        n_runs += purging.do(_runs(asked.runs[first : first + AT_ONCE], asked.by))
    for experiment in asked.experiments:
        while n := purging.do(_runs_of(experiment, asked.by)):
            n_runs += n
        while n := purging.do(_models_of(experiment, asked.by)):
            n_models += n
        purging.do(_experiment(experiment, asked.by))
    return Purged(
        n_runs=n_runs,
        n_logged_models=n_models,
        n_experiments=len(asked.experiments),
        n_blobs=purging.sweep(),
    )


def _runs(runs: Sequence[str], by: str) -> Callable[[Writing], int]:
    def work(writing: Writing) -> int:
        ids = dict.fromkeys(runs)
        for run in ids:
            row = writing.db.execute("SELECT deleted FROM run WHERE id = ?", (run,)).fetchone()
            if row is None:
                raise NotFound("run", run[:80])
            if not row[0]:
                raise FailedPrecondition("run", run, "is not deleted", hint=_FIRST)
            _require_no_version(writing.db, "runs", run)
        for run in ids:
            writing.record(run_stream(run), RunPurged(run=RunId(run), by=by))
        return len(ids)

    return work


def _runs_of(experiment: str, by: str) -> Callable[[Writing], int]:
    def work(writing: Writing) -> int:
        no = _deleted(writing.db, experiment)
        rows = writing.db.execute("SELECT id FROM run WHERE experiment = ? LIMIT ?", (no, AT_ONCE))
        return _runs([id for (id,) in rows], by)(writing)

    return work


def _models_of(experiment: str, by: str) -> Callable[[Writing], int]:
    def work(writing: Writing) -> int:
        no = _deleted(writing.db, experiment)
        rows = writing.db.execute("SELECT id FROM logged WHERE experiment = ? LIMIT ?", (no, AT_ONCE))
        ids = [id for (id,) in rows]
        for id in ids:
            _require_no_version(writing.db, "logged", id)
        for id in ids:
            writing.record(logged_stream(id), ModelPurged(logged_model=LoggedModelId(id), by=by))
        return len(ids)

    return work


def _experiment(experiment: str, by: str) -> Callable[[Writing], int]:
    def work(writing: Writing) -> int:
        _deleted(writing.db, experiment)
        event = ExperimentPurged(experiment=ExperimentId(experiment), by=by)
        writing.record(experiment_stream(experiment), event)
        return 1

    return work


def _deleted(db: sqlite3.Connection, experiment: str) -> int:
    """Return the number of a deleted experiment that may go.

    Raises
    ------
    NotFound
        If there is none.
    FailedPrecondition
        If it is not deleted, or holds traces.
    """
    row = db.execute("SELECT no, deleted FROM experiment WHERE id = ?", (experiment,)).fetchone()
    if row is None:
        raise NotFound("experiment", experiment[:80])
    if experiment == DEFAULT:
        raise FailedPrecondition("experiment", experiment, "is always there", hint="purge runs of it")
    if not row[1]:
        raise FailedPrecondition("experiment", experiment, "is not deleted", hint=_FIRST)
    if db.execute("SELECT 1 FROM trace WHERE experiment = ? LIMIT 1", (row[0],)).fetchone():
        raise FailedPrecondition("experiment", experiment, "holds traces", hint="delete its traces first")
    return row[0]


def _require_no_version(db: sqlite3.Connection, kind: str, id: str) -> None:
    """Refuse to take from a registered version what it is made of."""
    if kind == "runs":
        made, root = "run = ?", _root_of_run(db, id)
    else:
        made, root = "logged = ?", root_of(db, id) or ""
    joined = "version JOIN registered ON registered.no = version.model"
    below = "storage >= ? AND storage < ?"
    query = f"SELECT registered.name, number FROM {joined} WHERE {made} OR {below} LIMIT 1"
    row = db.execute(query, (id, f"{root}/", f"{root}0")).fetchone()
    if row is not None:
        what = "run" if kind == "runs" else "logged model"
        hint = "delete the version first"
        raise FailedPrecondition(
            what, id, "is what a version was made by", version=f"{row[0]} v{row[1]}", hint=hint
        )


def _root_of_run(db: sqlite3.Connection, run: str) -> str:
    joined = "run JOIN experiment ON experiment.no = run.experiment"
    row = db.execute(f"SELECT experiment.artifacts FROM {joined} WHERE run.id = ?", (run,)).fetchone()
    return f"{row[0] if row else ARTIFACTS}/{run}/artifacts"


def _settled(orphans: set[Digest]) -> Callable[[sqlite3.Connection], object]:
    return lambda db: db.executemany("DELETE FROM orphan WHERE digest = ?", [(one,) for one in orphans])


def _is_kept(db: sqlite3.Connection, digest: Digest) -> bool:
    return db.execute("SELECT 1 FROM artifact WHERE digest = ? LIMIT 1", (digest,)).fetchone() is not None
