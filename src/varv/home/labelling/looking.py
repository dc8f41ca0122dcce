"""What labels say: how far labellers agree, which labels are probably wrong, what the model loses on all
requests, and how much of what is known was seen by chance.

Everything here is read, and nothing is corrected: who finds a wrong label says so by `feedback.give`, or by
`dataset.merge`. Every number names the instant up to which it knows outcomes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations

import msgspec
import numpy as np
import polars as pl

from varv.home.labelling.desk import LabelledModel, Labelling
from varv.home.labelling.windows import champion_scores, with_scores
from varv.kernel.clock import DAY, Instant, as_datetime, iso
from varv.kernel.codec import finite
from varv.kernel.errors import FailedPrecondition, InvalidInput
from varv.kernel.verbs import EXPORT, READ, verb
from varv.labels import LabelsView, rules
from varv.labels.model import NO_OUTCOME, said
from varv.labels.views import Item, Window
from varv.serving.scores import score_columns
from varv.stats.agreement import cohen_kappa
from varv.stats.intervals import Numbers, wilson
from varv.stats.label_errors import confident_errors
from varv.stats.sampling import clipped_weights, effective_sample_size, inverse_probability_mean

MOST_DAYS = 366
MOST_LISTED = 1000
DATA = "data"
"""The source of outcomes that nobody labelled."""


class AgreementRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a model; the only one of the home if it is left out."""

    model: str = ""


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


class SourceLoss(msgspec.Struct, frozen=True, kw_only=True):
    """What the model lost by the feedback of one source, each weighted as it was given."""

    source: str
    n: int
    weight: float
    loss: float


class LossEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """What the champion lost on all requests of the windows, by those whose outcome is known.

    `value` weights each request by the inverse of its probability of being chosen; `plain` does not, and is
    too high where unsure requests are labelled more often. `covered` is the share of the requests that those
    who were labelled stand for; null numbers are not determined.
    """

    model: str
    known_at: str
    loss: str
    value: float | None
    low: float | None
    high: float | None
    plain: float | None
    n: int
    n_requests: int
    effective_n: float
    covered: float
    by_source: tuple[SourceLoss, ...]


class ShownVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the requests that one version answered: how many, with which outcome, and its loss on
    requests like all, each weighted by the inverse of the probability of its arm, 20 at most.
    """

    version: int
    n: int
    n_known: int
    n_no_outcome: int
    effective_n: float
    loss: float | None


class Exposure(msgspec.Struct, frozen=True, kw_only=True):
    """How much of what is known of a model's requests was seen by chance, and not by what was decided."""

    model: str
    known_at: str
    since: str
    n: int
    n_known: int
    n_no_outcome: int
    """Of which a labeller said that there is no outcome and never will be."""
    n_explored: int
    explored: float | None
    low: float
    high: float
    declared: float
    alarm: str
    versions: tuple[ShownVersion, ...]


@verb("labels.agreement", needs=READ)
def agreement(labelling: Labelling, asked: AgreementRequest) -> Agreement:
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
    if not 1 <= asked.days <= MOST_DAYS or not 0 <= asked.limit <= MOST_LISTED:
        hint = f"look at 1 to {MOST_DAYS} days, and list {MOST_LISTED} at most"
        raise InvalidInput("field", "days", "or limit is not allowed", hint=hint)
    task = of.outcome.task
    rows = labelling.rows(of.name, now - asked.days * DAY, now)
    rows = with_scores(rows.drop_nulls("outcome"), task)
    p = task.class_probabilities(champion_scores(rows, task) if rows.height else np.zeros((0, task.width)))
    if p is None:
        hint = "labels that are numbers have no classes to be mistaken for"
        raise FailedPrecondition("model", of.name, f"predicts a {task.name}", hint=hint)
    labels = task.target(rows["outcome"]) if rows.height else np.zeros(0, np.int64)
    found, sources = confident_errors(labels, p), _sources(labelling, of)
    names = [said(one) for one in task.rule().values or ()]
    keys, times = rows["key"].to_list(), rows["requested_at"].to_physical().to_list()
    listed = zip(found.rows.tolist(), found.likelier.tolist(), found.margin.tolist(), strict=True)
    suspects = tuple(
        Suspect(
            key=keys[row],
            requested_at=iso(Instant(times[row])),
            label=names[int(labels[row])],
            likelier=names[code],
            margin=round(margin, 6),
            sources=sources.get(keys[row], (DATA,)),
        )
        for row, code, margin in listed
    )
    return LabelErrors(
        model=of.name,
        known_at=iso(now),
        n=rows.height,
        n_suspect=len(suspects),
        by_source=tuple(_by_source(keys, suspects, sources)),
        suspects=suspects[: asked.limit],
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


@verb("labels.estimate", needs=READ)
def estimate(labelling: Labelling, asked: AgreementRequest) -> LossEstimate:
    """Estimate what the champion loses on all requests from those that were labelled, without bias.

    Raises
    ------
    FailedPrecondition
        If the task has no loss.
    """
    of, now = labelling.model(asked.model), labelling.clock.now()
    task = of.outcome.task
    if task.loss is None:
        raise FailedPrecondition("model", of.name, f"predicts a {task.name}, which has no loss", hint="")
    with labelling.views.reading(LabelsView) as view:
        labelled = view.of(of.name)
        windows, feedback = list(labelled.windows), dict(labelled.feedback)
        chances = _chances(list(labelled.items.values()), windows)
    rows = _rows_of(labelling, of, windows)
    known = with_scores(rows.drop_nulls("outcome"), task)
    known = known.join(_chance_frame(known, chances, windows), on=["key", "requested_at"], how="inner")
    losses, weights = _losses(of, known), known["probability"].to_numpy()
    found = inverse_probability_mean(losses, weights) if known.height else None
    said_of = with_scores(rows.filter(pl.col("key").is_in(list(feedback))).drop_nulls("outcome"), task)
    return LossEstimate(
        model=of.name,
        known_at=iso(now),
        loss=task.loss.name,
        value=None if found is None else found.value,
        low=None if found is None else finite(found.low),
        high=None if found is None else finite(found.high),
        plain=float(losses.mean()) if known.height else None,
        n=known.height,
        n_requests=rows.height,
        effective_n=round(effective_sample_size(1 / weights), 1),
        covered=round(min(1.0, float((1 / weights).sum()) / rows.height), 4) if rows.height else 0.0,
        by_source=tuple(_feedback_losses(said_of, _losses(of, said_of), feedback)),
    )


def _rows_of(labelling: Labelling, of: LabelledModel, windows: list[Window]) -> pl.DataFrame:
    if not windows:
        return labelling.rows(of.name, 0, 0)
    return labelling.rows(of.name, windows[0].since, windows[-1].until)


def _losses(of: LabelledModel, rows: pl.DataFrame) -> Numbers:
    task = of.outcome.task
    if rows.is_empty() or task.loss is None:
        return np.zeros(0)
    groups = rows["group"].to_numpy() if task.group else None
    return task.loss.exact(task.target(rows["outcome"]), champion_scores(rows, task), groups)


def _chances(items: list[Item], windows: list[Window]) -> dict[str, float]:
    """Return, by key, the probability of having been chosen and labelled, of the requests of the queue.

    Those that nobody has labelled yet are missing as by chance: the queue alternates causes in its order.
    """
    place = np.searchsorted([one.until for one in windows], [one.requested_at for one in items], side="right")
    strata = [(int(at), item.probability < 1) for at, item in zip(place, items, strict=True)]
    n_chosen = Counter(strata)
    n_settled = Counter(one for one, item in zip(strata, items, strict=True) if item.settled is not None)
    return {
        item.key: item.probability * n_settled[one] / n_chosen[one] if item.settled is not None else 0.0
        for one, item in zip(strata, items, strict=True)
    }


def _chance_frame(known: pl.DataFrame, chances: Mapping[str, float], windows: list[Window]) -> pl.DataFrame:
    """Return the requests that stand for others, with their probability: those that were labelled, and those
    whose outcome was known before anything was chosen, which are certain.
    """
    bounds = pl.DataFrame(
        {
            "until": [as_datetime(one.until) for one in windows],
            "chosen_at": [as_datetime(one.at) for one in windows],
        },
        schema={"until": known.schema["requested_at"], "chosen_at": known.schema["requested_at"]},
    )
    found = known.select("key", "requested_at", "known_at").sort("requested_at")
    # A window ends before its `until`, so equal times belong to the next one.
    found = found.join_asof(
        bounds.sort("until"),
        left_on="requested_at",
        right_on="until",
        strategy="forward",
        allow_exact_matches=False,
    )
    chosen = pl.col("key").replace_strict(
        list(chances), list(chances.values()), default=None, return_dtype=pl.Float64
    )
    before = pl.when(pl.col("known_at") <= pl.col("chosen_at")).then(1.0)
    found = found.select("key", "requested_at", probability=pl.coalesce(chosen, before))
    return found.filter(pl.col("probability") > 0)


def _feedback_losses(
    rows: pl.DataFrame, losses: Numbers, feedback: Mapping[str, object]
) -> Iterator[SourceLoss]:
    if rows.is_empty():
        return
    given = [feedback[key] for key in rows["key"].to_list()]
    sources = np.array([one.source for one in given])  # type: ignore[missing-attribute]
    weights = np.array([one.weight for one in given])  # type: ignore[missing-attribute]
    for source in sorted(set(sources.tolist())):
        own = sources == source
        yield SourceLoss(
            source=source,
            n=int(own.sum()),
            weight=float(weights[own].sum()),
            loss=float(weights[own] @ losses[own] / weights[own].sum()),
        )


@verb("labels.exposure", needs=READ)
def exposure(labelling: Labelling, asked: AgreementRequest) -> Exposure:
    """Say how much of what is known was seen by chance, and what each version loses on requests like all."""
    of, now = labelling.model(asked.model), labelling.clock.now()
    with labelling.views.reading(LabelsView) as view:
        labelled = view.of(of.name)
        windows, low = labelled.windows[-rules.EXPLORED_OVER :], labelled.low
        without = {
            key
            for key, item in labelled.items.items()
            if item.settled is not None and item.settled.said == NO_OUTCOME
        }
    rows, (n_explored, n) = _rows_of(labelling, of, windows), rules.explored(windows)
    share = wilson(n_explored, n)
    return Exposure(
        model=of.name,
        known_at=iso(now),
        since=iso(windows[0].since) if windows else "",
        n=n,
        n_known=rows["outcome"].count(),
        n_no_outcome=rows["key"].is_in(list(without)).sum() if without else 0,
        n_explored=n_explored,
        explored=finite(share.value),
        low=share.low,
        high=share.high,
        declared=of.policy.explored,
        alarm="" if low is None else low.line(),
        versions=tuple(_shown(of, rows, without)),
    )


def _shown(of: LabelledModel, rows: pl.DataFrame, without: set[str]) -> Iterator[ShownVersion]:
    if rows.is_empty():
        return
    task = of.outcome.task
    own_arm = pl.when(pl.col("arm") == "candidate").then(pl.col("share")).otherwise(1.0 - pl.col("share"))
    rows = rows.with_columns(propensity=own_arm.fill_null(1.0)).filter(pl.col("propensity") > 0)
    for (version,), own in sorted(rows.group_by("version"), key=lambda pair: pair[0][0] or 0):
        known = own.drop_nulls(["outcome", *score_columns(task)])
        weights = clipped_weights(known["propensity"].to_numpy())
        loss = None
        if known.height and task.loss is not None:
            predicted = known.select(score_columns(task)).to_numpy().astype(np.float64)
            groups = known["group"].to_numpy() if task.group else None
            lost = task.loss.exact(task.target(known["outcome"]), predicted, groups)
            loss = float(weights @ lost / weights.sum())
        yield ShownVersion(
            version=version or 0,
            n=own.height,
            n_known=known.height,
            n_no_outcome=own["key"].is_in(list(without)).sum() if without else 0,
            effective_n=round(effective_sample_size(weights), 1),
            loss=loss,
        )
