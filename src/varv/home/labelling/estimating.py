"""What labels say of all requests: the model's loss, and how much of what is known was seen by chance.

Every number names the instant up to which it knows outcomes. Windows are read one after the other, so that
what is in memory is what is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl

from varv.home.labelling.desk import LabelledModel, Labelling
from varv.home.labelling.windows import checked_days
from varv.kernel.clock import DAY, as_datetime, iso
from varv.kernel.codec import finite
from varv.kernel.errors import FailedPrecondition
from varv.kernel.verbs import READ, verb
from varv.labels import LabelsView, rules
from varv.labels.model import NO_OUTCOME
from varv.labels.views import Said, Window
from varv.serving.scores import GROUP, Role, scores_in
from varv.stats.intervals import wilson
from varv.stats.sampling import clipped_weights, effective_sample_size, inverse_probability_mean


class LabelsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a model, the only one of the home if it is left out, and the days that are looked at."""

    model: str = ""
    days: int = 30


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
    since = labelling.clock.now() - checked_days(days) * DAY
    with labelling.views.reading(LabelsView) as view:
        labelled = view.of(of.name)
        windows = [one for one in labelled.windows if one.until > since]
        feedback, low = dict(labelled.feedback), labelled.low
        items = list(labelled.items.values())
        chances = rules.chances(items, windows)
        without = {item.key for item in items if item.settled is not None and item.settled.said == NO_OUTCOME}
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
        groups = kept[GROUP].to_numpy() if task.group else None
        found[sound] = task.loss.exact(task.target(kept["outcome"]), predicted[sound], groups)
    return pl.Series("loss", found, nan_to_null=True)
