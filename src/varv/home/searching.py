"""A search of policies, scored in order of time: chosen on the first part of a replay, judged on the rest.

A policy that is best on the past it was chosen on is lucky as well as good. So each is chosen before a cut
and compared with the declared one after it, at several cuts, and every difference has its interval.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from varv.home.comparison import BLOCK_DAYS, PolicyRun
from varv.home.tried import Cut, Searched, Tried
from varv.kernel.clock import DAY, Instant
from varv.kernel.errors import FailedPrecondition
from varv.kernel.ids import derived_seed
from varv.serving.scores import GROUP, scores_in
from varv.stats.intervals import Estimate, Numbers, block_bootstrap_mean

CUTS = (1 / 3, 1 / 2, 2 / 3)
"""Where the past that a policy is chosen on ends, as shares of the scored days."""
FEWEST_DAYS = 21
"""Before and after a cut: fewer say nothing of a policy."""


class Daily(msgspec.Struct, frozen=True):
    """What a policy lost each day on the requests that all are compared on, and its trainings; shape (D,)."""

    name: str
    text: str
    losses: Numbers
    trainings: Numbers
    n_trainings: int
    work: int


def daily(name: str, text: str, run: PolicyRun, declared: PolicyRun, since: Instant) -> tuple[Daily, Numbers]:
    """Return what a finished policy lost each day, and the requests of each day.

    Parameters
    ----------
    declared
        The declared policy's run: requests that it answered, and that have an outcome, count.

    Raises
    ------
    FailedPrecondition
        If the policy did not answer one of them.
    """
    task = run.task
    assert task.loss is not None, "only tasks with an outcome are searched"
    asked = declared.rows.drop_nulls()
    rows = asked.select("key").join(run.rows.drop_nulls(), on="key", how="inner", maintain_order="left")
    if rows.height < asked.height:
        hint = "compare policies that answer from the first training on"
        problem = "answered fewer requests than the declared one"
        raise FailedPrecondition("policy", name, problem, n=rows.height, declared=asked.height, hint=hint)
    groups = None if task.group is None else rows[GROUP].to_numpy()
    losses = task.loss.exact(rows["outcome"].to_numpy(), task.matrix(scores_in(rows, task)), groups)
    day = (rows["requested_at"].to_physical().to_numpy() - since) // DAY
    n_days = int(day.max()) + 1 if day.size else 0
    sums = np.bincount(day, weights=losses, minlength=n_days).astype(np.float64)
    when = np.array([(at - since) // DAY for at in run.trained_at], dtype=np.int64)
    trainings = np.bincount(when[when < n_days], minlength=n_days).astype(np.float64)
    found = Daily(name, text, sums, trainings, len(run.trained_at), run.work)
    return found, np.bincount(day, minlength=n_days).astype(np.float64)


def searched(
    runs: Sequence[Daily], n: Numbers, *, since: Instant, price: float | None, seed: int
) -> Searched:
    """Return what a search found, the declared policy first among the runs.

    Parameters
    ----------
    n
        Requests of each day, shape (D,).
    price
        Of a training, in summed loss; None pays for none.

    Raises
    ------
    FailedPrecondition
        If there are too few days to choose on some and judge on others.
    """
    if n.size < 2 * FEWEST_DAYS:
        hint = "replay a longer past"
        raise FailedPrecondition("search", "policies", "has too few days", n_days=n.size, hint=hint)
    costs = {run.name: run.losses + (price or 0.0) * run.trainings for run in runs}
    rng = np.random.default_rng(derived_seed(seed, "search"))
    declared, *tried = runs

    def gain(name: str, days: slice) -> Estimate:
        saved = costs[declared.name][days] - costs[name][days]
        return block_bootstrap_mean(saved, n[days], block=BLOCK_DAYS, rng=rng)

    cuts = []
    for share in CUTS:
        at = min(max(round(share * n.size), FEWEST_DAYS), n.size - FEWEST_DAYS)
        chosen = min(runs, key=lambda run: float(costs[run.name][:at].sum())).name
        before, after = gain(chosen, slice(0, at)), gain(chosen, slice(at, n.size))
        cuts.append(
            Cut(
                at=Instant(since + at * DAY),
                share=round(share, 3),
                chosen=chosen,
                gain_before=_six(before.value),
                gain=_six(after.value),
                low=_six(after.low),
                high=_six(after.high),
                n_days=n.size - at,
            )
        )
    last = cuts[-1]
    texts = {run.name: run.text for run in runs}
    return Searched(
        price=price,
        tried=tuple(_tried(run, n, gain(run.name, slice(0, n.size))) for run in (declared, *tried)),
        cuts=tuple(cuts),
        chosen=last.chosen,
        is_shown=last.chosen != declared.name and last.low > 0,
        paste=texts[last.chosen],
    )


def _tried(run: Daily, n: Numbers, gain: Estimate) -> Tried:
    return Tried(
        name=run.name,
        text=run.text,
        loss=_six(float(run.losses.sum() / n.sum())),
        n_trainings=run.n_trainings,
        work=run.work,
        gain=_six(gain.value),
        low=_six(gain.low),
        high=_six(gain.high),
    )


def _six(value: float) -> float:
    return round(float(value), 6)
