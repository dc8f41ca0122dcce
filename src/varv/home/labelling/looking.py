"""What labels say: how far labellers agree, which labels are probably wrong, what the model loses on all
requests, and how much of what is known was seen by chance.

Everything here is read, and nothing is corrected: who finds a wrong label says so by `feedback.give`, or by
`dataset.merge`. Every number names the instant up to which it knows outcomes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl

from varv.home.labelling.desk import LabelledModel, Labelling
from varv.home.labelling.verbs import QueueRequest
from varv.home.labelling.windows import champion_scores, with_scores
from varv.kernel.clock import DAY, Instant, as_datetime, iso
from varv.kernel.codec import finite
from varv.kernel.errors import FailedPrecondition, InvalidInput
from varv.kernel.verbs import EXPORT, READ, verb
from varv.labels import LabelsView, rules
from varv.labels.model import NO_OUTCOME, said
from varv.labels.views import Item, Said, Window
from varv.serving.scores import Role, scores_in
from varv.stats.agreement import cohen_kappa
from varv.stats.intervals import wilson
from varv.stats.label_errors import confident_errors
from varv.stats.sampling import clipped_weights, effective_sample_size, inverse_probability_mean

MOST_DAYS = 366
MOST_LISTED = 1000
DATA = "data"
"""The source of outcomes that nobody labelled."""


class LabelsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a model, the only one of the home if it is left out, and the days that are looked at."""

    model: str = ""
    days: int = 30


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
    rows = labelling.rows(of.name, now - _checked_days(asked.days) * DAY, now)
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
def estimate(labelling: Labelling, asked: LabelsRequest) -> LossEstimate:
    """Estimate what the champion loses on all requests from those that were labelled, without bias.

    Raises
    ------
    FailedPrecondition
        If the task has no loss.
    """
    of, now = labelling.model(asked.model), labelling.clock.now()
    loss = of.outcome.task.loss
    if loss is None:
        hint = f"there is nothing to estimate of a {of.outcome.task.name}"
        raise FailedPrecondition("model", of.name, "has no loss", hint=hint)
    seen = _seen(labelling, of, asked.days)
    known = seen.rows.filter(pl.col("probability") > 0).drop_nulls("loss")
    losses, chances = known["loss"].to_numpy(), known["probability"].to_numpy()
    found = inverse_probability_mean(losses, chances) if known.height else None
    n = seen.rows.height
    return LossEstimate(
        model=of.name,
        known_at=iso(now),
        loss=loss.name,
        value=None if found is None else found.value,
        low=None if found is None else finite(found.low),
        high=None if found is None else finite(found.high),
        plain=float(losses.mean()) if known.height else None,
        n=known.height,
        n_requests=n,
        effective_n=round(effective_sample_size(1 / chances), 1),
        covered=round(min(1.0, float((1 / chances).sum()) / n), 4) if n else 0.0,
        by_source=tuple(_feedback_losses(seen)),
    )


def _feedback_losses(seen: _Seen) -> Iterator[SourceLoss]:
    rows = seen.rows.filter(pl.col("key").is_in(list(seen.feedback))).drop_nulls("loss")
    said_of = [seen.feedback[key] for key in rows["key"].to_list()]
    losses, weights = rows["loss"].to_numpy(), np.array([one.weight for one in said_of])
    for source in sorted({one.source for one in said_of}):
        own = np.array([one.source == source for one in said_of])
        yield SourceLoss(
            source=source,
            n=int(own.sum()),
            weight=float(weights[own].sum()),
            loss=float(weights[own] @ losses[own] / weights[own].sum()),
        )


@verb("labels.exposure", needs=READ)
def exposure(labelling: Labelling, asked: LabelsRequest) -> Exposure:
    """Say how much of what is known was seen by chance, and what each version loses on requests like all."""
    of, now = labelling.model(asked.model), labelling.clock.now()
    seen = _seen(labelling, of, asked.days)
    n_explored, n = rules.explored(seen.windows)
    share = wilson(n_explored, n)
    return Exposure(
        model=of.name,
        known_at=iso(now),
        since=iso(seen.windows[0].since) if seen.windows else "",
        n=n,
        n_known=int(seen.rows["known"].sum()),
        n_no_outcome=int(seen.rows["without"].sum()),
        n_explored=n_explored,
        explored=finite(share.value),
        low=share.low,
        high=share.high,
        declared=of.policy.explored,
        alarm=seen.alarm,
        versions=tuple(_shown(seen.rows)),
    )


def _shown(rows: pl.DataFrame) -> Iterator[ShownVersion]:
    rows = rows.filter(pl.col("propensity") > 0)
    for (version,), own in sorted(rows.group_by("version"), key=lambda pair: pair[0][0] or 0):
        known = own.drop_nulls("served_loss")
        weights, losses = clipped_weights(known["propensity"].to_numpy()), known["served_loss"].to_numpy()
        yield ShownVersion(
            version=version or 0,
            n=own.height,
            n_known=int(own["known"].sum()),
            n_no_outcome=int(own["without"].sum()),
            effective_n=round(effective_sample_size(weights), 1),
            loss=float(weights @ losses / weights.sum()) if known.height else None,
        )


class _Seen(NamedTuple):
    """The requests of the windows that were chosen from, and what is on record of their labels.

    `rows` have, of each request, the version that answered, the probability of its arm (``propensity``) and
    of its outcome being seen as by chance, 0 for none (``probability``), whether it is known or never will
    be, and the loss of the champion and of what was answered, null where it is not known.
    """

    windows: list[Window]
    feedback: dict[str, Said]
    alarm: str
    rows: pl.DataFrame


def _seen(labelling: Labelling, of: LabelledModel, days: int) -> _Seen:
    since = labelling.clock.now() - _checked_days(days) * DAY
    with labelling.views.reading(LabelsView) as view:
        labelled = view.of(of.name)
        windows = [one for one in labelled.windows if one.until > since]
        feedback, low = dict(labelled.feedback), labelled.low
        items = list(labelled.items.values())
        chances = _chances(items, windows)
        without = {item.key for item in items if item.settled is not None and item.settled.said == NO_OUTCOME}
    # Window by window, so that what is in memory is what is asked for and not what there is.
    rows = [_measured(labelling, of, one, chances, without) for one in windows]
    alarm = "" if low is None else low.line()
    return _Seen(windows, feedback, alarm, pl.concat(rows) if rows else pl.DataFrame(schema=_MEASURED))


_MEASURED = {
    "key": pl.String(),
    "version": pl.Int32(),
    "propensity": pl.Float64(),
    "probability": pl.Float64(),
    "known": pl.Boolean(),
    "without": pl.Boolean(),
    "loss": pl.Float64(),
    "served_loss": pl.Float64(),
}


def _measured(
    labelling: Labelling, of: LabelledModel, window: Window, chances: Mapping[str, float], without: set[str]
) -> pl.DataFrame:
    rows = labelling.rows(of.name, window.since, window.until)
    if rows.is_empty():
        return pl.DataFrame(schema=_MEASURED)
    arm = pl.when(pl.col("arm") == "candidate").then(pl.col("share")).otherwise(1.0 - pl.col("share"))
    chosen = pl.col("key").replace_strict(
        list(chances), list(chances.values()), default=None, return_dtype=pl.Float64
    )
    # What was known before anything was chosen is certain; what came later beside the queue says nothing.
    before = pl.when(pl.col("known_at") <= as_datetime(window.at)).then(1.0).otherwise(0.0)
    return rows.select(
        "key",
        "version",
        propensity=arm.fill_null(1.0),
        probability=pl.coalesce(chosen, before),
        known=pl.col("outcome").is_not_null(),
        without=pl.col("key").is_in(list(without)),
        loss=_losses(of, rows, "champion_score"),
        served_loss=_losses(of, rows, "score"),
    ).cast(_MEASURED)  # type: ignore[bad-argument-type]


def _losses(of: LabelledModel, rows: pl.DataFrame, role: Role) -> pl.Series:
    """Return what each row lost by what one role said, null where that or the outcome is not there."""
    task, found = of.outcome.task, np.full(rows.height, np.nan)
    predicted = scores_in(rows, task, role).astype(np.float64)
    sound = rows["outcome"].is_not_null().to_numpy() & ~np.isnan(predicted).any(axis=1)
    sound[sound] = task.valid(predicted[sound])
    if sound.any() and task.loss is not None:
        kept = rows.filter(pl.Series(sound))
        groups = kept["group"].to_numpy() if task.group else None
        found[sound] = task.loss.exact(task.target(kept["outcome"]), predicted[sound], groups)
    return pl.Series("loss", found, nan_to_null=True)


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


def _checked_days(days: int) -> int:
    if not 1 <= days <= MOST_DAYS:
        hint = f"look at 1 to {MOST_DAYS} days"
        raise InvalidInput("field", "days", "is not allowed", given=days, hint=hint)
    return days
