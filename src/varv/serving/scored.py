"""What the versions of a routing table said of some requests, and which of them answers each.

The one form in which answers leave a data plane, whoever fed it: frames for requests of the past, plain
arrays for a single one.
"""

from __future__ import annotations

from functools import cached_property

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from varv.kernel.ids import Version
from varv.serving.routing import RoutingTable, assign
from varv.serving.scores import PLAIN, Role, Scores, answer_schema, score_series
from varv.tasks import Task

Mask = npt.NDArray[np.bool_]


class Scored(msgspec.Struct, dict=True):
    """Scores of one call, each of shape (n, width); None where nobody was asked or the version failed.

    A candidate that was asked and failed has NaN for every request.
    """

    table: RoutingTable
    champion: Scores
    coins: npt.NDArray[np.float64] | None = None
    """What was tossed for each request, shape (n,); None while there is no candidate."""
    candidate: Scores | None = None
    former: Scores | None = None
    champion_ms: float | None = None
    candidate_ms: float | None = None

    def __len__(self) -> int:
        return len(self.champion)

    def part(self, rows: slice) -> Scored:
        """Return what was said of some of the requests; how long it took belongs to the first of them."""
        of_first = rows.start == 0
        return Scored(
            self.table,
            self.champion[rows],
            None if self.coins is None else self.coins[rows],
            None if self.candidate is None else self.candidate[rows],
            None if self.former is None else self.former[rows],
            self.champion_ms if of_first else None,
            self.candidate_ms if of_first else None,
        )

    @cached_property
    def chosen(self) -> Mask | None:
        """Which requests are the candidate's, shape (n,); None if none can be."""
        return None if self.coins is None else assign(self.table, self.coins)

    @property
    def versions(self) -> list[Version]:
        """The version of each request."""
        chosen, champion, candidate = self.chosen, self.table.champion, self.table.candidate
        if chosen is None or candidate is None:
            return [champion] * len(self)
        return [candidate if one else champion for one in chosen.tolist()]

    @property
    def arms(self) -> list[str]:
        """The arm of each request."""
        chosen = self.chosen
        if chosen is None:
            return ["champion"] * len(self)
        return ["candidate" if one else "champion" for one in chosen.tolist()]

    @property
    def served(self) -> Scores:
        """What each request is answered.

        A candidate that fails costs nobody an answer: the champion's is given, and the failure stays on
        record as a candidate's request without a candidate's score.
        """
        chosen = self.chosen
        if chosen is None or self.candidate is None:
            return self.champion
        answers = chosen & ~np.isnan(self.candidate).any(axis=1)
        return np.where(answers[:, None], self.candidate, self.champion)


def answers_frame(task: Task, said: Scored) -> pl.DataFrame:
    """Return answers as a frame, one row a request, with the columns of `answer_schema` but for the group."""
    n, table = len(said), said.table
    none = np.full((n, task.width), np.nan, dtype=np.float32)
    scored: dict[Role, Scores] = {
        "score": said.served,
        "champion_score": said.champion,
        "candidate_score": none if said.candidate is None else said.candidate,
        "former_score": none if said.former is None else said.former,
    }
    plain = {
        "version": said.versions,
        "arm": said.arms,
        "share": [table.candidate_share] * n,
        "coin": [None] * n if said.coins is None else said.coins,
        "epoch": [table.epoch] * n,
        "champion": [table.champion] * n,
        "candidate": [None if said.candidate is None else table.candidate] * n,
        "former": [table.former] * n,
        "champion_ms": _on_the_first(said.champion_ms, n),
        "candidate_ms": _on_the_first(said.candidate_ms, n),
    }
    # Made of series: any operation on a whole frame starts the query engine, a tenth of a millisecond.
    series = [series for role, of in scored.items() for series in score_series(task, role, of)]
    series += [pl.Series(name, values, dtype=PLAIN[name]) for name, values in plain.items()]
    by_name = {one.name: one for one in series}
    return pl.DataFrame([by_name[name] for name in answer_schema(task) if name in by_name])


def _on_the_first(value: float | None, n: int) -> list[float | None]:
    """Return a column in which only the first row has a value: rows of one call are one observation."""
    return [value, *[None] * (n - 1)] if n else []
