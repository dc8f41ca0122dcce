"""What the versions of a routing table said of some requests, and which of them answers each.

The one form in which answers leave a data plane, whoever fed it: frames for requests of the past, plain
arrays for a single one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from varv.kernel.ids import Version
from varv.serving.routing import RoutingTable, assign
from varv.serving.scores import PLAIN, Role, Scores, answer_schema, score_series
from varv.tasks import Task

Mask = npt.NDArray[np.bool_]
Flagged = Mapping[str, Sequence[int]]
"""By column, the rows whose value broke a check."""
NOTHING: Flagged = MappingProxyType({})


class Otherwise(NamedTuple):
    """Answers of one call that are not those of the version whose turn it was."""

    marks: Sequence[str]
    """How each request was answered (`policy.Mark`), empty where the version did."""
    scores: Scores
    """What was answered instead, shape (n, width); NaN where nothing was."""
    version: Version | None
    """That answered in the champion's place, if one did."""

    def part(self, rows: slice) -> Otherwise | None:
        """Return those of some of the requests, None if there are none among them."""
        marks = self.marks[rows]
        return Otherwise(marks, self.scores[rows], self.version) if any(marks) else None

    def taken(self, places: Sequence[int]) -> Otherwise | None:
        """Return those of the requests at some places, None if there are none among them."""
        marks = [self.marks[place] for place in places]
        return Otherwise(marks, self.scores[places], self.version) if any(marks) else None


class Scored(msgspec.Struct, dict=True):
    """Scores of one call, each of shape (n, width); None where nobody was asked or the version failed.

    A champion or a candidate that was asked and failed has NaN for every request.
    """

    table: RoutingTable
    champion: Scores
    coins: npt.NDArray[np.float64] | None = None
    """What was tossed for each request, shape (n,); None while there is no candidate."""
    candidate: Scores | None = None
    former: Scores | None = None
    champion_ms: float | None = None
    candidate_ms: float | None = None
    otherwise: Otherwise | None = None
    """What was answered otherwise than by the version whose turn it was; None if nothing was."""
    flagged: Flagged = {}
    """Values of the requests that broke a check, by column."""
    logged_share: float | None = None
    """The share of requests that are kept, where not all are."""

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
            None if self.otherwise is None else self.otherwise.part(rows),
            part_of(self.flagged, rows),
            self.logged_share,
        )

    def taken(self, places: Sequence[int]) -> Scored:
        """Return what was said of the requests at some places."""
        new = {place: number for number, place in enumerate(places)}
        flagged = {name: [new[one] for one in rows if one in new] for name, rows in self.flagged.items()}
        timed = places[:1] == [0]
        return Scored(
            self.table,
            self.champion[places],
            None if self.coins is None else self.coins[places],
            None if self.candidate is None else self.candidate[places],
            None if self.former is None else self.former[places],
            self.champion_ms if timed else None,
            self.candidate_ms if timed else None,
            None if self.otherwise is None else self.otherwise.taken(places),
            {name: rows for name, rows in flagged.items() if rows},
            self.logged_share,
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
            found = self.champion
        else:
            answers = chosen & ~np.isnan(self.candidate).any(axis=1)
            found = np.where(answers[:, None], self.candidate, self.champion)
        if self.otherwise is None:
            return found
        marked = np.array([bool(mark) for mark in self.otherwise.marks], np.bool_)
        return np.where(marked[:, None], self.otherwise.scores, found)

    @property
    def told_versions(self) -> list[Version]:
        """The version that answered each request, as callers are told."""
        other = self.otherwise
        if other is None or other.version is None:
            return self.versions
        pairs = zip(self.versions, other.marks, strict=True)
        return [other.version if mark == "fallback" else version for version, mark in pairs]

    @property
    def told_arms(self) -> list[str]:
        """The arm of each request, as callers are told: where it was answered otherwise, how."""
        if self.otherwise is None:
            return self.arms
        return [mark or arm for mark, arm in zip(self.otherwise.marks, self.arms, strict=True)]


def part_of(flagged: Flagged, rows: slice) -> Flagged:
    """Return what is flagged of some of the requests."""
    if not flagged:
        return flagged
    first, last = rows.start or 0, rows.stop
    found = {
        name: [place - first for place in places if first <= place < last] for name, places in flagged.items()
    }
    return {name: places for name, places in found.items() if places}


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
        "answered_by": _marks(said, n),
        "flagged": _flags(said.flagged, n),
        "logged_share": [said.logged_share] * n,
    }
    # Made of series: any operation on a whole frame starts the query engine, a tenth of a millisecond.
    series = [series for role, of in scored.items() for series in score_series(task, role, of)]
    series += [pl.Series(name, values, dtype=PLAIN[name]) for name, values in plain.items()]
    by_name = {one.name: one for one in series}
    return pl.DataFrame([by_name[name] for name in answer_schema(task) if name in by_name])


def _marks(said: Scored, n: int) -> list[str | None]:
    """Return how each request was answered, with the version where another one did; None for its own."""
    other = said.otherwise
    if other is None:
        return [None] * n
    by_other = "fallback" if other.version is None else f"fallback:{other.version}"
    return [by_other if mark == "fallback" else mark or None for mark in other.marks]


def _flags(flagged: Flagged, n: int) -> list[str | None]:
    """Return the columns whose value broke a check, of each request; None for no such column."""
    found: list[str | None] = [None] * n
    for name, places in sorted(flagged.items()):
        for place in places:
            before = found[place]
            found[place] = name if before is None else f"{before},{name}"
    return found


def _on_the_first(value: float | None, n: int) -> list[float | None]:
    """Return a column in which only the first row has a value: rows of one call are one observation."""
    return [value, *[None] * (n - 1)] if n else []
