"""Runs that whoever ran them has left behind: a process that is killed ends nothing.

What varv itself runs says in a tag which process does. A run that counts as running, and whose process has
certainly ended, is ended in its place, with the reason.
"""

from __future__ import annotations

import sqlite3

from varv.kernel.errors import VarvError
from varv.kernel.processes import has_ended, shown, this_process
from varv.runs.model import STATUSES
from varv.runs.service import Tracking
from varv.runs.tables import TAG

PROCESS = "varv.process"
"""The tag that says which process runs it."""
BECAUSE = "varv.ended_because"


def process_tag() -> dict[str, str]:
    """Return the tag of what this process runs; nothing where nobody could tell later that it has ended."""
    name = this_process()
    return {PROCESS: name} if name else {}


def end_left_behind(tracking: Tracking) -> int:
    """End the runs that were left behind; return how many they were."""
    with tracking.recorder.reading() as db:
        left = [(run, process) for run, process in _running(db) if has_ended(process)]
    n = 0
    for run, process in left:
        why = f"{shown(process)}, which ran it, has ended without ending it"
        try:
            tracking.recorder.do(tracking.log(run, tags={BECAUSE: why}))
            tracking.recorder.do(tracking.end_running(run, "KILLED"))
            n += 1
        except VarvError:
            continue  # deleted meanwhile
    return n


def _running(db: sqlite3.Connection) -> list[tuple[str, str]]:
    # Beginning with the few that are under way, for each of which two rows are looked up.
    key = "key ON key.experiment = run.experiment AND key.kind = ? AND key.name = ?"
    word = "word ON word.run = run.no AND word.key = key.no"
    where = "run.ended_ms IS NULL AND run.status = ? AND NOT run.deleted"
    query = f"FROM run INDEXED BY run_open CROSS JOIN {key} CROSS JOIN {word} WHERE {where}"
    asked = (TAG, PROCESS, STATUSES.index("RUNNING"))
    return db.execute(f"SELECT run.id, word.value {query}", asked).fetchall()
