"""Weighing a training: stored versions scored on the same logged features, and what a fresh one would save.

Once a week every recent version of the model scores the requests that have matured since, none of which it
was fitted on; only the mean losses are kept, in the ledger. From all such weeks the growth curve of
`stats.benefit` is learned, and the curve says what the version in service has cost against a fresh one.
No shadow is needed, and nothing of the past is scored twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from msgspec.structs import replace

from varv.kernel.clock import DAY, HOUR, WEEK, Duration, Instant
from varv.kernel.codec import Digest
from varv.kernel.ids import ModelName, Version, derived_seed
from varv.kernel.views import Views
from varv.loop.plan import LoopParts
from varv.loop.views import LoopRecord, LoopView
from varv.loop.weighing.model import (
    BenefitPolicy,
    BenefitWeighed,
    PeriodWeighed,
    VersionKnown,
    WeighBenefit,
    Weighed,
)
from varv.registry import RegistryView, VersionRegistered
from varv.serving.scores import Scores, lists_of
from varv.stats.benefit import (
    Curve,
    PairSums,
    growth_curve,
    is_beyond,
    pair_sums,
    predicted,
    price_of_budget,
    terms,
)
from varv.stats.intervals import Numbers

MOST_VERSIONS = 10
"""Scored each week: the newest half of them, and of the older ones as many, evenly."""
MOST_ROWS = 20_000
"""Scored of a week; of more requests every so many-th."""
MOST_WEEKS = 26
"""Caught up with at once, where the trigger is declared on a model that has a past."""
OVERLAP = Duration(12 * HOUR)
"""A version that has seen so much of the beginning of a week is still compared, on the rest of it."""
SCORED_DIGITS = 9
YEAR = Duration(365 * DAY)

PackageScores = Callable[[Digest, pl.DataFrame], Scores]
"""From a stored package and rows to what it says of them."""


class Weigher:
    """Weighs what a training would save.

    Parameters
    ----------
    scores
        Scores rows by a stored package.
    views
        Of the home.
    """

    def __init__(self, scores: PackageScores, views: Views) -> None:
        self._scores = scores
        self._views = views

    def weigh(self, parts: LoopParts, command: WeighBenefit) -> BenefitWeighed | None:
        """Return what is known at the command's time of what a fresh model would save; None where the trigger
        is not declared any more.
        """
        policy, model = parts.loop.benefit, command.model
        if policy is None:
            return None
        with self._views.reading(LoopView) as loops, self._views.reading(RegistryView) as registry:
            record = loops.loops[model]
            before, n_taken = record.weighed, _trainings_a_promotion(record)
            versions = {
                version: one.registered
                for version, one in registry.models[model].versions.items()
                if not one.registered.planted
            }
        fresh = self._new_versions(parts, versions, before)
        weighed = Weighed(before.periods, (*before.known, *fresh))
        periods = self._new_periods(parts, command, versions, weighed)
        now = Weighed((*before.periods, *periods), weighed.known)
        return _told(parts, policy, command, now, len(before.periods), fresh, n_taken)

    def _new_versions(
        self, parts: LoopParts, versions: Mapping[int, VersionRegistered], before: Weighed
    ) -> tuple[VersionKnown, ...]:
        """Return how fresh the versions are that were registered since."""
        seen, mature = {one.version for one in before.known}, parts.loop.outcome.mature
        found = []
        for version, made in sorted(versions.items()):
            if version not in seen:
                # What was trained elsewhere knows of requests what it says that it does.
                until = Instant(made.cutoff - mature) if made.imported is None else made.data_end
                found.append(VersionKnown(version, until, _n_known(parts, until)))
        return tuple(found)

    def _new_periods(
        self,
        parts: LoopParts,
        command: WeighBenefit,
        versions: Mapping[int, VersionRegistered],
        weighed: Weighed,
    ) -> tuple[PeriodWeighed, ...]:
        """Return what versions lost in each week that has matured since the last one that was weighed."""
        last = Instant(command.through - parts.loop.outcome.mature)
        first = min((one.until for one in weighed.known), default=last)
        begin = Instant(max(first - OVERLAP, last - MOST_WEEKS * WEEK))
        if weighed.periods:
            begin = Instant(max(begin, weighed.periods[-1].until))
        n_weeks = round((last - begin) / WEEK)
        ends = [Instant(last - number * WEEK) for number in range(n_weeks - 1, -1, -1)]
        found = []
        for until in ends:
            since = Instant(max(begin, until - WEEK))
            if until - since >= DAY:
                found.append(self._period(parts, command, versions, weighed.known, since, until))
        return tuple(found)

    def _period(
        self,
        parts: LoopParts,
        command: WeighBenefit,
        versions: Mapping[int, VersionRegistered],
        known: Sequence[VersionKnown],
        since: Instant,
        until: Instant,
    ) -> PeriodWeighed:
        own = [one for one in known if one.version in versions and versions[one.version].imported is None]
        chosen = _chosen([one for one in own if one.until <= since + OVERLAP])
        begin = Instant(max([since, *(versions[one.version].data_end for one in chosen)]))
        rows = parts.predictions.labelled(begin, until, known_by=command.through)
        losses = self._losses(parts, rows, [versions[one.version] for one in chosen])
        n = rows.height if begin == since else round(rows.height * (until - since) / (until - begin))
        return PeriodWeighed(
            since=since,
            until=until,
            n=n,
            n_known=_n_known(parts, since),
            versions=tuple(losses),
            losses=tuple(round(loss, SCORED_DIGITS) for loss in losses.values()),
        )

    def _losses(
        self, parts: LoopParts, rows: pl.DataFrame, versions: Sequence[VersionRegistered]
    ) -> dict[int, float]:
        """Return the mean loss of each version that has a prediction for every row."""
        task = parts.loop.outcome.task
        loss = task.loss
        assert loss is not None, "a task with an outcome has a loss"
        lists = lists_of(rows, task)
        every = -(-rows.height // MOST_ROWS)
        if every > 1:
            # Lists are judged whole, so of these every so many-th is kept.
            kept = (np.arange(rows.height) if lists is None else lists) % every == 0
            rows, lists = rows.filter(kept), None if lists is None else lists[kept]
        found: dict[int, float] = {}
        if rows.is_empty():
            return found
        outcome = rows["outcome"].to_numpy()
        for made in versions:
            said = self._scores(made.package, rows)
            if bool(np.all(task.valid(said))):
                costs = loss.exact(outcome, task.matrix(said), lists)
                found[made.version] = float(costs.mean())
        return found


class _Past(NamedTuple):
    """The weeks so far as arrays."""

    since: Numbers
    """In weeks, as all times here."""
    until: Numbers
    n: Numbers
    n_known: Numbers


def _told(
    parts: LoopParts,
    policy: BenefitPolicy,
    command: WeighBenefit,
    now: Weighed,
    n_before: int,
    fresh: tuple[VersionKnown, ...],
    n_taken: float,
) -> BenefitWeighed:
    """Return the event of what the weeks say together."""
    by_version = {one.version: one for one in now.known}
    sums = [_sums_of(period, by_version) for period in now.periods]
    rng = np.random.default_rng(derived_seed(0, f"{command.model} benefit {command.through}"))
    curve = growth_curve(sums, rng)
    told = BenefitWeighed(
        model=ModelName(command.model),
        version=Version(command.version),
        through=command.through,
        periods=now.periods[n_before:],
        known=fresh,
        n_periods=sum(one.n_pairs > 0 for one in sums),
        n_pairs=sum(one.n_pairs for one in sums),
        trainings_a_promotion=round(n_taken, 6),
        certainty=policy.certainty,
        is_due=False,
    )
    counted = by_version.get(command.version)
    if counted is None:
        return told
    if curve is None:
        through = Instant(command.through - parts.loop.outcome.mature)
        learns = _n_labelled(parts, through) > _n_labelled(parts, counted.until)
        return replace(told, is_due=learns)
    told = _beyond(told, now.known, Instant(command.through - parts.loop.outcome.mature))
    past = _past(now.periods)
    price = _price(policy, curve, past, n_taken)
    saved = predicted(curve, _exposure(past, counted), certainty=policy.certainty)
    return replace(
        told,
        coefficients=tuple(float(f"{one:.9g}") for one in curve.coefficients),
        predicted=round(saved.value, 6),
        at_least=round(saved.low, 6),
        at_most=round(saved.high, 6),
        price=round(price, 6),
        is_due=saved.low >= price or told.weeks_since is not None,
    )


def _beyond(told: BenefitWeighed, known: Sequence[VersionKnown], now: Instant) -> BenefitWeighed:
    """Return the event with how long ago the last training was, if pairs of versions say nothing of that."""
    trained = np.sort([one.until / WEEK for one in known])
    if not is_beyond(trained, now / WEEK):
        return told
    since, apart = now / WEEK - float(trained[-1]), float(np.diff(trained).max())
    return replace(told, weeks_since=round(since, 2), weeks_apart=round(apart, 2))


def _sums_of(period: PeriodWeighed, known: Mapping[int, VersionKnown]) -> PairSums:
    """Return what the pairs of a week say, the older version first."""
    pairs = zip(period.versions, period.losses, strict=True)
    scored = sorted((known[version].until, version, loss) for version, loss in pairs)
    rows = [known[version].n_known for _, version, _ in scored]
    return pair_sums([loss for *_, loss in scored], rows, [at / WEEK for at, *_ in scored], period.n)


def _past(periods: Sequence[PeriodWeighed]) -> _Past:
    columns = zip(*((one.since / WEEK, one.until / WEEK, one.n, one.n_known) for one in periods), strict=True)
    return _Past(*(np.array(column, dtype=np.float64) for column in columns))


def _exposure(past: _Past, counted: VersionKnown) -> Numbers:
    """Return the sum over requests since a version's training of how far it was behind a model trained at the
    beginning of each week, in the terms of the curve.
    """
    trained = counted.until / WEEK
    share = np.clip((past.until - np.maximum(past.since, trained)) / (past.until - past.since), 0.0, 1.0)
    behind = terms(counted.n_known, past.n_known, np.maximum(past.since - trained, 0.0))
    return (share * past.n) @ behind


def _price(policy: BenefitPolicy, curve: Curve, past: _Past, n_taken: float) -> float:
    """Return what a promotion costs, in summed loss."""
    if policy.price.loss is not None:
        return policy.price.loss * n_taken
    assert policy.price.a_year is not None, "a price is a loss or a budget"
    years = float(past.until[-1] - past.since[0]) * WEEK / YEAR
    n_trainings = round(policy.price.a_year * years / n_taken)
    return price_of_budget(curve.coefficients, past.n_known, past.n, n_trainings)


def _trainings_a_promotion(record: LoopRecord) -> float:
    """Return how many trainings a promotion takes: those that were refused are paid as well. One of each is
    added, so that one refusal is not taken for the rule.
    """
    own = [one for one in record.attempts.values() if not one.planted and not one.imported]
    ended = [one for one in own if one.ended_at is not None and not one.detail]
    n_promoted = sum(one.outcome == "promoted" for one in ended)
    return (len(ended) + 1) / (n_promoted + 1)


def _chosen(versions: Sequence[VersionKnown]) -> list[VersionKnown]:
    """Return the versions that are scored: the newest, and of the older ones some, the oldest among them,
    since what little it knew of says most of what knowing more is worth.
    """
    n_each = MOST_VERSIONS // 2
    ordered = sorted(versions, key=lambda one: (one.until, one.version))
    older, newest = ordered[:-n_each], ordered[-n_each:]
    if len(older) > n_each:
        older = [older[round(place * (len(older) - 1) / (n_each - 1))] for place in range(n_each)]
    return [*older, *newest]


def _n_known(parts: LoopParts, until: Instant) -> int:
    """Return how many outcomes a model knows that reads requests before `until`, as far back as declared."""
    window, n = parts.loop.train.window, _n_labelled(parts, until)
    if window is None:
        return n
    return n - _n_labelled(parts, Instant(until + parts.loop.outcome.mature - window))


def _n_labelled(parts: LoopParts, until: Instant) -> int:
    """Return how many requests before `until` had their outcome once all of them were mature."""
    return parts.predictions.n_labelled(until, known_by=Instant(until + parts.loop.outcome.mature))
