"""What callers are told of the rows of their requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from varv.serving.scored import NOTHING, Flagged, Mask, Scored, part_of
from varv.serving.scores import Scores

Shown = Mapping[str, Sequence[Any]]
"""Columns that a transformation made of an answer."""
UNTRANSFORMED: Shown = MappingProxyType({})
NAMED = "named"
"""The arm of an answer by a version that was asked for by its number."""


class Answers(NamedTuple):
    """Answers to the rows of one request."""

    keys: Sequence[str]
    versions: Sequence[int]
    arms: Sequence[str]
    """``"champion"`` or ``"candidate"``, or how a row was answered otherwise (`policy.Mark`); `NAMED` where a
    version was asked for."""
    scores: Scores
    """Shape (n, width); NaN where a version has none."""
    epoch: int
    """Of the routing table that was in force."""
    share: float
    """With which the candidate was to answer."""
    captured: bool
    """Whether all of them are on record; those that are not are known to nobody but the caller."""
    flagged: Flagged = NOTHING
    """Values of the request that broke a check, by column."""
    shown: Shown = UNTRANSFORMED
    """What callers see beside the scores, or in their place; nothing where answers are not transformed."""

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return len(self.keys)


def answers_of(keys: Sequence[str], said: Scored, *, captured: bool, shown: Shown = UNTRANSFORMED) -> Answers:
    """Return what callers are told of rows with these keys."""
    table = said.table
    told = said.told_versions, said.told_arms, said.served
    return Answers(keys, *told, table.epoch, table.candidate_share, captured, said.flagged, shown)


def kept_each(answers: Sequence[Answers], kept: Mask) -> list[Answers]:
    """Return answers to requests of which only some rows are kept, shape (n,), each with whether all of its
    are.
    """
    found: list[Answers] = []
    start = 0
    for one in answers:
        end = start + one.n_rows
        found.append(one._replace(captured=bool(kept[start:end].all())))
        start = end
    return found


def apart(together: Answers, sizes: Sequence[int]) -> list[Answers]:
    """Return the answers to each of several requests."""
    found: list[Answers] = []
    start = 0
    for size in sizes:
        rows = slice(start, start + size)
        start += size
        found.append(
            together._replace(
                keys=together.keys[rows],
                versions=together.versions[rows],
                arms=together.arms[rows],
                scores=together.scores[rows],
                flagged=part_of(together.flagged, rows),
                shown={name: values[rows] for name, values in together.shown.items()}
                if together.shown
                else UNTRANSFORMED,
            )
        )
    return found
