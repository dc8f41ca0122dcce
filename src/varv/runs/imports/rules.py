"""Whether what is brought is what is here under the same id: it may have grown at its source, and may not be
something else.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from varv.kernel.errors import AlreadyExists, Conflict
from varv.runs import reading
from varv.runs.imports.model import SourceExperiment, SourceModel, SourceRun
from varv.runs.imports.tables import Mark
from varv.runs.logged import reading as logged_reading
from varv.runs.model import DEFAULT, ENDED, RUN_NAME

HINT = "import into another home, or delete and rename what is here"


def require_name(db: sqlite3.Connection, one: SourceExperiment) -> None:
    """Raise `AlreadyExists` if another experiment has the name of one that is brought."""
    row = db.execute("SELECT id FROM experiment WHERE name = ? AND id != ?", (one.name, one.id)).fetchone()
    if row is not None:
        problem = "is the name of another experiment here"
        raise AlreadyExists("experiment", one.name[:80], problem, here=row[0], there=one.id, hint=HINT)


def require_same_experiment(
    one: SourceExperiment, here: reading.Experiment, known: Mark | None, source: str
) -> None:
    """Raise `Conflict` if the experiment that has this id was made here, and is another."""
    # The one that is always there was made by whoever opened the home.
    if known is None and one.id != DEFAULT and (one.name, one.created_ms) != (here.name, here.created_ms):
        raise _other("experiment", one.id, here.name, one.name, source)


def require_same_run(one: SourceRun, here: reading.Run, known: Mark | None, source: str) -> None:
    """Raise `Conflict` if the run that has this id is another, or has something of its own."""
    pairs = {
        "experiment": (here.experiment, one.experiment),
        "start": (here.started_ms, one.started_ms),
        **{name: (here.params.get(name, value), value) for name, value in one.params.items()},
    }
    differing = [name for name, (mine, theirs) in pairs.items() if mine != theirs]
    if known is None:
        # What is only here was logged here: a run that was half brought has nothing of its own.
        there = {**one.params, **one.tags, RUN_NAME: one.name}
        mine = {**here.params, **here.tags}
        differing += sorted(name for name, value in mine.items() if there.get(name) != value)
        differing += ["status"] if here.status in ENDED and here.status != one.status else []
    if differing:
        raise _other("run", one.id, here.name, one.name, source, differing)


def require_same_model(
    one: SourceModel, here: logged_reading.LoggedModel, known: Mark | None, source: str
) -> None:
    """Raise `Conflict` if the logged model that has this id is another."""
    mine = (here.experiment, here.name, here.run)
    if mine != (one.experiment, one.name, one.run) or (known is None and here.created_ms != one.created_ms):
        raise _other("logged model", one.id, here.name, one.name, source)


def _other(kind: str, id: str, here: str, there: str, source: str, differ: Sequence[str] = ()) -> Conflict:
    problem = "is another one here than at the source"
    facts = {"differ": list(differ[:5])} if differ else {}
    return Conflict(kind, id, problem, here=here, there=there, source=source, hint=HINT, **facts)
