"""Which requests people are asked to label, as it is declared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from varv.features import Slice
from varv.kernel.clock import MINUTE
from varv.kernel.errors import InvalidDeclaration
from varv.labels.policy import LEAST_RANDOM, LabellingPolicy, Measure, Revisions
from varv.project.arguments import declared_duration
from varv.tasks import Task

MOST_BUDGET = 10_000
_CLASSES, _NUMBERS = ("entropy", "margin"), ("interval",)


class Labelling:
    """Which requests people are asked to label, how many, and what a label counts for.

    Parameters
    ----------
    budget
        Requests of each window that are to be labelled, those beside it whose answer was held back
        (``varv.Serving(review=...)``).
    every
        How long a window is.
    random
        Of the budget, the share that is drawn by chance alone; a tenth at least. By it numbers of all
        requests are estimated, whatever else is labelled.
    diverse
        Of the rest, the share that is to lie far apart in the features; what remains is most unsure.
    by
        What unsure is: ``"entropy"`` or ``"margin"`` of the calibrated probabilities, ``"interval"`` for
        quantiles; by default what the task has.
    slices
        Slices, as ``varv.slice(...)``, that share what is unsure; the one of the worst loss comes first.
    double
        The share that two people label. If they differ a third one decides.
    lease
        How long a request is a labeller's.
    explored
        Of all requests, the least share whose outcome is seen by chance, and not by what the champion
        decided; less raises an alarm. Nothing by default.
    revisions
        Which outcome of a request stands, where labels and feedback differ from what came before: the
        ``"first"`` or the ``"latest"``.

    Raises
    ------
    InvalidDeclaration
        If a number is not allowed.
    """

    def __init__(
        self,
        *,
        budget: int,
        every: str = "1d",
        random: float = 0.2,
        diverse: float = 0.2,
        by: Measure | None = None,
        slices: Sequence[Slice] = (),
        double: float = 0.05,
        lease: str = "30m",
        explored: float = 0.0,
        revisions: Revisions = "first",
    ) -> None:
        if isinstance(budget, bool) or not isinstance(budget, int) or not 1 <= budget <= MOST_BUDGET:
            hint = f"write budget=50; {MOST_BUDGET:,} at most"
            raise InvalidDeclaration(
                "labelling", "budget", "is not allowed", given=repr(budget)[:40], hint=hint
            )
        self.budget = budget
        self.every = declared_duration("labelling", "every", every)
        self.lease = declared_duration("labelling", "lease", lease)
        for argument, span in (("every", self.every), ("lease", self.lease)):
            if span < MINUTE:
                hint = f'write {argument}="1h"'
                raise InvalidDeclaration("labelling", argument, "is shorter than a minute", hint=hint)
        self.random = _share("random", random, LEAST_RANDOM)
        self.diverse, self.double = _share("diverse", diverse), _share("double", double)
        self.explored = _share("explored", explored)
        if by is not None and by not in (*_CLASSES, *_NUMBERS):
            hint = 'write by="entropy", "margin" or "interval"'
            raise InvalidDeclaration("labelling", "by", f"is {by!r:.40}", hint=hint)
        self.by = by
        self.slices = tuple(slices)
        for one in self.slices:
            if not isinstance(one, Slice):
                hint = 'write slices=[varv.slice("origin", "JFK")]'
                raise InvalidDeclaration("labelling", "slices", f"names {one!r:.40}", hint=hint)
        if revisions not in ("first", "latest"):
            hint = 'write revisions="first" or "latest"'
            raise InvalidDeclaration("labelling", "revisions", f"is {revisions!r:.40}", hint=hint)
        self.revisions: Revisions = revisions

    def policy_for(self, model: str, task: Task) -> LabellingPolicy:
        """Return what is declared, for a task.

        Raises
        ------
        InvalidDeclaration
            If the task has no outcome to label, or its predictions do not say how unsure they are.
        """
        if not task.has_outcome:
            hint = "leave labelling out"
            problem = f"has a labelling, and its task {task.name} has no outcome"
            raise InvalidDeclaration("model", model, problem, hint=hint)
        measures = _measures(task)
        if not measures or (self.by is not None and self.by not in measures):
            words = f"by {self.by}" if self.by else "by how unsure predictions are"
            allowed = " or ".join(f'by="{one}"' for one in measures)
            hint = (
                f"write {allowed}" if measures else "declare the task quantiles, which says how unsure it is"
            )
            problem = f"chooses labels {words}, which its task {task.name} does not say"
            raise InvalidDeclaration("model", model, problem, hint=hint)
        return LabellingPolicy(
            budget=self.budget,
            every=self.every,
            random=self.random,
            diverse=self.diverse,
            by=self.by or measures[0],  # type: ignore[bad-argument-type]
            slices=self.slices,
            double=self.double,
            lease=self.lease,
            explored=self.explored,
            revisions=self.revisions,
        )


def _measures(task: Task) -> tuple[str, ...]:
    """Return by what predictions of a task say how unsure they are; asked of one that knows nothing."""
    if task.class_probabilities(np.full((1, task.width), 1 / max(2, task.width))) is not None:
        return _CLASSES
    return _NUMBERS if task.interval_width(np.zeros((1, task.width))) is not None else ()


def _share(argument: str, given: float, least: float = 0.0) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not least <= given <= 1:
        hint = f"write {argument}={max(least, 0.2):g}; from {least:g} to 1"
        raise InvalidDeclaration("labelling", argument, "is not allowed", given=repr(given)[:40], hint=hint)
    return float(given)
