"""The risks and times of rollouts: the production reducer, fed with the production evidence of simulated
traffic.

python -m benchmarks.promises.rollouts 400
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
import polars as pl
from benchmarks.promises.other_traffic import KINDS, OtherTraffic, task_named
from benchmarks.promises.row import Row
from benchmarks.promises.traffic import HISTORY, START, Traffic, World

from varv.kernel.clock import DAY, HOUR, MINUTE, Instant
from varv.kernel.ids import ModelName, Version, coin, derived_seed
from varv.kernel.sagas import SetTimer, TimerFired
from varv.rollout import (
    AliasConfirmed,
    ApplyRouting,
    CountAnswers,
    MoveAlias,
    ProbationEnded,
    Rollout,
    RolloutHeld,
    RolloutSaga,
    RolloutStarted,
    RoutingApplied,
    UnloadVersion,
    VersionUnloaded,
    VersionWarmed,
    WarmVersion,
    answers,
    evidence,
    luck_of,
)
from varv.rollout.answers import answered_columns
from varv.rollout.grounds import Evidence
from varv.rollout.luck import Luck
from varv.rollout.tally import weigh

MATURE = DAY
EVERY = 6 * HOUR
LONGEST = 30 * DAY
BEGUN = Instant(START + HISTORY * DAY)


class Outcome(NamedTuple):
    """How one rollout went; times in days since it began, None if it never came to that."""

    promoted: float | None
    rolled_back: float | None
    reason: str
    split_held: bool
    proven: float | None
    """Mature evidence, in days, at the first proof of safety."""
    exposed: int
    """Requests that the candidate was to answer before its end."""
    silent_minutes: float | None
    """From when it should have answered to its end."""
    share: float
    """At the end."""


class Simulation:
    """One rollout in one world."""

    def __init__(self, world: World, seed: int, *, known: bool = True, breaks: str = "") -> None:
        rng = np.random.default_rng([seed, derived_seed(world.name)])
        self._world, self._breaks = world, breaks
        self._task = task_named(world.task)
        self._plan = Rollout().plan_for(self._task)
        self._traffic = Traffic(world, rng) if world.task == "binary" else OtherTraffic(world, rng)
        self._saga = RolloutSaga()
        self._state = self._saga.initial("rollout/m/2")
        self._timers: dict[str, Instant] = {}
        self._pending: list[pl.DataFrame] = []
        self._answered: dict[int, list[pl.DataFrame]] = {}
        self._exposed = 0
        self._silent_since: Instant | None = None
        self._drawn = self._fed = BEGUN
        self._held: list[str] = []
        self._facts: list[object] = []
        self._proven: float | None = None
        self._ended: tuple[Instant, str] | None = None
        luck = self._learned() if known else Luck()
        self._tell(
            RolloutStarted(
                model=ModelName("m"),
                version=Version(2),
                champion=Version(1),
                plan=self._plan,
                epoch=1,
                luck=luck,
            ),
            BEGUN,
        )

    def run(self, until: int = LONGEST) -> Outcome:
        """Live through the rollout and its probation; stop when nothing can come any more."""
        promoted = None
        now = BEGUN
        while now < BEGUN + until and self._ended is None:
            grid = Instant(BEGUN + ((now - BEGUN) // EVERY + 1) * EVERY)
            step = Instant(min([grid, *self._timers.values()]))
            self._draw(step)
            now = step
            for key in sorted(key for key, due in self._timers.items() if due <= now):
                due = self._timers.pop(key)
                self._tell(TimerFired(key=key, due=due), now)
            if (now - BEGUN) % EVERY == 0:
                self._gather(now)
            if promoted is None and self._state.phase in ("probation", "done"):
                promoted = (now - BEGUN) / DAY
            if self._state.phase in ("done", "rolled_back") and self._ended is None:
                self._ended = now, self._state.reason
        back = None
        if self._ended is not None and (self._state.phase == "rolled_back" or self._failed):
            back = (self._ended[0] - BEGUN) / DAY
        return Outcome(
            promoted,
            back,
            self._ended[1] if self._ended else "",
            any("split" in reason for reason in self._held),
            self._proven,
            self._exposed,
            None
            if back is None or self._silent_since is None
            else (self._ended[0] - self._silent_since) / MINUTE,
            0.0 if back is not None else 1.0 if promoted is not None else self._state.share,
        )

    @property
    def _failed(self) -> bool:
        return any(isinstance(fact, ProbationEnded) and fact.outcome == "failed" for fact in self._facts)

    def _learned(self) -> Luck:
        past = self._traffic.between(START, BEGUN)
        return luck_of(past, [], task=self._task, guards=self._plan.guarded)

    def _draw(self, until: Instant) -> None:
        state = self._state
        if until <= self._drawn:
            return
        canary = state.phase == "canary"
        broken = canary and self._breaks == "canary"
        silent = self._breaks == "silent" or (canary and self._breaks == "silent canary")
        if silent and self._silent_since is None:
            self._silent_since = self._drawn
        rows = self._traffic.between(self._drawn, until, broken=broken, silent=silent)
        self._drawn = until
        tossed = np.full(rows.height, np.nan)
        if canary:
            units = rows["user"].to_list()
            tossed = np.fromiter((coin(state.salt, str(unit)) for unit in units), np.float64, rows.height)
            self._exposed += int((tossed < state.share).sum())
        rows = rows.with_columns(
            coin=pl.Series(tossed, nan_to_null=True),
            arm=pl.Series(np.where(tossed < state.share, "candidate", "champion")),
        )
        self._pending.append(rows)
        if state.phase in ("shadow", "canary"):
            self._answered.setdefault(state.echoed, []).append(rows.select(answered_columns(self._task)))

    def _gather(self, now: Instant) -> None:
        through = Instant((now - MATURE) // HOUR * HOUR)
        if through <= self._fed or self._state.phase not in ("shadow", "canary", "probation"):
            return
        if self._state.phase == "probation" and now % DAY:
            return
        rows = pl.concat(self._pending)
        self._pending = [rows.filter(pl.col("requested_at").to_physical() >= through)]
        known = rows.with_columns(outcome=pl.when(pl.col("known_at") <= now).then("outcome"))
        found = evidence(known, task=self._task, guards=self._plan.guarded, since=self._fed, through=through)
        self._fed = through
        if found is not None:
            self._tell(found, now)
            self._note(now)

    def _note(self, now: Instant) -> None:
        state = self._state
        if self._proven is None and state.phase in ("shadow", "canary", "promoting", "draining", "probation"):
            proven = state.phase in ("promoting", "draining", "probation")
            if not proven:
                seen = self._weighed()
                proven = seen.log_safety >= seen.safety_at
            if proven:
                self._proven = (now - MATURE - BEGUN) / DAY

    def _weighed(self) -> Evidence:
        state = self._state
        return weigh(state.tally, self._plan, state.luck, share=state.share, epoch=state.epoch)

    def _tell(self, event: object, now: Instant) -> None:
        step = self._saga.step(self._state, event, now)
        self._state = step.state
        self._facts += [fact.event for fact in step.emits]
        self._held += [fact.event.reason for fact in step.emits if isinstance(fact.event, RolloutHeld)]
        for timer in step.timers:
            if isinstance(timer, SetTimer):
                self._timers[timer.key] = timer.due
            else:
                self._timers.pop(timer.key, None)
        for command in step.commands:
            self._do(command, now)

    def _do(self, command: object, now: Instant) -> None:
        match command:
            case WarmVersion():
                self._tell(VersionWarmed(version=command.version), now)
            case ApplyRouting():
                self._tell(RoutingApplied(epoch=command.table.epoch), now)
            case MoveAlias():
                self._tell(AliasConfirmed(alias=command.alias, version=command.version), now)
            case UnloadVersion():
                self._tell(VersionUnloaded(version=command.version), now)
            case CountAnswers():
                if ours := self._answered.get(command.epoch):
                    told = answers(pl.concat(ours), task=self._task, epoch=command.epoch, through=now)
                    self._tell(told, now)


def simulate(world: World, seeds: range, **options: object) -> list[Outcome]:
    """Return one outcome a seed."""
    until = int(options.pop("until", LONGEST))  # type: ignore[arg-type]
    return [Simulation(world, seed, **options).run(until) for seed in seeds]  # type: ignore[arg-type]


HARMLESS = (
    World("independent"),
    World("50 requests a day", per_day=50),
    World("20,000 requests a day", per_day=20_000),
    World("day conditions, sd .2", day_sd=0.2),
    World("day conditions, sd .4", day_sd=0.4),
    World("sticky users", users="sticky"),
    World("heavy users, Pareto 1.3", users="heavy"),
    World("versions differ by user", users="split"),
    World("storms shared by both", storms=True),
    World("ones early, zeros late", early_ones=True),
    World("base rate .02", base_rate=0.02),
    World("base rate .08", base_rate=0.08),
    World("base rate .3", base_rate=0.3),
)
BETTER = tuple(
    World(f"base rate {rate:g}".replace("0.", "."), base_rate=rate, worse=-1.0) for rate in (0.02, 0.08, 0.3)
)
WORSE = (
    World("worse by the margin", worse=1.0),
    World("worse by the margin, 20,000 a day", per_day=20_000, worse=1.0),
    World("worse by the margin, day conditions .2", day_sd=0.2, worse=1.0),
    World("worse by three margins", worse=3.0),
)
RARE = World("three margins through 4 % of the blocks", worse=3.0, rare=0.04)
THREE_WEEKS = 21 * DAY
OTHERS = tuple(World(name, task=name) for name in KINDS)
MANY_LISTS = World("ranking, 20,000 a day", per_day=20_000, task="ranking")
OTHERS_HARMLESS = (
    *OTHERS,
    *(World(f"{name}, 50 a day", per_day=50, task=name) for name in KINDS),
    *(World(f"{name}, day conditions", day_sd=0.7, task=name) for name in KINDS),
)
OTHERS_WORSE = tuple(World(f"{name}, worse by the margin", worse=1.0, task=name) for name in KINDS)


def harmless(world: World, seeds: range) -> list[Row]:
    """Return how often a candidate that is no worse is rolled back, or held because of the split."""
    runs = simulate(world, seeds)
    back = share(one.rolled_back is not None for one in runs)
    split = share(one.split_held for one in runs)
    n = len(runs)
    return [
        Row(world.name, "no worse, rolled back", "at most 5 %", f"{back:.1%}", back <= 0.05, n),
        Row(world.name, "no worse, held by the split test", "at most 1 %", f"{split:.1%}", split <= 0.01, n),
    ]


def unlearned(world: World, seeds: range) -> list[Row]:
    """Return how often a candidate that is no worse is rolled back where nothing has been learned of luck."""
    runs = simulate(world, seeds, known=False)
    back = share(one.rolled_back is not None for one in runs)
    question = "no worse, no history, rolled back"
    return [Row(world.name, question, "at most 5 %", f"{back:.1%}", back <= 0.05, len(runs))]


def better(world: World, seeds: range) -> list[Row]:
    """Return how often a candidate that is better by one margin is promoted, and stays."""
    runs = simulate(world, seeds)
    kept = share(one.promoted is not None and one.rolled_back is None for one in runs)
    return [
        Row(
            world.name,
            "better by a margin, promoted",
            "at least 95 %",
            f"{kept:.1%}",
            kept >= 0.95,
            len(runs),
        )
    ]


def worse(world: World, seeds: range) -> list[Row]:
    """Return how often a candidate that is worse by at least the margin is promoted."""
    runs = simulate(world, seeds)
    wrong = share(one.promoted is not None for one in runs)
    return [Row(world.name, "promoted", "at most 5 %", f"{wrong:.1%}", wrong <= 0.05, len(runs))]


def rare(world: World, seeds: range) -> list[Row]:
    """Return how often the champion answers everything again within 21 days of harm in rare blocks."""
    runs = simulate(world, seeds, until=THREE_WEEKS)
    back = share(one.share == 0.0 for one in runs)
    return [
        Row(
            world.name,
            "the old champion is back in 21 days",
            "at least 90 %",
            f"{back:.1%}",
            back >= 0.9,
            len(runs),
        )
    ]


def proof(world: World, bar_hours: float, seeds: range) -> list[Row]:
    """Return how much mature evidence the proof of an equal candidate takes in the median."""
    runs = simulate(world, seeds, until=15 * DAY)
    hours = 24 * median([one.proven for one in runs])
    bar = f"at most {bar_hours:g} h of evidence"
    return [Row(world.name, "equal, proven (median)", bar, f"{hours:.0f} h", hours <= bar_hours, len(runs))]


def breaks(world: World, seeds: range) -> list[Row]:
    """Return how many answers of a candidate that breaks in its canary users see in the median."""
    runs = simulate(world, seeds, until=THREE_WEEKS, breaks="canary")
    exposed = float(np.median([one.exposed for one in runs]))
    kept = share(one.rolled_back is None for one in runs)
    found = f"{exposed:.0f}; not rolled back {kept:.1%}"
    return [
        Row(
            world.name,
            "breaks in the canary: answers seen (median)",
            "at most 260",
            found,
            exposed <= 260,
            len(runs),
        )
    ]


def silent(world: World, when: str, seeds: range) -> list[Row]:
    """Return how soon a candidate that answers nothing is out, counted from when it should have answered."""
    runs = simulate(world, seeds, until=THREE_WEEKS, breaks=when)
    minutes = median([one.silent_minutes for one in runs])
    where = "in the shadow" if when == "silent" else "in the canary"
    return [
        Row(
            world.name,
            f"answers nothing {where} (median)",
            "at most 15 min",
            f"{minutes:.0f} min",
            minutes <= 15,
            len(runs),
        )
    ]


def run(n_runs: int, *, only: str = "") -> list[Row]:
    """Return every row of the table, simulated `n_runs` times each on two processes."""
    plain, large = HARMLESS[0], HARMLESS[2]
    tasks: list[partial[list[Row]]] = [partial(harmless, world) for world in HARMLESS]
    tasks += [partial(unlearned, world) for world in (plain, HARMLESS[4])]
    tasks += [partial(better, world) for world in BETTER]
    tasks += [partial(worse, world) for world in WORSE]
    tasks += [
        partial(rare, RARE),
        partial(proof, large, 36),
        partial(proof, plain, 84),
        partial(breaks, plain),
    ]
    tasks += [partial(silent, plain, "silent"), partial(silent, plain, "silent canary")]
    tasks += [partial(harmless, world) for world in OTHERS_HARMLESS]
    tasks += [partial(worse, world) for world in OTHERS_WORSE]
    # Two thousand rows are two hundred lists: a tenth of the observations takes ten times as long.
    tasks += [partial(proof, world, 84 if KINDS[world.task].together == 1 else 240) for world in OTHERS]
    tasks += [partial(proof, MANY_LISTS, 36)]
    tasks += [partial(breaks, world) for world in OTHERS]
    chosen = [task for task in tasks if only in f"{task.func.__name__} {task.args[0].name}"]
    with ProcessPoolExecutor(2) as pool:
        jobs = [pool.submit(task, range(n_runs)) for task in chosen]
        return [row for job in jobs for row in told(job.result())]


def told(rows: list[Row]) -> list[Row]:
    """Print rows as they come, and return them."""
    for row in rows:
        mark = "" if row.holds else "  MISSED"
        print(f"{row.world:40} {row.question:45} {row.bar:24} {row.found}{mark}", file=sys.stderr, flush=True)
    return rows


def share(cases: Iterable[bool]) -> float:
    """Return the share of true ones."""
    return float(np.mean(list(cases)))


def median(values: Sequence[float | None]) -> float:
    """Return the median, where None is later than any."""
    return float(np.median([np.inf if value is None else value for value in values]))


if __name__ == "__main__":
    run(int(sys.argv[1]), only=" ".join(sys.argv[2:]))
