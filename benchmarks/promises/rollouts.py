"""The risks and times of rollouts: the production reducer, fed with the production evidence of simulated traffic.

python -m benchmarks.promises.rollouts 400
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np
import polars as pl

from benchmarks.promises.traffic import HISTORY, START, Traffic, World
from varv.kernel.clock import DAY, HOUR, MINUTE, Instant
from varv.kernel.ids import ModelName, Version, coin
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
    learned,
)
from varv.rollout.luck import Luck

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
    share: float
    """At the end, or after 21 days."""


class Row(NamedTuple):
    """One line of the table of promises."""

    world: str
    question: str
    bar: str
    found: str
    holds: bool
    n_runs: int


class Simulation:
    """One rollout in one world."""

    def __init__(self, world: World, seed: int, *, known: bool = True, breaks: str = "") -> None:
        rng = np.random.default_rng([seed, abs(hash(world)) % 2**32])
        self._world, self._breaks = world, breaks
        self._traffic = Traffic(world, rng)
        self._saga = RolloutSaga()
        self._state = self._saga.initial("rollout/m/2")
        self._plan = Rollout().plan
        self._timers: dict[str, Instant] = {}
        self._rows: list[pl.DataFrame] = []
        self._through = self._drawn = self._fed = BEGUN
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
            sum(int((rows["arm"] == "candidate").sum()) for rows in self._rows if "arm" in rows.columns),
            0.0 if back is not None else 1.0 if promoted is not None else self._state.share,
        )

    @property
    def _failed(self) -> bool:
        return any(isinstance(fact, ProbationEnded) and fact.outcome == "failed" for fact in self._facts)

    def _learned(self) -> Luck:
        past = self._traffic.between(START, BEGUN)
        found = evidence(past, since=START, through=BEGUN)
        assert found is not None
        return learned([found.hours])

    def _draw(self, until: Instant) -> None:
        state = self._state
        if until <= self._drawn:
            return
        on_air = state.phase == "canary" and state.share > 0
        rows = self._traffic.between(
            self._drawn,
            until,
            broken=on_air and self._breaks == "canary",
            silent=self._breaks == "silent" or (on_air and self._breaks == "silent canary"),
        )
        self._drawn = until
        units = rows["user"].to_list()
        tossed = np.fromiter(
            (coin(state.salt, str(unit)) for unit in units), dtype=np.float64, count=len(units)
        )
        rows = rows.with_columns(
            coin=pl.Series(tossed),
            arm=pl.Series(np.where(tossed < state.share, "candidate", "champion")),
            epoch=pl.lit(state.echoed),
        )
        self._rows.append(rows)

    def _gather(self, now: Instant) -> None:
        through = Instant((now - MATURE) // HOUR * HOUR)
        if through <= self._fed or self._state.phase not in ("shadow", "canary", "probation"):
            return
        old = [
            rows for rows in self._rows if rows.height and rows["requested_at"].to_physical()[-1] >= self._fed
        ]
        rows = pl.concat(old)
        known = rows.with_columns(outcome=pl.when(pl.col("known_at") <= now).then("outcome"))
        found = evidence(known, since=self._fed, through=through)
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

    def _weighed(self):
        from varv.rollout.tally import weigh

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
                ours = [rows for rows in self._rows if rows.height and rows["epoch"][0] == command.epoch]
                rows = pl.concat(ours) if ours else self._rows[-1].clear() if self._rows else None
                if rows is not None:
                    self._tell(answers(rows, epoch=command.epoch, through=now), now)


def simulate(world: World, seeds: range, **options: object) -> list[Outcome]:
    """Return one outcome a seed."""
    until = int(options.pop("until", LONGEST))  # type: ignore[arg-type]
    return [Simulation(world, seed, **options).run(until) for seed in seeds]  # type: ignore[arg-type]


HARMLESS = (
    World("iid"),
    World("iid, 50 a day", per_day=50),
    World("iid, 20,000 a day", per_day=20_000),
    World("day conditions .2", day_sd=0.2),
    World("day conditions .4", day_sd=0.4),
    World("sticky users", users="sticky"),
    World("heavy users", users="heavy"),
    World("versions differ by user", users="split"),
    World("shared storms", storms=True),
    World("ones early, zeros late", early_ones=True),
    World("base rate .02", base_rate=0.02),
    World("base rate .08", base_rate=0.08),
    World("base rate .3", base_rate=0.3),
)

if __name__ == "__main__":
    n = int(sys.argv[1])
    only = sys.argv[2:]
    with ProcessPoolExecutor(2) as pool:
        jobs = {}
        for world in HARMLESS:
            if only and world.name not in only:
                continue
            jobs[world.name] = pool.submit(simulate, world, range(n))
        for name, job in jobs.items():
            out = job.result()
            back = np.mean([one.rolled_back is not None for one in out])
            when = [one.promoted for one in out if one.promoted is not None]
            print(
                f"{name:26} back {back:.3f} split {np.mean([o.split_held for o in out]):.3f} promoted {len(when) / len(out):.3f} median {np.median(when) if when else 0:.2f} proven {np.median([o.proven if o.proven is not None else 99 for o in out]):.2f}",
                sorted({o.reason for o in out if o.rolled_back is not None}),
                flush=True,
            )
