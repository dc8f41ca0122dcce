"""What is stored of runs, compared with what the ledger says of it.

The points of a metric are rehashed and compared with the seals that the ledger holds; artifacts with the
seals of their owners. What came after the last seal is durable, and is vouched for by the next.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from varv.kernel.codec import Digest, digest_of
from varv.kernel.ledger import Entry
from varv.runs import artifacts
from varv.runs.logged.model import MODELS_FOLDER, ModelPurged
from varv.runs.model import ArtifactsSealed, PointsSealed, RunPurged
from varv.runs.points import POINT, chained_digest, unchunk
from varv.runs.seals import names_of


class Flaw(NamedTuple):
    """Something that is not as it was written."""

    place: str
    problem: str
    expected: str
    found: str


class Seals:
    """The seals that the ledger holds, folded from its entries."""

    def __init__(self) -> None:
        self.points: dict[str, list[PointsSealed]] = {}
        """By run, in their order."""
        self.artifacts: dict[str, Digest] = {}
        """The root of the last seal, by owner."""
        self._seqs: dict[str, int] = {}

    def take(self, entry: Entry) -> None:
        """Take in an entry, which may be any."""
        event = entry.event
        if isinstance(event, PointsSealed):
            self._seqs[f"runs/{event.run}/{event.number}"] = entry.seq
            before = self.points.setdefault(event.run, [])
            # A seal whose rows a crash took is made again, under its number.
            before[:] = [seal for seal in before if seal.number < event.number]
            before.append(event)
        elif isinstance(event, ArtifactsSealed):
            self.artifacts[event.owner] = event.root
            self._seqs[event.owner] = entry.seq
        elif isinstance(event, RunPurged):
            self.points.pop(event.run, None)
            self.artifacts.pop(f"runs/{event.run}", None)
        elif isinstance(event, ModelPurged):
            self.artifacts.pop(f"{MODELS_FOLDER}/{event.logged_model}", None)

    def up_to(self, seq: int) -> tuple[dict[str, list[PointsSealed]], dict[str, Digest]]:
        """Return the seals of points, by run, and of artifacts, by owner, that are no later than an entry."""
        points = {
            run: [one for one in sealed if self._seqs[f"runs/{run}/{one.number}"] <= seq]
            for run, sealed in self.points.items()
        }
        artifacts = {owner: root for owner, root in self.artifacts.items() if self._seqs[owner] <= seq}
        return points, artifacts


def run_flaws(db: sqlite3.Connection, seals: Seals) -> Iterator[Flaw]:
    """Yield what is not as it was written.

    Parameters
    ----------
    db
        The file of tables, of a moment not before that of `seals`.
    """
    # After a crash the ledger may be ahead of the file, which the next start mends.
    points, roots = seals.up_to(db.execute("SELECT seq FROM applied").fetchone()[0])
    for run, sealed in points.items():
        yield from _point_flaws(db, run, sealed)
    for owner, root in roots.items():
        yield from _artifact_flaws(db, owner, root)


def blobs_of(db: sqlite3.Connection) -> Iterator[tuple[Digest, str]]:
    """Yield the blobs that artifacts are in, and which these are."""
    for owner, path, digest in db.execute("SELECT owner, path, digest FROM artifact"):
        yield digest, f"artifact {path} of {owner}"


def _point_flaws(db: sqlite3.Connection, run: str, sealed: list[PointsSealed]) -> Iterator[Flaw]:
    row = db.execute("SELECT no FROM run WHERE id = ?", (run,)).fetchone()
    if row is None:
        yield Flaw(f"run {run}", "is missing", "a run", "none")
        return
    states: dict[int, tuple[int, bytes]] = {}
    for event in sealed:
        points = _points_of(db, row[0], event.number)
        if len(points) != event.n:
            problem = f"has other points in seal {event.number}"
            yield Flaw(f"metrics of run {run}", problem, str(event.n), str(len(points)))
            return
        for key in np.unique(points["key"]).tolist():
            part = points[points["key"] == key]
            n, before = states.get(key, (0, b""))
            states[key] = n + len(part), chained_digest(before, part)
        names = names_of(db, list(states))
        root = digest_of(sorted((names.get(key, ""), n, found.hex()) for key, (n, found) in states.items()))
        if root != event.root:
            problem = f"are not those of seal {event.number}"
            yield Flaw(f"metrics of run {run}", problem, event.root[:12], root[:12])
            return


def _points_of(db: sqlite3.Connection, run: int, number: int) -> np.ndarray:
    query = "SELECT data FROM chunk WHERE run = ? AND number = ? ORDER BY no"
    parts = [unchunk(data) for (data,) in db.execute(query, (run, number))]
    return np.concatenate(parts) if parts else np.empty(0, dtype=POINT)


def _artifact_flaws(db: sqlite3.Connection, owner: str, root: Digest) -> Iterator[Flaw]:
    found = artifacts.root_of(artifacts.sealed_files(db, owner))
    if found != root:
        yield Flaw(f"artifacts of {owner}", "are not those of the last seal", root[:12], found[:12])
