"""Evidence and answers of every task: losses, lists, slices, latency, scores; and few false rollbacks."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest
from benchmarks.promises.other_traffic import KINDS, OtherTraffic
from benchmarks.promises.rollouts import OTHERS, Simulation
from benchmarks.promises.traffic import START as BEGIN
from benchmarks.promises.traffic import World

import varv
from varv.kernel.clock import DAY, HOUR, MINUTE, Instant
from varv.kernel.errors import InvalidInput
from varv.rollout import Latency, Rollout, answers, evidence, luck_of
from varv.rollout.evidence import unit_of
from varv.rollout.grounds import Evidence
from varv.rollout.judgement import harm, is_late, leans_towards_harm
from varv.rollout.tally import Tally, weigh
from varv.serving.scores import GROUP, score_columns

from .samples import BINARY, LUCK, START, Driver, requests

DAY_END = Instant(START + DAY)
RANKING = varv.task.ranking(group="query", at=3)
SCORE = varv.task.score()


def traffic(name, **options):
    world = World(name, task=name)
    drawn = OtherTraffic(world, np.random.default_rng(5))
    return drawn.between(BEGIN, Instant(BEGIN + DAY), **options)


def told(rows, task, *, guard=None, since=START, through=DAY_END):
    guards = Rollout(guard=guard).plan_for(task).guarded
    return evidence(rows, task=task, guards=guards, since=since, through=through)


def groups_of(rows):
    return rows[GROUP].to_numpy() if GROUP in rows.columns else None


@pytest.mark.parametrize("name", list(KINDS))
def test_hours_hold_the_difference_of_the_tasks_own_losses(name):
    task, rows = KINDS[name].task, traffic(name)
    found = told(rows, task, since=BEGIN, through=Instant(BEGIN + DAY))
    loss = task.losses[task.default_loss]
    ours, theirs = (
        loss.of(
            rows["outcome"].to_numpy(), rows.select(score_columns(task, role)).to_numpy(), groups_of(rows)
        )
        for role in ("candidate_score", "champion_score")
    )
    assert sum(hour.n for hour in found.hours) == found.n_labels == rows.height
    assert sum(hour.total for hour in found.hours) == pytest.approx(float((ours - theirs).sum()), abs=1e-3)


@pytest.mark.parametrize("name", list(KINDS))
def test_a_request_without_a_valid_candidate_costs_the_bound(name):
    task, rows = KINDS[name].task, traffic(name, silent=True)
    found = told(rows, task, since=BEGIN, through=Instant(BEGIN + DAY))
    assert found.n_missing == rows.height
    loss = task.losses[task.default_loss]
    champion = rows.select(score_columns(task, "champion_score")).to_numpy()
    expected = loss.bound * rows.height - loss.of(rows["outcome"].to_numpy(), champion, groups_of(rows)).sum()
    assert sum(hour.total for hour in found.hours) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("bound", [0.01, 1.0, 6.907755278982137, 8.0, 660.0, 435_600.0, 1e12])
def test_an_hour_of_a_billion_rows_fits_into_64_bits(bound):
    assert bound / unit_of(bound) * 2**29 < 2**63
    assert bound / unit_of(bound) > 2**31


def test_several_guards_have_hours_of_their_own():
    rows = requests(np.random.default_rng(1), START).with_columns(
        carrier=pl.Series(["UA", "AA"] * 200), distance=pl.lit(1.0)
    )
    guard = {"log_loss": "not worse by 0.01", ("brier", varv.slice("carrier", "UA")): "not worse by 0.01"}
    found = told(rows, BINARY, guard=guard)
    (other,) = found.others
    assert (other.guard, sum(hour.n for hour in other.hours)) == ("brier, carrier UA", 200)
    assert found.hours == told(rows, BINARY).hours
    with pytest.raises(InvalidInput, match="carrier"):
        told(rows.drop("carrier"), BINARY, guard=guard)


def lists():
    at = [START + MINUTE, START + 2 * MINUTE, START + 3 * MINUTE, START + 2 * HOUR]
    return pl.DataFrame(
        {
            "requested_at": pl.Series(at, dtype=pl.Int64).cast(pl.Datetime("us", "UTC")),
            "outcome": [1.0, 0.0, 0.0, 1.0],
            "group": ["q", "q", "q", "q"],
            "champion_score": [3.0, 2.0, 1.0, 1.0],
            "candidate_score": [1.0, 2.0, 3.0, 1.0],
        }
    )


def test_rows_of_a_list_share_its_loss_and_one_hour_is_one_list():
    first, second = told(lists(), RANKING).hours
    assert (first.n, first.total) == (3, pytest.approx(3 * 0.5, abs=1e-6))
    assert (second.n, second.total) == (1, 0.0)


def test_a_list_without_its_column_is_refused():
    with pytest.raises(InvalidInput, match="group"):
        told(lists().drop("group"), RANKING)


def test_held_out_rows_teach_luck_and_the_champions_loss():
    days = [requests(np.random.default_rng(day), Instant(START + day * DAY)) for day in range(8)]
    guard = {"log_loss": "not worse by 5%", "brier": "not worse by 5%"}
    plan = Rollout(guard=guard).plan_for(BINARY)
    known = luck_of(pl.concat(days), [], task=BINARY, guards=plan.guarded)
    margins = [one.margin for one in plan.resolved(known).guarded]
    assert margins[0] == pytest.approx(0.05 * known.level, rel=1e-3)
    assert 0 < margins[1] < margins[0] < 0.05


def test_a_margin_that_nothing_resolves_gives_the_candidate_up_unseen():
    run = Driver(Rollout(guard={"log_loss": "not worse by 5%"}).plan_for(BINARY))
    assert (run.outcome, run.tables) == ("rolled_back", [])
    assert run.tells[-1].reason.startswith("its margin, 5 % of the champion's loss, is not known")


def timed(slow_minutes, *, champion_too=False, late_share=0.0):
    rows = requests(np.random.default_rng(3), START, n=2000)
    minute = rows["requested_at"].to_physical().to_numpy() // MINUTE % 60
    stalls = np.isin(minute, slow_minutes) | (np.random.default_rng(4).random(2000) < late_share)
    return rows.with_columns(
        candidate_ms=pl.Series(np.where(stalls, 50.0, 3.0)),
        champion_ms=pl.Series(np.where(stalls & champion_too, 50.0, 3.0)),
    )


P99 = Rollout(guard={"latency": "p99 not above 20ms"}).plan_for(BINARY)


def late_evidence(rows):
    counted = answers(rows, task=BINARY, epoch=1, through=DAY_END, latency=P99.latency)
    return weigh(Tally(through=DAY_END, answers=counted), P99, LUCK, share=0.05, epoch=1)


def test_calls_later_than_the_plan_allows_are_harm():
    seen = late_evidence(timed([], late_share=0.1))
    assert seen.log_harm_late > seen.harm_at
    assert is_late(seen, P99)
    assert is_late(late_evidence(timed([], late_share=0.02)), P99)


def test_calls_within_the_limit_are_none_and_nor_is_a_stall_of_both():
    assert late_evidence(timed([])).log_harm_late < 0
    both = late_evidence(timed([7], champion_too=True))
    assert both.log_harm_late < 0


def test_the_declared_factor_says_what_slower_means():
    rows = requests(np.random.default_rng(3), START, slow=5.0)
    for factor, n_slower in ((4.0, 400), (6.0, 0)):
        counted = answers(rows, task=BINARY, epoch=1, through=DAY_END, latency=Latency(factor=factor))
        assert (counted.n_slower, counted.n_faster) == (n_slower, 0)


def scored(*, shift=0.0, spread=1.0):
    rng = np.random.default_rng(9)
    rows = requests(rng, START, n=3000)
    drawn = rng.normal(0.0, 1.0, 3000)
    champion = 50 + 10 * (drawn - drawn.mean()) / drawn.std()
    candidate = 50 + spread * (champion - 50) + 10 * shift + rng.normal(0.0, 1.0, 3000)
    return rows.with_columns(champion_score=pl.Series(champion), candidate_score=pl.Series(candidate))


def test_scores_are_compared_in_the_champions_standard_deviations():
    moved = answers(scored(shift=0.3), task=SCORE, epoch=1, through=DAY_END).moved
    assert moved.low < 0.3 < moved.high
    assert (moved.n_hours, moved.spread) == (24, pytest.approx(1.0, abs=0.02))
    assert answers(scored(spread=0.1), task=SCORE, epoch=1, through=DAY_END).moved.spread < 0.2


def of_score(rows):
    plan = Rollout(steps=[10, 100], shadow="until proven or 1d", bake="12h").plan_for(SCORE)
    run = Driver(plan)
    counted = answers(rows, task=SCORE, epoch=1, through=DAY_END)
    run.counted = msgspec.structs.replace(counted, n_candidate=300, n_champion=2700)
    run.wait_until(Instant(START + 3 * DAY))
    return run


def test_scores_that_did_not_move_are_promoted_and_nothing_is_said_of_quality():
    run = of_score(scored(shift=0.05))
    assert run.outcome == "promoted"
    assert run.state.reason.endswith("nothing is known of its quality")
    assert "nothing is known of its quality" in run.state.verdict.line()


def test_scores_that_moved_too_far_are_rolled_back():
    run = of_score(scored(shift=0.6))
    assert run.outcome == "rolled_back"
    assert run.state.reason == "its scores moved further from the champion's than declared"


def test_scores_of_another_spread_are_held():
    run = of_score(scored(spread=0.5))
    assert (run.outcome, run.state.held) == ("", "its scores spread otherwise than the champion's")


def two_guards(**second):
    plan = Rollout(guard={"log_loss": "not worse by 0.01", "brier": "not worse by 0.01"}).plan_for(BINARY)
    seen = weigh(Tally(through=DAY_END), plan, LUCK, share=0.05, epoch=1)
    other = msgspec.structs.replace(seen.others[0], **second)
    return plan, msgspec.structs.replace(seen, others=(other,))


def test_a_verdict_names_the_guard_that_decided():
    plan, seen = two_guards(excess=40.0, excess_at=10.0)
    state = Driver(plan).state
    assert harm(state, seen).endswith("for the whole rollout, by Brier score")
    assert seen.line().startswith("Brier score excess 40, 10 allowed")
    plan, seen = two_guards(log_harm=9.0)
    seen = msgspec.structs.replace(seen, log_harm=6.0)
    assert harm(Driver(plan).state, seen) == "the candidate is worse than the champion, by Brier score"
    assert seen.line().startswith("Brier score at 5 %")
    assert leans_towards_harm(two_guards(difference=0.02)[1])


def test_numbers_carry_the_unit_of_their_loss():
    plan = Rollout().plan_for(KINDS["regression"].task)
    seen = msgspec.structs.replace(Evidence.none(plan), difference=-0.5, low=-1.25, high=0.25)
    assert seen.line().startswith("difference −0.50 [−1.25, 0.25] outcome units")
    assert "nats" not in seen.line()


@pytest.mark.slow
@pytest.mark.parametrize("world", OTHERS, ids=lambda world: world.name)
def test_a_harmless_candidate_of_any_task_is_rarely_rolled_back(world):
    # Two thousand rows are two hundred lists a day, and prove as slowly.
    days = 10 if KINDS[world.task].together == 1 else 30
    runs = [Simulation(world, seed).run(days * DAY) for seed in range(6)]
    assert sum(one.rolled_back is not None for one in runs) <= 1
    assert sum(one.proven is not None for one in runs) >= 4
