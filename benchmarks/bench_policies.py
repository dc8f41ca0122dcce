"""When to retrain, against its bars: ``python benchmarks/bench_policies.py [FOLDER]``, an hour on two cores.

The flights under the trigger `benefit`, refitted, with their gates and rollouts, at four prices of a
training: regret after the first third of the year, log-loss and row-rounds beside the weekly calendar. Then a
year in which nothing ages, and what `--regret` costs. Everything is kept in FOLDER, so a second run only
counts.
Exits 1 if a bar is missed.
"""

from __future__ import annotations

import copy
import gc
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "projects"))
sys.path.insert(0, str(Path(__file__).parent.parent / "examples" / "flights"))

import stationary

import flights
import varv
from served import VARV
from varv.adapters.runtimes import installed_runtimes
from varv.app.compose import open_home
from varv.app.replaying import PolicyReplay
from varv.home.comparison import PolicyRun
from varv.home.feed import Feed
from varv.home.losses import WeeklyLosses, weekly_losses
from varv.home.searching import daily
from varv.kernel.blobs import FolderBlobs
from varv.kernel.clock import VirtualClock
from varv.kernel.codec import Digest
from varv.loop.candidates import Candidates
from varv.pipelines import StepCache
from varv.project import REFERENCES, Policy, Replay, datasets_of, plan_of, project_of
from varv.stats.intervals import Numbers
from varv.stats.regret import LossMatrix, best_schedule, paid
from varv.training import DirectFits

PRICES = (10.0, 30.0, 100.0, 300.0)
DELAY_DAYS = 3
"""The median time of a candidate of the flights from its training to its promotion."""


class Lived(NamedTuple):
    """A policy that was replayed: losses, requests and trainings of each day, and its compute."""

    losses: Numbers
    n: Numbers
    trainings: Numbers
    work: int

    @property
    def loss(self) -> float:
        """The mean loss of a request."""
        return float(self.losses.sum() / self.n.sum())


def lived(replay: Replay, policy: Policy, folder: Path) -> Lived:
    """Replay one policy in a folder of its own, or find it there."""
    feed = Feed(datasets_of([plan_of(model) for model in replay.models]))
    one = PolicyReplay(replay, policy, folder / policy.name, feed, Digest("policies"))
    runs, _ = one.run(lambda *_: None, "")
    run: PolicyRun = next(iter(runs.values()))
    found, n = daily(policy.name, "", run, run, replay.train_at)
    gc.collect()
    return Lived(found.losses, n, found.trainings, found.work)


def refitted() -> varv.Train:
    """Return the training of the flights with a refit on the held-out rows."""
    train = copy.copy(flights.late.train)
    train.refit = True
    return train


def matrix(replay: Replay, folder: Path) -> WeeklyLosses:
    """Return the losses of a version a week, refitted, on the features that a finished replay has logged."""
    model = varv.Policy("refitted", train=refitted()).of(replay.models[0])
    home = open_home(folder, [plan_of(model)], VirtualClock(replay.until), durability="process")
    parts, blobs, runtimes = home.models[model.name], FolderBlobs(folder / "fits"), installed_runtimes()
    home.restore(parts)
    cache = StepCache(folder / "found", blobs)
    candidates = Candidates(home.datasets, blobs, cache, runtimes, DirectFits(runtimes))
    asked = parts.predictions.labelled(replay.train_at, replay.until, known_by=replay.until).select("key")
    try:
        return weekly_losses(
            parts,
            candidates,
            asked,
            train_at=replay.train_at,
            until=replay.until,
            seed=replay.seed,
            delay_days=DELAY_DAYS,
        )
    finally:
        home.close()


def regret_after(losses: LossMatrix, policy: Lived, price: float, share: float) -> float:
    """Return the regret per 1,000 requests after a share of the year; hindsight begins with the version of
    the week before.
    """
    first = int(np.searchsorted(losses.starts, share * losses.n.size))
    day = int(losses.starts[first])
    rows = [max(first - 1, 0), *range(first + 1, losses.starts.size)]
    starts = np.maximum(losses.starts[rows] - day, 0)
    rest = losses._replace(
        losses=losses.losses[rows][:, day:], n=losses.n[day:], starts=starts, n_known=losses.n_known[rows]
    )
    best = paid(rest, best_schedule(rest, price), price)
    cost = float(policy.losses[day:].sum() + price * policy.trainings[day:].sum())
    return (cost - best) / float(rest.n.sum()) * 1000


def regret_cpu_s(folder: Path) -> tuple[float, dict[str, Any]]:
    """Return the processor seconds that ``--regret`` adds to a replay, and what that showed."""
    spent, shown = [], {}
    command = [VARV, "--home", str(folder / "home"), "--json", "replay", flights.__file__]
    for flags in ((), (), ("--regret", "--price", "30")):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([*command, "--policies", "weekly", *flags], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        shown = json.loads(done.stdout)["models"][0]
    return spent[2] - spent[1], shown


def main() -> int:
    """Measure, print, and say whether every bar holds."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
    project_of("flights", [flights.replay]).validate()
    rows: list[tuple[str, float, str, bool]] = []
    extra_s, shown = regret_cpu_s(folder)
    rows.append(("--regret, more processor s", extra_s, "<= 120", extra_s <= 120))
    judged = shown["regret"]["policies"]
    rows += [(f"regret at 30, {one['name']}", one["at"][1]["regret"], "", True) for one in judged]
    losses = matrix(flights.replay, folder / "home").both
    weekly = lived(flights.replay, REFERENCES["weekly"], folder)
    regrets, losses_of = [], {}
    for price in PRICES:
        retrain = varv.Retrain(on=["benefit"], cost=price)
        variation = Policy(f"benefit-{price:g}", retrain=retrain, train=refitted())
        policy = lived(flights.replay, variation, folder)
        regrets.append(regret_after(losses, policy, price, 1 / 3))
        losses_of[price] = policy
        rows.append((f"log-loss at {price:g}", policy.loss, "", True))
        rows.append((f"trainings at {price:g}", policy.trainings.sum(), "", True))
        rows.append((f"M row-rounds at {price:g}", policy.work / 1e6, "", True))
        rows.append((f"regret after a third at {price:g}", regrets[-1], "", True))
    mean = float(np.mean(regrets))
    rows.append(("mean regret after a third", mean, "<= 4.0", mean <= 4.0))
    rows.append(("log-loss, weekly", weekly.loss, "", True))
    rows.append(("M row-rounds, weekly", weekly.work / 1e6, "", True))
    cheap = [one for one in losses_of.values() if one.work <= weekly.work / 2]
    gap = min((one.loss for one in cheap), default=np.inf) - weekly.loss
    rows.append(("behind weekly, at half its work", gap, "<= .0010", gap <= 0.0010))
    project_of("stationary", [stationary.replay]).validate()
    still = lived(stationary.replay, Policy("nothing-ages"), folder)
    n_trainings = int(still.trainings.sum())
    rows.append(("trainings where nothing ages", n_trainings, "<= 4", n_trainings <= 4))
    for name, value, bar, held in rows:
        sys.stdout.write(f"{name:<34} {value:>9.4g}  {bar:<8} {'ok' if held else 'MISSED'}\n")
    return 0 if all(held for *_, held in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
