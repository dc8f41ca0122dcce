"""Leaks: columns of the past that hold what nobody knows when a request is made.

A column that is not listed under ``known_at`` counts as known at the request. Whether it was, no program can
know; but what was filled in later leaves traces. At the first training each feature is asked: does it predict
too well alone, on days that it was not learned from? Is it equal over a stretch of requests and closer to
their own outcomes than any knowledge of their chances could be? Are its nulls where the outcomes are? Later:
do past rows change when a source is read again, and is the first mature week worse than the held-out one?

Plain frames in, findings out. A finding warns and forbids nothing: an honest feature may be that good.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.kernel.clock import DAY
from varv.kernel.codec import finite
from varv.loop.leaking.model import LeakFinding
from varv.serving.scores import lists_of, score_columns, scores_in
from varv.stats.intervals import Estimate, clustered_mean, jackknife
from varv.stats.ranking import auc
from varv.tasks import Task
from varv.training.gates import Judgement

ALONE = 0.9
"""A feature whose area under the curve is above this alone, with its whole interval, is worth a look."""
ALONE_FAR = 0.85
FAR = 3.0
"""So is one above `ALONE_FAR` whose distance from a half is so many times that of every other feature."""
NULLS = 0.15
"""How far from a half the area under the curve of being null may lie."""
OWN_SHARE = 0.5
"""Of the scatter that chance gives the outcomes of requests that share a value, an honest feature leaves all;
one made of these very outcomes leaves next to none.
"""
LEAST_RUNS, LEAST_RUN = 30, 5
MOST_CLASSES = 5
"""So many classes are looked for in each feature."""
_BINS = 32
_PRIOR_ROWS = 20.0

Numbers = npt.NDArray[np.float64]


def examine(
    fit: pl.DataFrame, held_out: pl.DataFrame, features: Sequence[str], task: Task
) -> tuple[LeakFinding, ...]:
    """Return what speaks for a leak among `features`.

    Parameters
    ----------
    fit, held_out
        Labelled rows, the held-out ones later: ``requested_at``, ``outcome`` and the features.
    task
        What an outcome is.

    Notes
    -----
    A leak shows in whether one thing happened or not. Of several classes each of the most frequent is asked
    for, of numbers whether they lie above the median of `fit`.
    """
    found: dict[tuple[str, str], LeakFinding] = {}
    for happened in _happenings(fit["outcome"], task):
        first, later = (part.with_columns(happened.alias("outcome")) for part in (fit, held_out))
        for finding in _examined(first, later, features):
            found.setdefault((finding.kind, finding.subject), finding)
    return tuple(found.values())


def _happenings(outcome: pl.Series, task: Task) -> list[pl.Expr]:
    """Return what either happened or not, as 0 or 1, to be looked for in the features."""
    if not task.has_outcome or outcome.is_empty():
        return []
    here = pl.col("outcome")
    if not task.outcome_dtype.is_integer():
        return [(here > outcome.median()).cast(pl.Int8)]
    if outcome.is_in([0, 1]).all():
        return [here]
    counts = outcome.value_counts(name="n").sort("n", outcome.name, descending=[True, False])
    return [(here == value).cast(pl.Int8) for value in counts[outcome.name][:MOST_CLASSES].to_list()]


def _examined(fit: pl.DataFrame, held_out: pl.DataFrame, features: Sequence[str]) -> list[LeakFinding]:
    both = pl.concat([fit, held_out])
    found = [*_alone(fit, held_out, features)]
    for name in features:
        found += [one for one in (_own_outcomes(both, name), _nulls(both, name)) if one is not None]
    return found


def worse_live(judged: Judgement, live: pl.DataFrame, version: int) -> LeakFinding | None:
    """Return a finding if the default loss of the first mature week lies above the held-out one's by more
    than the interval of the difference; None where the task has no loss.

    Parameters
    ----------
    judged
        The held-out rows.
    live
        ``requested_at``, ``outcome`` and the ``champion_score`` columns of the requests that the version
        answered.
    """
    task, loss = judged.task, judged.task.loss
    rows = live.drop_nulls(["outcome", *score_columns(task, "champion_score")])
    if loss is None or rows.is_empty() or not len(judged):
        return None
    outcome, predicted, groups = (
        rows["outcome"].to_numpy(),
        scores_in(rows, task, "champion_score"),
        lists_of(rows, task),
    )
    now = clustered_mean(loss.exact(outcome, predicted, groups), _days(rows))
    then = clustered_mean(loss.exact(judged.outcome, judged.candidate, judged.groups), judged.days)
    difference = now.value - then.value
    half = float(np.hypot(now.high - now.value, then.high - then.value))
    if not difference - half > 0:
        return None
    text = (
        f"the {loss.label} of its first mature week is {now.value:.3f}, on held-out rows it was"
        f" {then.value:.3f}: {difference:+.3f} [{difference - half:+.3f}, {difference + half:+.3f}] worse"
        " than promised"
    )
    evidence: dict[str, float | None] = {
        "live": now.value,
        "held_out": then.value,
        "difference": difference,
        "low": difference - half,
        "high": difference + half,
    }
    for metric in list(task.metrics.values())[:1]:
        evidence[f"{metric.name}_live"] = finite(metric.value(outcome, predicted, groups))
        then_value = metric.value(judged.outcome, judged.candidate, judged.groups)
        evidence[f"{metric.name}_held_out"] = finite(then_value)
    evidence["n"] = float(now.n)
    return LeakFinding(kind="worse than held out", subject=f"v{version}", text=text, evidence=evidence)


def changed_rows(
    dataset: str,
    key: Sequence[str],
    before: pl.DataFrame,
    after: pl.DataFrame,
    *,
    keyed: Collection[str] = (),
) -> list[LeakFinding]:
    """Return a finding for each column in which rows that were stored before now read otherwise.

    Parameters
    ----------
    before, after
        The rows themselves, without what becomes known of them later: as they were stored, and as the source
        gives them now. Rows that only one of them has do not count.
    keyed
        Columns that are passed over: a rotated key makes other pseudonyms of the same values.
    """
    left_out = {*key, *keyed}
    columns = [name for name in before.columns if name in after.columns and name not in left_out]
    later = after.select(*key, *columns).unique(key, keep="first")
    paired = before.select(*key, *columns).join(later, on=list(key), suffix="~now")
    if paired.is_empty():
        return []
    differ = [pl.col(name).ne_missing(pl.col(f"{name}~now")).sum().alias(name) for name in columns]
    counts = paired.select(differ).row(0, named=True)
    return [_changed(dataset, name, count, paired.height) for name, count in counts.items() if count]


def _changed(dataset: str, column: str, n_changed: int, n_rows: int) -> LeakFinding:
    share = n_changed / n_rows
    text = (
        f"{n_changed:,} of {n_rows:,} rows that were known before read otherwise now ({share:.1%}): when the"
        " request was made it was not what training sees; list it under known_at, or keep what was known then"
    )
    evidence: dict[str, float | None] = {
        "n_changed": float(n_changed),
        "n_rows": float(n_rows),
        "share": share,
    }
    return LeakFinding(kind="past rows changed", subject=f"{dataset}.{column}", text=text, evidence=evidence)


def _alone(fit: pl.DataFrame, held_out: pl.DataFrame, features: Sequence[str]) -> list[LeakFinding]:
    if held_out["outcome"].n_unique() < 2 or len(np.unique(_days(held_out))) < 2:
        return []
    ranked = {name: _area(fit, held_out, name) for name in features}
    found = []
    for name, area in ranked.items():
        next_best = max((abs(one.value - 0.5) for other, one in ranked.items() if other != name), default=0.0)
        is_far = len(ranked) > 1 and area.low > ALONE_FAR and area.value - 0.5 > FAR * next_best
        if not (area.low > ALONE or is_far):
            continue
        text = (
            f"alone it ranks outcomes with an AUC of {area.value:.3f} [{area.low:.3f}, {area.high:.3f}] on"
            f" days that it was not learned from; the next best feature reaches {next_best + 0.5:.3f}. Is it"
            " known when the request is made?"
        )
        evidence: dict[str, float | None] = {
            "auc": area.value,
            "low": area.low,
            "high": area.high,
            "next_best": next_best + 0.5,
            "n": float(area.n),
        }
        found.append(LeakFinding(kind="predicts alone", subject=name, text=text, evidence=evidence))
    return found


def _area(fit: pl.DataFrame, held_out: pl.DataFrame, name: str) -> Estimate:
    """Return the area under the curve of one feature, its values replaced by the outcome rate that rows of
    like value had in `fit`.
    """
    codes, n_bins = _codes(fit[name], held_out[name])
    own, later = codes[: fit.height], codes[fit.height :]
    outcome = fit["outcome"].to_numpy().astype(np.float64)
    hits, n = np.bincount(own, weights=outcome, minlength=n_bins), np.bincount(own, minlength=n_bins)
    rate = (hits + _PRIOR_ROWS * outcome.mean()) / (n + _PRIOR_ROWS)
    score, truth, days = rate[later], held_out["outcome"].to_numpy(), _days(held_out)
    each = np.unique(days)
    left = [auc(truth[days != day], score[days != day]) for day in each] if each.size > 1 else []
    known = [area for area in left if np.isfinite(area)]
    if len(known) < 2:
        return Estimate(auc(truth, score), 0.0, 1.0, len(truth))
    found = jackknife(auc(truth, score), known, n=len(truth))
    return Estimate(found.value, max(0.0, found.low), min(1.0, found.high), found.n)


def _codes(*parts: pl.Series) -> tuple[npt.NDArray[np.int64], int]:
    """Return the bin of each value, cut on the first part, and the number of bins; null is one of them."""
    both = pl.concat([part.rename("x") for part in parts])
    if not (both.dtype.is_numeric() or both.dtype == pl.Boolean):
        ranks = both.cast(pl.String).rank("dense").fill_null(0).cast(pl.Int64).to_numpy()
        return ranks, int(ranks.max()) + 1
    values, first = _floats(both), _floats(parts[0])
    known = first[np.isfinite(first)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1])) if known.size else np.empty(0)
    codes = np.where(np.isfinite(values), np.searchsorted(edges, values, side="left"), len(edges) + 1)
    return codes.astype(np.int64), len(edges) + 2


def _own_outcomes(rows: pl.DataFrame, name: str) -> LeakFinding | None:
    """Return a finding if the feature is made of the outcomes of the requests that share its value.

    However well a feature knows the chances of the requests in a run, their outcomes scatter around it by
    chance: by p (1 - p) / n. A mean over the very requests has no such scatter.
    """
    column = rows[name]
    if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        return None
    values, at = _floats(column), rows["requested_at"].to_physical().to_numpy()
    known = np.isfinite(values)
    runs = _runs(values[known], rows["outcome"].to_numpy()[known].astype(np.float64), at[known])
    if runs is None or runs[0].sum() < 0.5 * rows.height:
        return None
    n, mean, value, day = runs
    left_over = _unexplained(n, mean, value)
    by_chance = n / (n - 1) * mean * (1 - mean)
    parts = (n * left_over**2, by_chance)
    whole = parts[0].sum() / max(parts[1].sum(), 1e-12)
    days = np.unique(day)
    if len(days) < 2 or not parts[1].sum():
        return None
    left = [parts[0][day != one].sum() / max(parts[1][day != one].sum(), 1e-12) for one in days]
    share = jackknife(float(whole), left, n=int(n.sum()))
    if not share.high < OWN_SHARE:
        return None
    text = (
        f"requests share a value over {len(n):,} stretches, and their outcomes scatter around it only"
        f" {share.value:.2f} [{max(0.0, share.low):.2f}, {share.high:.2f}] times as much as by chance: it"
        " seems to be computed from these very outcomes, such as a mean over the whole day"
    )
    evidence: dict[str, float | None] = {
        "scatter": share.value,
        "low": max(0.0, share.low),
        "high": share.high,
        "n_runs": float(len(n)),
        "n": float(share.n),
    }
    return LeakFinding(kind="holds its own outcomes", subject=name, text=text, evidence=evidence)


def _runs(values: Numbers, outcome: Numbers, at: npt.NDArray[np.int64]) -> tuple[Numbers, ...] | None:
    """Return size, mean outcome, value and day of the runs: requests of equal value, half a day apart at
    most.
    """
    if not values.size:
        return None
    order = np.lexsort((at, values))
    x, t, y = values[order], at[order], outcome[order]
    begins = np.r_[True, (x[1:] != x[:-1]) | (t[1:] - t[:-1] > DAY // 2)]
    run = np.cumsum(begins) - 1
    n = np.bincount(run).astype(np.float64)
    large = n >= LEAST_RUN
    if large.sum() < LEAST_RUNS:
        return None
    mean = np.bincount(run, weights=y) / n
    return n[large], mean[large], x[begins][large], (t[begins] // DAY)[large].astype(np.float64)


def _unexplained(n: Numbers, mean: Numbers, value: Numbers) -> Numbers:
    """Return what a curve through the value leaves of the mean outcomes."""
    x = (value - value.mean()) / (value.std() or 1.0)
    design = np.column_stack([np.ones_like(x), x, x**2])
    weight = np.sqrt(n)
    fitted = np.linalg.lstsq(design * weight[:, None], mean * weight, rcond=None)[0]
    # A curve that was fitted to the runs is closer to them than the true one.
    freedom = len(n) / max(1, len(n) - design.shape[1])
    return (mean - design @ fitted) * np.sqrt(freedom)


def _nulls(rows: pl.DataFrame, name: str) -> LeakFinding | None:
    column = rows[name]
    null = column.is_null() | (column.is_nan() if column.dtype.is_float() else pl.Series([False])).fill_null(
        value=False
    )
    missing, outcome = null.to_numpy().astype(np.float64), rows["outcome"].to_numpy().astype(np.float64)
    days = np.unique(_days(rows), return_inverse=True)[1]
    counts = [
        np.bincount(days, weights=weights)
        for weights in (outcome, 1 - outcome, missing * outcome, missing * (1 - outcome))
    ]
    total = [one.sum() for one in counts]
    if min(total[0], total[1]) < LEAST_RUNS or not 0 < missing.sum() < len(missing) or len(counts[0]) < 2:
        return None

    def area(ones: Numbers, zeros: Numbers, null_ones: Numbers, null_zeros: Numbers) -> Numbers:
        return 0.5 + 0.5 * (null_ones / np.maximum(ones, 1) - null_zeros / np.maximum(zeros, 1))

    whole = float(area(*(np.array(one) for one in total)))
    left = area(*(all_of - each for all_of, each in zip(total, counts, strict=True)))
    found = jackknife(whole, left, n=len(missing))
    nearest = min(abs(found.low - 0.5), abs(found.high - 0.5))
    if (found.low - 0.5) * (found.high - 0.5) <= 0 or nearest < NULLS:
        return None
    shares = (float(total[2] / total[0]), float(total[3] / total[1]))
    text = (
        f"it is null in {shares[0]:.1%} of the rows with outcome 1 and in {shares[1]:.1%} of those with"
        " outcome 0: it may be filled in when the outcome is known"
    )
    evidence: dict[str, float | None] = {
        "null_share_of_ones": shares[0],
        "null_share_of_zeros": shares[1],
        "auc_of_null": found.value,
        "low": found.low,
        "high": found.high,
        "n": float(found.n),
    }
    return LeakFinding(kind="nulls follow the outcome", subject=name, text=text, evidence=evidence)


def _floats(column: pl.Series) -> Numbers:
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _days(rows: pl.DataFrame) -> npt.NDArray[np.int64]:
    return rows["requested_at"].to_physical().to_numpy() // DAY
