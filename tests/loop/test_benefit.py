"""The trigger ``benefit``: what the loop decides on it, and what its handler finds on stored versions."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace
from tests.loop.synthetic import declared, entries_of, head_of, parcels, replayed
from tests.loop.test_rules import POLICY, Play, facts, judged, settled, timer, trained
from tests.loop.training_home import ASK, CUTOFF

import varv
from varv.kernel.clock import DAY, WEEK, Instant
from varv.kernel.codec import canonical
from varv.kernel.faults import Crash
from varv.kernel.sagas import Fact
from varv.loop.benefit import MOST_VERSIONS, Weigher, _beyond, _chosen
from varv.loop.model import LoopPolicy, LoopStarted, RetrainTriggered, TriggerDeferred
from varv.loop.plan import loop_id
from varv.loop.weighing.model import (
    MOST_PERIODS,
    BenefitPolicy,
    BenefitWeighed,
    PeriodWeighed,
    Price,
    VersionKnown,
    WeighBenefit,
    Weighed,
)
from varv.registry import RegistryView

WORTH_IT = BenefitPolicy(Price(30.0), 0.9)
POLICY_OF_BENEFIT = replace(POLICY, alarms=(), schedule=None, volume=None, benefit=WORTH_IT)


def weighed(version: int, day: float, *, is_due: bool = True) -> BenefitWeighed:
    return BenefitWeighed(
        model="late",
        version=version,
        through=Instant(int((1000 + day) * DAY)),
        periods=(),
        known=(),
        n_periods=5,
        n_pairs=12,
        coefficients=(0.001, 0.0, 0.0002),
        predicted=61.2,
        at_least=33.4,
        at_most=80.0,
        price=30.0,
        certainty=0.9,
        is_due=is_due,
    )


def orders(step) -> list[WeighBenefit]:
    return [one for one in step.commands if isinstance(one, WeighBenefit)]


def test_a_training_is_weighed_once_a_week_counted_from_the_first_training():
    play = Play(POLICY_OF_BENEFIT).serving()
    days = [day for day in range(11, 40) if orders(play.tell(timer("day", day), day))]
    assert days == [17, 24, 31, 38]
    # Nobody ran for ten days: the week that was missed is weighed once, when the timer fires.
    [late] = orders(play.tell(timer("day", 40), 50))
    assert late.through == Instant(1045 * DAY)
    assert orders(Play().serving().tell(timer("day", 17), 17)) == []


def test_what_is_worth_its_price_is_trained_and_says_why_in_words():
    play = Play(POLICY_OF_BENEFIT).serving()
    assert facts(play.tell(weighed(1, 17, is_due=False), 17), RetrainTriggered) == []
    [triggered] = facts(play.tell(weighed(1, 24), 24), RetrainTriggered)
    assert triggered.line() == (
        "v2 because of benefit: a fresh model would have saved 61.2 of summed loss since the last training, "
        "at least 33.4 with 90 % certainty; a training costs 30.0; learned from 12 pairs in 5 weeks"
    )


def test_the_candidate_under_way_is_what_a_fresh_model_is_compared_with():
    play = Play(replace(POLICY_OF_BENEFIT, alarms=("performance",))).rolling(23)
    [order] = orders(play.tell(timer("day", 24), 24))
    assert order.version == 2
    # Weighed of the champion before the candidate was trained; the candidate is the answer to it.
    during = Play(POLICY_OF_BENEFIT).serving()
    during.tell(weighed(1, 17), 17)
    assert orders(during.tell(timer("day", 24), 24)) == []
    assert facts(during.tell(weighed(1, 24), 24), TriggerDeferred) == []


def test_a_refusal_does_not_reset_what_has_been_lost():
    play = Play(POLICY_OF_BENEFIT).serving()
    play.tell(weighed(1, 17), 17)
    play.tell(trained(2), 17)
    play.tell(judged(2, passed=False), 17)
    [order] = orders(play.tell(timer("day", 24), 24))
    assert order.version == 1
    [again] = facts(play.tell(weighed(1, 24), 24), RetrainTriggered)
    assert again.version == 3


def test_what_waits_is_answered_by_a_promotion():
    play = Play(replace(POLICY_OF_BENEFIT, alarms=("performance",))).rolling(20)
    play.tell(weighed(2, 24), 24)
    assert [one.kind for one in play.state.pending] == ["benefit"]
    play.tell(settled(2), 25)
    assert play.state.pending == ()


def test_a_policy_without_the_trigger_has_the_bytes_that_it_always_had():
    assert b"benefit" not in canonical(LoopStarted(policy=POLICY, declaration="d"))
    read = msgspec.json.decode(canonical(POLICY_OF_BENEFIT), type=LoopPolicy)
    assert read == POLICY_OF_BENEFIT


def test_of_many_versions_the_newest_and_some_of_the_older_ones_are_scored():
    versions = [VersionKnown(number, Instant(number * DAY), number) for number in range(1, 41)]
    chosen = [one.version for one in _chosen(versions)]
    assert len(chosen) == MOST_VERSIONS
    assert chosen[0] == 1
    assert chosen[-5:] == [36, 37, 38, 39, 40]
    assert [one.version for one in _chosen(versions[:3])] == [1, 2, 3]


def test_where_pairs_say_nothing_any_more_a_fresh_version_is_trained_and_says_so():
    trained = [VersionKnown(number, Instant(number * WEEK), 1000) for number in (1, 2, 3)]
    told = weighed(3, 100, is_due=False)
    assert _beyond(told, trained, Instant(10 * WEEK)) is told
    beyond = replace(_beyond(told, trained, Instant(11 * WEEK)), is_due=True)
    assert (beyond.weeks_since, beyond.weeks_apart) == (8.0, 1.0)
    [triggered] = facts(
        Play(POLICY_OF_BENEFIT).serving().tell(replace(beyond, version=1), 100), RetrainTriggered
    )
    assert "the last version is 8.0 weeks old and no two were more than 1.0 apart" in triggered.line()


def test_old_weeks_are_forgotten():
    event = weighed(1, 17)
    one = PeriodWeighed(since=Instant(0), until=Instant(1), n=1, n_known=1, versions=(), losses=())
    found = Weighed()
    for _ in range(MOST_PERIODS + 5):
        found = found.after(replace(event, periods=(one,)))
    assert len(found.periods) == MOST_PERIODS


# The handler, on a home.


@pytest.fixture
def weighing(home):
    """A home with a version that was trained two weeks ago, and one of today."""
    made = home(parcels(), refit=True)
    loop = made.parts.loop
    object.__setattr__(loop, "benefit", BenefitPolicy(Price(5.0), 0.8))
    told = LoopStarted(policy=loop.policy(Instant(0), 1), declaration="d")
    made.home.engine.tell(facts=[Fact(loop_id("late-parcel"), told)])

    def register(version, cutoff):
        registered = made.train(replace(ASK, version=version, cutoff=cutoff))
        made.home.engine.tell(facts=[Fact("model/late-parcel", registered)])
        return registered

    made.register = register
    made.weigher = Weigher(made.candidates.scores, made.home.views)
    return made


def test_versions_are_scored_on_what_neither_has_seen_and_only_once(weighing):
    weighing.register(1, Instant(CUTOFF - 2 * WEEK))
    weighing.register(2, Instant(CUTOFF - WEEK))
    command = WeighBenefit(model="late-parcel", version=1, through=CUTOFF)
    found = weighing.weigher.weigh(weighing.parts, command)
    first, second = found.periods
    assert first.versions == (1,)
    assert second.versions == (1, 2)
    assert (found.n_periods, found.n_pairs, found.coefficients) == (1, 1, ())
    assert found.is_due  # before three weeks have pairs a fresh model is trained each week
    assert [one.version for one in found.known] == [1, 2]
    # By hand: both packages on the second week's rows.
    rows = weighing.parts.predictions.labelled(second.since, second.until, known_by=CUTOFF)
    task = weighing.parts.loop.outcome.task
    with weighing.home.views.reading(RegistryView) as registry:
        made = [registry.version("late-parcel", version).registered for version in (1, 2)]
    assert all(one.data_end <= second.since for one in made)
    said = [weighing.candidates.scores(one.package, rows) for one in made]
    by_hand = [task.loss.exact(rows["outcome"].to_numpy(), task.matrix(one)).mean() for one in said]
    assert second.losses == pytest.approx(by_hand, abs=1e-8)
    assert second.n == rows.height
    # What is in the ledger is not scored again.
    n_scored = []
    weighing.weigher._scores = lambda package, rows: n_scored.append(package)
    weighing.home.engine.tell(facts=[Fact(loop_id("late-parcel"), found)])
    again = weighing.weigher.weigh(weighing.parts, command)
    assert (again.periods, again.known, n_scored) == ((), (), [])
    assert again.n_pairs == 1


def test_nothing_new_to_learn_from_asks_for_no_training(weighing):
    weighing.register(1, CUTOFF)
    command = WeighBenefit(model="late-parcel", version=1, through=CUTOFF)
    assert not weighing.weigher.weigh(weighing.parts, command).is_due


def test_without_the_trigger_nothing_is_weighed(weighing):
    object.__setattr__(weighing.parts.loop, "benefit", None)
    command = WeighBenefit(model="late-parcel", version=1, through=CUTOFF)
    assert weighing.weigher.weigh(weighing.parts, command) is None


# All of it, in a replay.


def worth(cost, **more):
    replay = declared(on=(), **more)
    replay.models[0].retrain = varv.Retrain(on=["benefit"], cost=cost, certainty=0.8, cooldown="1d")
    return replay


@pytest.mark.slow
def test_a_changed_world_is_worth_a_training_and_the_ledger_says_what_was_weighed(tmp_path):
    replayed(worth(5.0), tmp_path / "one")
    entries = entries_of(tmp_path / "one")
    seen = [entry.event for entry in entries if isinstance(entry.event, BenefitWeighed)]
    assert len(seen) == 5
    assert [len(one.periods) for one in seen] == [1] * 5
    reasons = [
        trigger.kind
        for entry in entries
        if isinstance(entry.event, RetrainTriggered)
        for trigger in entry.event.triggers
    ]
    assert set(reasons) == {"first training", "benefit"}
    last = seen[-1]
    assert last.n_pairs > 3
    assert last.at_least <= last.at_most
    assert np.all(np.array(last.coefficients) >= 0)
    # The same again gives the same ledger.
    replayed(worth(5.0), tmp_path / "two")
    assert entries_of(tmp_path / "two")[-1].hash == entries[-1].hash


@pytest.mark.slow
@pytest.mark.parametrize("nth", [60, *(pytest.param(nth, marks=pytest.mark.soak) for nth in (20, 100))])
def test_a_replay_that_was_cut_short_weighs_the_same(tmp_path, nth):
    short = worth(5.0, until="2024-04-12T00:00:00Z")
    replayed(short, tmp_path / "whole")
    with pytest.raises(Crash):
        replayed(short, tmp_path / "cut", fault=f"engine.after_handler:{nth}")
    replayed(short, tmp_path / "cut")
    assert head_of(tmp_path / "cut") == head_of(tmp_path / "whole")
