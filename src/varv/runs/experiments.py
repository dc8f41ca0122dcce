"""What can be done to experiments: pieces of work for the recorder's thread, as those of `runs.service`."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import NamedTuple

from varv.kernel.blobs import Blobs
from varv.kernel.errors import AlreadyExists, FailedPrecondition, NotFound
from varv.kernel.recorder import Write, Writing
from varv.kernel.texts import all_kept
from varv.runs.model import (
    ExperimentChanged,
    ExperimentCreated,
    ExperimentId,
    ExperimentMoved,
    experiment_stream,
)
from varv.runs.purged import is_purged
from varv.runs.rules import (
    LONGEST_EXPERIMENT,
    LONGEST_EXPERIMENT_TAG,
    require_experiment_id,
    require_key,
    require_short,
    require_text,
)
from varv.runs.tables import experiment_no

ARTIFACTS = "mlflow-artifacts:"


class Experiment(NamedTuple):
    """The row of an experiment."""

    no: int
    deleted: bool
    artifacts: str


class Experiments:
    """The experiments of a home, as one writes to them.

    Parameters
    ----------
    blobs
        Hold texts that are too long for entries of the ledger.
    """

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def create(
        self, name: str, *, artifacts: str = "", tags: Mapping[str, str] | None = None
    ) -> Write[ExperimentId]:
        """Make an experiment and return its id.

        Raises
        ------
        InvalidInput
            If a name or a tag is not valid.
        AlreadyExists
            If the name is taken, by a deleted experiment too.
        """

        def work(writing: Writing) -> ExperimentId:
            require_text("experiment", name)
            require_short("experiment", name, name, LONGEST_EXPERIMENT)
            _require_experiment_tags(tags or {})
            _require_free(writing.db, name)
            made = _free_id(writing.db)
            event = ExperimentCreated(
                experiment=made,
                name=name,
                artifacts=artifacts or f"{ARTIFACTS}/{made}",
                tags=all_kept(self._blobs, tags or {}),
            )
            writing.record(experiment_stream(made), event)
            return made

        return Write(work)

    def rename(self, experiment: str, name: str) -> Write[None]:
        """Give an experiment another name."""

        def work(writing: Writing) -> None:
            active_experiment(writing.db, experiment)
            made = ExperimentId(experiment)
            require_text("experiment", name)
            require_short("experiment", name, name, LONGEST_EXPERIMENT)
            _require_free(writing.db, name)
            writing.record(experiment_stream(made), ExperimentChanged(experiment=made, name=name))

        return Write(work)

    def tag(self, experiment: str, tags: Mapping[str, str]) -> Write[None]:
        """Set tags of an experiment."""

        def work(writing: Writing) -> None:
            active_experiment(writing.db, experiment)
            made = ExperimentId(experiment)
            _require_experiment_tags(tags)
            event = ExperimentChanged(experiment=made, tags=all_kept(self._blobs, tags))
            writing.record(experiment_stream(made), event)

        return Write(work)

    def untag(self, experiment: str, tag: str) -> Write[None]:
        """Take a tag from an experiment."""

        def work(writing: Writing) -> None:
            active_experiment(writing.db, experiment)
            made = ExperimentId(experiment)
            query = "SELECT 1 FROM experiment_tag WHERE experiment = ? AND name = ?"
            if not writing.db.execute(query, (experiment_no(writing.db, made), tag)).fetchone():
                raise NotFound("experiment tag", tag[:80], experiment=made)
            writing.record(experiment_stream(made), ExperimentChanged(experiment=made, without=tag))

        return Write(work)

    def move(self, experiment: str, *, deleted: bool) -> Write[None]:
        """Delete an experiment with its runs, or restore it; its name stays taken meanwhile."""

        def work(writing: Writing) -> None:
            row = _experiment(writing.db, experiment)
            if row.deleted == deleted:
                state = "deleted" if deleted else "active"
                raise NotFound("experiment", experiment, f"is {state} already")
            made = ExperimentId(experiment)
            writing.record(experiment_stream(made), ExperimentMoved(experiment=made, deleted=deleted))

        return Write(work)


def active_experiment(db: sqlite3.Connection, experiment: str) -> Experiment:
    """Return an experiment that is not deleted.

    Raises
    ------
    NotFound
        If there is none.
    FailedPrecondition
        If it is deleted.
    """
    found = _experiment(db, experiment)
    if found.deleted:
        hint = "restore it first"
        problem = "must be in the 'active' state and is deleted"
        raise FailedPrecondition("experiment", experiment, problem, hint=hint)
    return found


def ensure_default() -> Write[None]:
    """Make the experiment that is always there, where it is not."""

    def work(writing: Writing) -> None:
        if not experiment_no(writing.db, "0"):
            made = ExperimentId("0")
            event = ExperimentCreated(experiment=made, name="Default", artifacts=f"{ARTIFACTS}/0")
            writing.record(experiment_stream(made), event)

    return Write(work)


def _experiment(db: sqlite3.Connection, experiment: str) -> Experiment:
    require_experiment_id(experiment)
    row = db.execute("SELECT no, deleted, artifacts FROM experiment WHERE id = ?", (experiment,)).fetchone()
    if row is None:
        raise NotFound("experiment", experiment[:80])
    return Experiment(row[0], bool(row[1]), row[2])


def _free_id(db: sqlite3.Connection) -> ExperimentId:
    number = db.execute("SELECT max(no) FROM experiment").fetchone()[0] or 0
    # Experiments that were brought from elsewhere have kept their ids, and those of purged ones are not used.
    while experiment_no(db, str(number)) or is_purged(db, experiment_stream(str(number))):
        number += 1
    return ExperimentId(str(number))


def _require_free(db: sqlite3.Connection, name: str) -> None:
    row = db.execute("SELECT deleted FROM experiment WHERE name = ?", (name,)).fetchone()
    if row is not None:
        state = "deleted" if row[0] else "active"
        hint = "restore it, or choose another name" if row[0] else "choose another name"
        raise AlreadyExists("experiment", name[:80], "already exists", state=state, hint=hint)


def _require_experiment_tags(tags: Mapping[str, str]) -> None:
    for name, value in tags.items():
        require_key("tag", name)
        require_short("tag", name, value, LONGEST_EXPERIMENT_TAG)
