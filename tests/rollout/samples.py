"""Requests as telemetry gives them, and a driver that answers a rollout's commands at once."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl

from varv.kernel.clock import DAY, HOUR, Instant, instant
from varv.kernel.ids import coin
from varv.kernel.sagas import CancelTimer, SetTimer, TimerFired
from varv.rollout import (
    AliasConfirmed,
    ApplyRouting,
    CountAnswers,
    Luck,
    MoveAlias,
    Rollout,
    RolloutSaga,
    RolloutStarted,
    RoutingApplied,
    UnloadVersion,
    VersionUnloaded,
    VersionWarmed,
    WarmVersion,
    answers,
    evidence,
)
from varv.tasks import task_of

BINARY = task_of("binary")
START = instant("2013-03-01")
MODEL, OLD, NEW = "late", 6, 7
LUCK = Luck(spread=0.03, inflation=1.3, n_days=28)
"""What a month of `requests` teaches."""


def started(plan=None, *, champion=OLD, epoch=3, luck=LUCK):
    plan = plan or Rollout().plan_for(BINARY)
    return RolloutStarted(model=MODEL, version=NEW, champion=champion, plan=plan, epoch=epoch, luck=luck)


def requests(rng, day, *, n=400, shift=0.0, noise=0.3, share=0.0, salt="r", missing=0.0, slow=None):
    """A day of requests; both err in their logits by `noise`, the candidate by `shift` more."""
    at = np.sort(rng.integers(day, day + DAY, n))
    truth = rng.normal(-1.2, 1.0, n)
    outcome = (rng.random(n) < 1 / (1 + np.exp(-truth))).astype(np.int8)
    # Both see the truth through errors of one size, so neither is better but for the shift.
    champion = truth + rng.normal(0, noise, n)
    candidate = truth + rng.normal(0, noise, n) - shift * np.sign(outcome - 0.5)
    score = 1 / (1 + np.exp(-candidate))
    tossed = np.array([coin(salt, f"{moment}-{row}") for row, moment in enumerate(at)])
    lost = rng.random(n) < missing
    answers = [None if gone else float(p) for gone, p in zip(lost, score, strict=True)]
    return pl.DataFrame(
        {
            "requested_at": pl.Series(at).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            "outcome": outcome,
            "champion_score": 1 / (1 + np.exp(-champion)),
            "candidate_score": pl.Series(answers, dtype=pl.Float64),
            "arm": np.where(tossed < share, "candidate", "champion"),
            "coin": tossed,
            "champion_ms": np.full(n, 1.0),
            "candidate_ms": np.full(n, 1.0) if slow is None else np.full(n, slow),
        }
    )


class Driver:
    """Runs one rollout: commands are done at once, timers fire when their time has come."""

    def __init__(self, plan=None, *, champion=OLD, saga=None, luck=LUCK):
        self.saga = saga or RolloutSaga()
        self.state = self.saga.initial(f"rollout/{MODEL}/{NEW}")
        self.plan = plan or Rollout().plan_for(BINARY)
        self.timers, self.facts, self.tells, self.commands, self.tables = {}, [], [], [], []
        self.counted = None
        self.tell(started(self.plan, champion=champion, luck=luck), START)

    def tell(self, event, now):
        step = self.saga.step(self.state, event, now)
        self.state = step.state
        self.facts += [fact.event for fact in step.emits]
        self.tells += [message.event for message in step.tells]
        for timer in step.timers:
            if isinstance(timer, CancelTimer):
                self.timers.pop(timer.key, None)
            else:
                assert isinstance(timer, SetTimer)
                self.timers[timer.key] = timer.due
        self.commands += [one for one in step.commands if not isinstance(one, CountAnswers)]
        for command in step.commands:
            self.done(command, now)
        return step

    def done(self, command, now):
        match command:
            case WarmVersion():
                self.tell(VersionWarmed(version=command.version), now)
            case ApplyRouting():
                self.tables.append(command.table)
                self.tell(RoutingApplied(epoch=command.table.epoch), now)
            case MoveAlias():
                self.tell(AliasConfirmed(alias=command.alias, version=command.version), now)
            case UnloadVersion():
                self.tell(VersionUnloaded(version=command.version), now)
            case CountAnswers() if self.counted is not None:
                self.tell(msgspec.structs.replace(self.counted, epoch=command.epoch, through=now), now)

    def wait_until(self, now):
        while due := sorted((at, key) for key, at in self.timers.items() if at <= now):
            at, key = due[0]
            del self.timers[key]
            self.tell(TimerFired(key=key, due=at), at)

    def live_through(self, rng, n_days, **options):
        """Live `n_days` with outcomes that come after at most six hours."""
        through = START
        for day in range(n_days):
            begin = Instant(START + day * DAY)
            if self.outcome:
                return
            rows = requests(rng, begin, share=self.state.share, salt=self.state.salt, **options)
            now = Instant(begin + DAY + 6 * HOUR)
            # The day's requests are counted once, and told at every look of that day.
            self.counted = answers(rows, task=BINARY, epoch=self.state.epoch, through=now)
            self.wait_until(now)
            told = evidence(
                rows, task=BINARY, guards=self.plan.guarded, since=through, through=Instant(begin + DAY)
            )
            through = told.through
            self.tell(told, now)

    @property
    def outcome(self):
        ends = {"probation": "promoted", "done": "promoted", "rolled_back": "rolled_back"}
        return ends.get(self.state.phase, "")

    def said(self, kind):
        return [fact for fact in self.facts if isinstance(fact, kind)]
