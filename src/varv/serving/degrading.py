"""What is answered when the version whose turn it is cannot, and when its answer is held back.

Every such answer is marked, so that it is counted apart: what a version is measured by are its own answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from varv.kernel.clock import SECOND
from varv.kernel.errors import VarvError
from varv.kernel.ids import Version
from varv.registry import Rows, Signature
from varv.serving.policy import CachedStep, DefaultStep, FormerStep, Mark, ServingPolicy, Step
from varv.serving.remembered import Remembered
from varv.serving.scored import Otherwise, Scored
from varv.serving.scores import Scores
from varv.tasks import Task

Feeding = Callable[[Signature], Rows]
_MARKS: dict[type, Mark] = {FormerStep: "fallback", CachedStep: "cached", DefaultStep: "default"}


class Asked(Protocol):
    """A version in memory."""

    @property
    def signature(self) -> Signature:
        """How it is fed."""
        ...

    @property
    def remembered(self) -> Remembered | None:
        """What it said before, if that is remembered."""
        ...

    def tried(self, feed: Feeding) -> Scores | None:
        """Return what it says of requests, None if it fails."""
        ...


class Others(NamedTuple):
    """Who may answer in a champion's place."""

    champion: Asked
    """Which failed, and may have said something before."""
    former: Asked | None
    """The champion before; None if there is none in memory."""
    former_version: Version | None


class Degrading:
    """Answers in the place of a model's versions.

    Parameters
    ----------
    policy
        What is declared.
    task
        What an answer is.
    """

    def __init__(self, policy: ServingPolicy, task: Task) -> None:
        self._policy = policy
        self._task = task

    @property
    def has_fallback(self) -> bool:
        """Whether anything is declared that could answer in the champion's place."""
        return bool(self._policy.fallback)

    @property
    def width(self) -> int:
        """How many numbers a prediction has."""
        return self._task.width

    def stand_in(self, others: Others, said: Scored, feed: Feeding, error: VarvError) -> None:
        """Answer the requests that no version answered, by what is declared, each step for what the one
        before left.

        Parameters
        ----------
        others
            Who may.
        said
            What versions said; the champion, nothing.
        feed
            Gives the requests in the form in which a version reads them.
        error
            Why the champion did not.

        Raises
        ------
        VarvError
            `error`, if a request is left.
        """
        left = np.isnan(said.served).any(axis=1)
        marks, scores = [""] * len(said), np.full_like(said.champion, np.nan)
        version: Version | None = None
        for step in self._policy.fallback:
            if not left.any():
                break
            found = self._said(step, others, said, feed)
            if found is None:
                continue
            taken = left & ~np.isnan(found).any(axis=1)
            scores[taken] = found[taken]
            for place in np.flatnonzero(taken).tolist():
                marks[place] = _MARKS[type(step)]
            if isinstance(step, FormerStep) and taken.any():
                version = others.former_version
            left &= ~taken
        if left.any():
            raise error
        if any(marks):
            said.otherwise = Otherwise(marks, scores, version)

    def hold_back(self, said: Scored) -> None:
        """Hold answers of versions back that are not confident enough."""
        if self._policy.abstain_below is None:
            return
        confidence = self._task.confidence(said.served.astype(np.float64))
        if confidence is None:
            return
        unsure = confidence < self._policy.abstain_below
        if said.otherwise is not None:
            unsure &= np.array([not mark for mark in said.otherwise.marks], np.bool_)
        if not unsure.any():
            return
        given = said.otherwise or Otherwise([""] * len(said), np.full_like(said.champion, np.nan), None)
        marks = [
            "abstained" if held else mark for held, mark in zip(unsure.tolist(), given.marks, strict=True)
        ]
        said.otherwise = Otherwise(marks, given.scores, given.version)

    def _said(self, step: Step, others: Others, said: Scored, feed: Feeding) -> Scores | None:
        """Return what a step says of requests, NaN where it says nothing; None if it cannot say anything."""
        if isinstance(step, DefaultStep):
            return np.tile(np.array(step.prediction, np.float32), (len(said), 1))
        if isinstance(step, CachedStep):
            before = others.champion.remembered
            if before is None:
                return None
            return before.said_before(
                feed(others.champion.signature), step.max_age / SECOND, self._task.width
            )
        if said.former is not None:
            return said.former
        return None if others.former is None else others.former.tried(feed)
