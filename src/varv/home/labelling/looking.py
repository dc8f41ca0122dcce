"""What labels say of each other: how far labellers agree, and which labels are probably wrong.

Everything here is read, and nothing is corrected: who finds a wrong label says so by `feedback.give`, or by
`dataset.merge`. What labels say of all requests is in `estimating`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations

import msgspec
import numpy as np
import polars as pl

from varv.home.labelling.desk import LabelledModel, Labelling
from varv.home.labelling.verbs import QueueRequest
from varv.home.labelling.windows import champion_scores, checked_days
from varv.kernel.clock import DAY, Instant, iso
from varv.kernel.codec import finite
from varv.kernel.errors import FailedPrecondition, InvalidInput
from varv.kernel.verbs import EXPORT, READ, verb
from varv.labels import LabelsView
from varv.labels.model import said
from varv.stats.agreement import cohen_kappa
from varv.stats.intervals import Numbers, wilson
from varv.stats.label_errors import confident_errors
from varv.tasks.measures import Array

MOST_LISTED = 1000
DATA = "data"
"""The source of outcomes that nobody labelled."""


class ErrorsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a model, the days that are looked at, and how many candidates to list."""

    model: str = ""
    days: int = 90
    limit: int = 50


class Agreed(msgspec.Struct, frozen=True, kw_only=True):
    """How far two labellers agree on what both labelled; kappa is null where chance explains all."""

    first: str
    second: str
    part: str
    """The declared slice; empty for all requests."""
    n: int
    n_equal: int
    kappa: float | None
    low: float
    high: float


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """The agreement of every two labellers, over all and by slice."""

    model: str
    known_at: str
    n_twice: int
    """Requests that two people or more labelled."""
    pairs: tuple[Agreed, ...]


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """A label that is probably wrong: what it says, what is likelier, and by how much."""

    key: str
    requested_at: str
    label: str
    likelier: str
    margin: float
    sources: tuple[str, ...]


class SourceErrors(msgspec.Struct, frozen=True, kw_only=True):
    """Of the labels of one source or labeller, how many are candidates; the share with its 95 % interval."""

    source: str
    n: int
    n_suspect: int
    share: float
    low: float
    high: float


class LabelErrors(msgspec.Struct, frozen=True, kw_only=True):
    """Labels that are probably wrong, the worst first, and who they are from. Nothing was changed."""

    model: str
    known_at: str
    n: int
    n_suspect: int
    by_source: tuple[SourceErrors, ...]
    suspects: tuple[Suspect, ...]


@verb("labels.agreement", needs=READ)
def agreement(labelling: Labelling, asked: QueueRequest) -> Agreement:
    """Say how far labellers agree: Cohen's kappa of every two, over all requests and by slice."""
    of = labelling.model(asked.model)
    with labelling.views.reading(LabelsView) as view:
        twice = [
            (item.part, {one.by: one.said for one in item.labels})
            for item in view.of(of.name).items.values()
            if len(item.labels) > 1
        ]
    names = sorted({by for _, labels in twice for by in labels})
    parts = ["", *sorted({part for part, _ in twice if part})]
    pairs = [
        found
        for first, second in combinations(names, 2)
        for part in parts
        if (found := _agreed(twice, first, second, part)) is not None
    ]
    return Agreement(
        model=of.name, known_at=iso(labelling.clock.now()), n_twice=len(twice), pairs=tuple(pairs)
    )


def _agreed(twice: list[tuple[str, dict[str, str]]], first: str, second: str, part: str) -> Agreed | None:
    both = [
        (labels[first], labels[second])
        for where, labels in twice
        if first in labels and second in labels and part in ("", where)
    ]
    if not both:
        return None
    kappa = cohen_kappa([one for one, _ in both], [other for _, other in both])
    return Agreed(
        first=first,
        second=second,
        part=part,
        n=len(both),
        n_equal=sum(one == other for one, other in both),
        kappa=finite(round(kappa.value, 4)),
        low=round(kappa.low, 4),
        high=round(kappa.high, 4),
    )


@verb("labels.errors", needs=EXPORT)
def errors(labelling: Labelling, asked: ErrorsRequest) -> LabelErrors:
    """List the labels that are probably wrong, for somebody to look at; nothing is corrected.

    The probabilities are those that were said before the outcome was known, by a version that cannot have
    been trained on it.

    Raises
    ------
    FailedPrecondition
        If outcomes are no classes.
    """
    of, now = labelling.model(asked.model), labelling.clock.now()
    if not 0 <= asked.limit <= MOST_LISTED:
        hint = f"list {MOST_LISTED} at most"
        raise InvalidInput("field", "limit", "is not allowed", given=asked.limit, hint=hint)
    task = of.outcome.task
    rows = labelling.with_outcome(of, now - checked_days(asked.days) * DAY, now)
    p = task.class_probabilities(champion_scores(rows, task) if rows.height else np.zeros((0, task.width)))
    if p is None:
        hint = "labels that are numbers have no classes to be mistaken for"
        raise FailedPrecondition("model", of.name, f"predicts a {task.name}", hint=hint)
    labels = task.target(rows["outcome"]) if rows.height else np.zeros(0, np.int64)
    sources = _sources(labelling, of)
    suspects = tuple(_suspects(of, rows, labels, p, sources))
    return LabelErrors(
        model=of.name,
        known_at=iso(now),
        n=rows.height,
        n_suspect=len(suspects),
        by_source=tuple(_by_source(rows["key"].to_list(), suspects, sources)),
        suspects=suspects[: asked.limit],
    )


def _suspects(
    of: LabelledModel, rows: pl.DataFrame, labels: Array, p: Numbers, sources: Mapping[str, tuple[str, ...]]
) -> Iterator[Suspect]:
    found = confident_errors(labels, p)
    names = [said(one) for one in of.outcome.task.rule().values or ()]
    keys, times = rows["key"].to_list(), rows["requested_at"].to_physical().to_list()
    listed = zip(found.rows.tolist(), found.likelier.tolist(), found.margin.tolist(), strict=True)
    for row, code, margin in listed:
        yield Suspect(
            key=keys[row],
            requested_at=iso(Instant(times[row])),
            label=names[int(labels[row])],
            likelier=names[code],
            margin=round(margin, 6),
            sources=sources.get(keys[row], (DATA,)),
        )


def _sources(labelling: Labelling, of: LabelledModel) -> dict[str, tuple[str, ...]]:
    """Return, by key, who an outcome is from."""
    with labelling.views.reading(LabelsView) as view:
        labelled = view.of(of.name)
        found = {
            key: tuple(one.by for one in item.labels if one.said == item.settled.said)
            for key, item in labelled.items.items()
            if item.settled is not None
        }
        return found | {key: (one.source,) for key, one in labelled.feedback.items()}


def _by_source(
    keys: list[str], suspects: tuple[Suspect, ...], sources: Mapping[str, tuple[str, ...]]
) -> Iterator[SourceErrors]:
    n_of = Counter(source for key in keys for source in sources.get(key, (DATA,)))
    n_suspect = Counter(source for one in suspects for source in one.sources)
    for source, n in sorted(n_of.items()):
        share = wilson(n_suspect[source], n)
        yield SourceErrors(
            source=source,
            n=n,
            n_suspect=n_suspect[source],
            share=round(share.value, 6),
            low=round(share.low, 6),
            high=round(share.high, 6),
        )
