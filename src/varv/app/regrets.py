"""Regret after a replay: versions of every week, fitted and scored beside the finished home of the declared
policy, in a folder that finds them again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from varv.adapters.runtimes import installed_runtimes
from varv.app.compose import open_home
from varv.home.comparison import PolicyRun, compared_requests
from varv.home.home import Home
from varv.home.losses import delay_days, weekly_losses
from varv.home.model import Comparison
from varv.home.regret import Judged, Lived, Regret, regret
from varv.kernel.blobs import FolderBlobs
from varv.kernel.clock import VirtualClock
from varv.kernel.errors import FailedPrecondition
from varv.labels.counting import counted
from varv.loop.candidates import Candidates
from varv.loop.weighing.model import Price
from varv.pipelines import StepCache
from varv.project import Model, ModelPlan, Replay
from varv.training import DirectFits

FOLDER = "regret"
"""In the home: the fits of regret and where they are found again."""
Runs = Mapping[str, PolicyRun]


def with_regret(
    folder: Path,
    replay: Replay,
    plans: Sequence[ModelPlan],
    compared: Sequence[Comparison],
    runs: Sequence[Runs],
    price: Price | None,
) -> list[Comparison]:
    """Return the comparisons of a finished replay with the regret of its policies; that of a task without an
    outcome as it is, where it is not the only one.

    Parameters
    ----------
    folder
        The home of the declared policies.
    compared, runs
        Of each model of the replay, in its order.
    price
        What a training costs; None for the declared price.

    Raises
    ------
    FailedPrecondition
        If the replay is too short, or no model has an outcome.
    UserCodeFailed
        If the author's function raised.
    """
    if not any(plan.outcome.task.has_outcome for plan in plans):
        hint = "leave --regret out: without an outcome there is no loss"
        raise FailedPrecondition("replay", plans[0].name, "has no outcome to find regret by", hint=hint)
    home = open_home(folder, plans, VirtualClock(replay.until), durability="process")
    try:
        blobs, runtimes = FolderBlobs(folder / FOLDER / "blobs"), installed_runtimes()
        cache = StepCache(folder / FOLDER / "cache", blobs)
        candidates = Candidates(
            home.datasets,
            blobs,
            cache,
            runtimes,
            DirectFits(runtimes),
            counted=partial(counted, home.ledger),
        )
        found = []
        for model, plan, one, of_model in zip(replay.models, plans, compared, runs, strict=True):
            if plan.outcome.task.has_outcome:
                shown = _regret(home, candidates, replay, model, one, of_model, price)
                found.append(msgspec.structs.replace(one, regret=shown))
            else:
                found.append(one)
        return found
    finally:
        home.close()


def _regret(
    home: Home,
    candidates: Candidates,
    replay: Replay,
    model: Model,
    compared: Comparison,
    runs: Runs,
    price: Price | None,
) -> Regret:
    parts = home.models[model.name]
    home.restore(parts)
    took = delay_days(home, parts.name)
    losses = weekly_losses(
        parts,
        candidates,
        compared_requests(runs),
        train_at=replay.train_at,
        until=replay.until,
        seed=replay.seed,
        delay_days=round(took or 0.0),
    )
    n = float(losses.both.n.sum())
    lived = [Lived(one.name, (one.loss or 0.0) * n, max(0, one.n_trainings - 1)) for one in compared.policies]
    said = (
        "nothing was promoted after the first version, so no time is counted"
        if took is None
        else f"the declared policy's median from training to promotion, {took:.1f} days"
    )
    declared = price or replay.price or model.retrain.price
    return regret(losses, lived, Judged(declared, model.retrain.certainty, said, replay.seed))
