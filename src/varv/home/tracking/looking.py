"""What can be asked of runs to look at them and to compare them; verbs and pages both ask here.

Everything goes through searches that read no more runs than they show. Metrics of runs are as of this
moment; what a search compares of them, in a home that is only read, as of the last folding.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from varv.kernel.blobs import Blobs
from varv.kernel.errors import InvalidInput, NotFound
from varv.runs import artifacts, reading
from varv.runs.artifacts import Artifact
from varv.runs.capture import CAPTURE
from varv.runs.comparing import Compared, RunLine, leaves, line_of
from varv.runs.curves import BUCKETS, MOST_CURVES, MOST_MEMBERS, Axis, Curves, Drawn, curves_of
from varv.runs.experiment_search import ExperimentQuery, experiment_page
from varv.runs.grammars import OUR_RUNS
from varv.runs.histories import RunThatRead, points_of, runs_that_read
from varv.runs.model import RunId
from varv.runs.search import Query, RunSearch, View

MOST_COMPARED = 100
MOST_LISTED = 1000
MOST_EXPERIMENTS = 1000
MOST_FILES = 2000
"""Of a run, that are compared."""
MOST_CAPTURE_BYTES = 4 << 20
SHORTEST_PREFIX = 4
_NEXT_CHARACTER = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class RunPage:
    """Some runs in their order, and what asks for the next ones; nothing after the last."""

    runs: list[reading.Run]
    token: str


@dataclass(frozen=True, slots=True)
class RunDesk:
    """The runs of a home, as one looks at them.

    Parameters
    ----------
    search
        Finds runs, and gives connections.
    blobs
        Hold the bytes of artifacts.
    """

    search: RunSearch
    blobs: Blobs

    def that_read(self, datasets: Sequence[str], most: int = MOST_LISTED) -> list[RunThatRead]:
        """Return the runs that have read datasets of these names, the youngest first; none where no run was
        ever tracked.
        """
        with suppress(NotFound), self.search.reading() as db:
            return runs_that_read(db, datasets, most)
        return []

    def page(
        self,
        db: sqlite3.Connection,
        *,
        experiments: Sequence[str] = (),
        where: str = "",
        order: Sequence[str] = (),
        limit: int = MOST_LISTED,
        token: str = "",
        view: View = "ACTIVE_ONLY",
    ) -> RunPage:
        """Return the runs that a query in our own words asks for; of all experiments if none is named.

        Raises
        ------
        NotFound
            If an experiment does not exist.
        InvalidInput
            If the query is not valid.
        """
        if not 0 < limit <= MOST_LISTED:
            raise InvalidInput("limit", limit, f"is not between 1 and {MOST_LISTED}", hint="ask page by page")
        asked = Query(
            experiments=tuple(self.experiment_ids(db, experiments)),
            filter=where,
            orders=tuple(order),
            view=view,
            most=limit,
            token=token,
            grammar=OUR_RUNS,
        )
        page = self.search.page(db, asked)
        return RunPage(reading.runs_now(db, page.runs), page.token)

    def experiment_ids(self, db: sqlite3.Connection, named: Iterable[str]) -> list[str]:
        """Return the ids of experiments by their ids or names; of all active ones if none is named."""
        found = [self.experiment(db, one).id for one in named]
        if found:
            return found
        page = experiment_page(db, ExperimentQuery(most=MOST_EXPERIMENTS))
        if page.token:
            hint = "name experiments"
            raise InvalidInput(
                "experiments", "", "are too many to search at once", most=MOST_EXPERIMENTS, hint=hint
            )
        return [one.id for one in reading.experiments(db, page.runs)]

    def experiment(self, db: sqlite3.Connection, named: str) -> reading.Experiment:
        """Return an experiment by its id or its name.

        Raises
        ------
        NotFound
            If there is none.
        """
        column = "id" if db.execute("SELECT 1 FROM experiment WHERE id = ?", (named,)).fetchone() else "name"
        row = db.execute(f"SELECT no FROM experiment WHERE {column} = ?", (named,)).fetchone()
        if row is None:
            raise NotFound("experiment", named[:80], hint="give its id or its name")
        return reading.experiments(db, [row[0]])[0]

    def run(self, db: sqlite3.Connection, named: str) -> reading.Run:
        """Return a run by its id, or by how its id begins if no other's begins so.

        Raises
        ------
        NotFound
            If there is none.
        InvalidInput
            If there are several.
        """
        return reading.run(db, self._id(db, named))

    def _id(self, db: sqlite3.Connection, named: str) -> RunId:
        row = db.execute("SELECT id FROM run WHERE id = ?", (named,)).fetchone()
        if row is not None or len(named) < SHORTEST_PREFIX:
            return RunId(named if row is None else row[0])
        query = "SELECT id FROM run WHERE id > ? AND id < ? ORDER BY id LIMIT 3"
        found = [id for (id,) in db.execute(query, (named, named + _NEXT_CHARACTER))]
        if len(found) > 1:
            raise InvalidInput("run", named[:80], "is how several begin", hint=f"give more: {found[0]}")
        return RunId(found[0] if found else named)

    def chosen(self, db: sqlite3.Connection, named: Sequence[str]) -> list[reading.Run]:
        """Return runs to be compared, each once, in the order in which they are named.

        Raises
        ------
        InvalidInput
            If there are fewer than two, or more than `MOST_COMPARED`.
        NotFound
            If one does not exist.
        """
        ids = list(dict.fromkeys(self._id(db, one) for one in named))
        if not 2 <= len(ids) <= MOST_COMPARED:
            hint = f"name 2 to {MOST_COMPARED} runs"
            raise InvalidInput(
                "comparison", "", "needs more than one run, and not too many", given=len(ids), hint=hint
            )
        return [reading.run(db, id) for id in ids]

    def files(self, db: sqlite3.Connection, run: str) -> list[Artifact]:
        """Return the artifacts of a run by path, the first `MOST_FILES`."""
        query = "SELECT path, size, digest FROM artifact WHERE owner = ? ORDER BY path LIMIT ?"
        return [Artifact(*row) for row in db.execute(query, (f"runs/{run}", MOST_FILES))]

    def versions(self, db: sqlite3.Connection, run: str) -> list[tuple[str, int]]:
        """Return the registered versions that a run has made: the model's name and the number."""
        joined = "version JOIN registered ON registered.no = version.model"
        query = f"SELECT registered.name, number FROM {joined} WHERE run = ? ORDER BY 1, 2"
        return list(db.execute(query, (run,)))

    def compared(self, db: sqlite3.Connection, run: reading.Run) -> Compared:
        """Return a run with its artifacts and what it was made from."""
        files = {one.path: one.digest for one in self.files(db, run.id) if one.digest is not None}
        return Compared(run, files, self._made_from(db, run.id) if CAPTURE in files else {})

    def _made_from(self, db: sqlite3.Connection, run: str) -> dict[str, str]:
        kept = artifacts.find(db, f"runs/{run}", CAPTURE)
        if kept.digest is None or (kept.size or 0) > MOST_CAPTURE_BYTES:
            return {}
        try:
            return dict(leaves(msgspec.json.decode(self.blobs.get(kept.digest))))
        except (msgspec.DecodeError, RecursionError):
            # A client may put anything under that path.
            return {}

    def curves(
        self,
        db: sqlite3.Connection,
        runs: Sequence[reading.Run],
        metrics: Sequence[str],
        *,
        axis: Axis = "step",
        n_buckets: int = BUCKETS,
        smoothing: float = 0.0,
        group: str = "",
    ) -> Curves:
        """Return the curves of metrics of runs over one axis; those without a point are left out.

        Parameters
        ----------
        group
            ``params.NAME`` or ``tags.NAME``: runs of one value have a mean and a band together.

        Raises
        ------
        InvalidInput
            If there are too many, or the group is of neither kind.
        """
        logged = [
            (run, metric) for metric in metrics for run in runs if any(m.name == metric for m in run.metrics)
        ]
        drawn = [
            Drawn(run.id, metric, points_of(db, run.id, metric), run.started_ms, group_of(run, group))
            # One more than is allowed is refused, and no further ones are read.
            for run, metric in logged[: (MOST_MEMBERS if group else MOST_CURVES) + 1]
        ]
        return curves_of(drawn, axis=axis, n_buckets=n_buckets, smoothing=smoothing)


def group_of(run: reading.Run, group: str) -> str:
    """Return what a run has in common with others: the value of a parameter or a tag; nothing where no group
    is asked for.

    Raises
    ------
    InvalidInput
        If the group is of neither kind.
    """
    if not group:
        return ""
    kind, _, name = group.partition(".")
    values = {"params": run.params, "tags": run.tags}.get(kind)
    if values is None or not name:
        raise InvalidInput("group", group[:80], "is neither a parameter nor a tag", hint="write params.depth")
    return f"{name} {values.get(name, '–')}"


def lines_of(runs: Iterable[reading.Run]) -> tuple[RunLine, ...]:
    """Return runs at a glance."""
    return tuple(line_of(one) for one in runs)
