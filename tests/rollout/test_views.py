"""A whole rollout through the engine and its ledger, and what the view makes of it."""

from __future__ import annotations

from contextlib import closing

import msgspec
import numpy as np
import pytest

from varv.kernel.clock import DAY, HOUR, Instant, VirtualClock
from varv.kernel.engine import Engine
from varv.kernel.ledger_sqlite import MEMORY, SqliteLedger
from varv.kernel.sagas import Message, Reply, Step
from varv.kernel.views import Views
from varv.rollout import (
    AliasConfirmed,
    ApplyRouting,
    CountAnswers,
    MoveAlias,
    Rollout,
    RolloutAborted,
    RolloutSaga,
    RolloutSettled,
    RolloutState,
    RolloutSuperseded,
    RolloutsView,
    RoutingApplied,
    UnloadVersion,
    VersionUnloaded,
    VersionWarmed,
    WarmVersion,
    evidence,
    rollout_id,
)

from .samples import BINARY, MODEL, NEW, OLD, START, requests, started

HERE = rollout_id(MODEL, NEW)
GUARDS = Rollout().plan_for(BINARY).guarded


class Ended(msgspec.Struct, frozen=True):
    outcomes: tuple[str, ...] = ()


class Loop:
    """Stands where the loop of the model is."""

    name = "loop"
    state_type = Ended

    def initial(self, saga_id):
        return Ended()

    def step(self, state, event, now):
        return (
            Step(Ended((*state.outcomes, event.outcome)))
            if isinstance(event, RolloutSettled)
            else Step(state)
        )


def reply(event):
    return Reply(messages=(Message(HERE, event),))


HANDLERS = {
    WarmVersion: lambda c, _id, _now: reply(VersionWarmed(version=c.version)),
    ApplyRouting: lambda c, _id, _now: reply(RoutingApplied(epoch=c.table.epoch)),
    MoveAlias: lambda c, _id, _now: reply(AliasConfirmed(alias=c.alias, version=c.version)),
    CountAnswers: lambda c, _id, now: Reply(),
    UnloadVersion: lambda c, _id, _now: reply(VersionUnloaded(version=c.version)),
}


class Stage:
    def __init__(self, ledger):
        self.ledger, self.clock = ledger, VirtualClock(START)
        self.engine = Engine(ledger, self.clock, [RolloutSaga(), Loop()], HANDLERS)
        self.views = Views(ledger, RolloutsView)
        self.plan = Rollout(steps=[25, 100]).plan_for(BINARY)

    def move_to(self, now):
        while (due := self.engine.next_due()) is not None and due <= now:
            self.clock.move_to(max(due, self.clock.now()))
            self.engine.settle()
        self.clock.move_to(now)

    def live(self, n_days, **options):
        self.engine.tell(Message(HERE, started(self.plan)))
        self.engine.settle()
        rng = np.random.default_rng(5)
        for day in range(n_days):
            with self.views.reading(RolloutsView) as view:
                record = view.rollouts[-1]
                if record.outcome:
                    return
                share, since = record.share, record.evidence_from
            begin = Instant(START + day * DAY)
            rows = requests(rng, begin, share=share, salt=self.state.salt, n=300, **options)
            self.move_to(Instant(begin + DAY + 6 * HOUR))
            through = Instant(begin + DAY)
            told = evidence(rows, task=BINARY, guards=GUARDS, since=since, through=through)
            self.engine.tell(Message(HERE, told))
            self.engine.settle()

    @property
    def state(self):
        return msgspec.json.decode(self.ledger.saga(HERE).state, type=RolloutState)


@pytest.fixture
def stage():
    with closing(SqliteLedger(MEMORY)) as ledger:
        yield Stage(ledger)


def test_a_promotion_is_told_step_by_step(stage):
    stage.live(14, shift=-0.1)
    with stage.views.reading(RolloutsView) as view:
        (record,) = view.of_model(MODEL)
        assert (record.outcome, record.phase, view.open(MODEL)) == ("promoted", "done", None)
        assert record.former == OLD
        assert [rung.share for rung in record.ladder] == [0.0, 0.25, 1.0]
        assert all(rung.applied_at is not None for rung in record.ladder)
        assert [line.what for line in record.log] == [
            "started",
            "shadow started",
            "share raised to 0.25",
            "share raised to 1",
            "promoted",
        ]
        assert len(record.series) >= 2
        assert record.series[-1].evidence.log_safety >= record.series[-1].evidence.safety_at


def test_the_view_weighs_as_the_saga_did(stage):
    stage.live(14, shift=-0.1)
    with stage.views.reading(RolloutsView) as view:
        record = view.rollouts[0]
        assert record.tally.n_labels == stage.state.tally.n_labels
        assert record.log[-1].evidence == record.series[-1].evidence


def test_a_rollback_shows_its_reason_and_the_evidence(stage):
    stage.live(7, shift=0.5)
    with stage.views.reading(RolloutsView) as view:
        record = view.rollouts[0]
        assert (record.outcome, record.share) == ("rolled_back", 0.0)
        assert record.reason == "its losses exceed what the margin allows for the whole rollout"
        assert [line.what for line in record.log][-2:] == ["rollback started", "rolled back"]
        assert record.log[-1].evidence.step_difference > stage.plan.margin
        assert record.log[-1].evidence.excess > record.log[-1].evidence.excess_at


def test_a_probation_is_followed_to_its_end(stage):
    stage.live(14, shift=-0.1)
    begin = Instant(stage.state.tally.step_since // DAY * DAY + DAY)
    rows = requests(np.random.default_rng(6), begin, shift=-0.1)
    day = evidence(rows, task=BINARY, guards=GUARDS, since=begin, through=Instant(begin + DAY))
    stage.engine.tell(Message(HERE, day))
    with stage.views.reading(RolloutsView) as view:
        (record,) = view.rollouts
        assert record.probation.n_labels == 400
        assert record.former == OLD
    stage.engine.tell(Message(HERE, RolloutSuperseded(by_version=8)))
    with stage.views.reading(RolloutsView) as view:
        (record,) = view.rollouts
        assert (record.former, record.log[-1].what) == (None, "probation replaced")
        assert record.probation.n_labels == 400


def test_a_version_rolled_out_again_has_a_record_of_its_own(stage):
    stage.live(1)
    stage.engine.tell(Message(HERE, RolloutAborted(by="ana", reason="odd")))
    stage.engine.settle()
    stage.engine.tell(Message(HERE, started(stage.plan, epoch=stage.state.epoch)))
    stage.engine.settle()
    with stage.views.reading(RolloutsView) as view:
        first, second = view.of_model(MODEL)
        assert (first.outcome, first.reason) == ("rolled_back", "aborted by ana: odd")
        assert (second.outcome, second.phase) == ("", "shadow")
        assert view.open(MODEL) is second
        assert second.series == []


def test_a_view_folded_anew_is_the_same(stage):
    stage.live(14, shift=-0.1)
    with stage.views.reading(RolloutsView) as view:
        before = msgspec.json.encode(view.rollouts)
    stage.views.rebuild()
    with stage.views.reading(RolloutsView) as view:
        assert msgspec.json.encode(view.rollouts) == before
