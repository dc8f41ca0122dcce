"""The whole loop over a small made-up past: what was planted is caught, what changed is answered, and why is
on record.
"""

from __future__ import annotations

from collections import Counter

import polars as pl
import pytest
from tests.loop.synthetic import (
    FIRST,
    TRAIN_AT,
    declared,
    entries_of,
    fit,
    head_of,
    parcels,
    replayed,
    zeros_late,
)

import varv
from varv.app.verifying import verify_report
from varv.home.replay import still_filled
from varv.kernel import table_folder
from varv.kernel.clock import DAY, instant, iso
from varv.kernel.errors import FailedPrecondition
from varv.kernel.ledger import Entry
from varv.loop.model import CandidateRejected, FaultPlanted, GatesJudged, RetrainTriggered, RowsMatured
from varv.monitoring import AlarmRaised, PerformanceMeasured
from varv.registry import AliasMoved, VersionRegistered
from varv.rollout import RolloutSettled
from varv.rollout.judgement import OTHER_SHIFT
from varv.rollout.model import RolloutRolledBack, RolloutStarted, VersionPromoted
from varv.serving.routing import RoutingShare, RoutingTable

pytestmark = pytest.mark.slow

LEAKY = varv.Plant("leaky", at="2024-03-25T12:00:00Z", column="delay")
BREAKS = varv.Plant("breaks", at="2024-04-24T12:00:00Z", column="delay", breaks="in canary")
EVERY_TEN_DAYS = ("performance", "schedule:10d")


def events(entries: list[Entry], kind: type) -> list[tuple[Entry, object]]:
    return [(entry, entry.event) for entry in entries if entry.name == kind.event_name]


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    home = tmp_path_factory.mktemp("story")
    comparison = replayed(declared(on=EVERY_TEN_DAYS, plants=(LEAKY, BREAKS)), home)
    return home, comparison, entries_of(home)


def test_a_replay_ends_with_a_ledger_that_verifies(story):
    home, _, entries = story
    assert verify_report(home).ok
    assert entries[-1].name == "replay.policies_compared"


def test_a_rollout_begins_with_what_was_learned_of_luck(story):
    _, _, entries = story
    begun = [event for _, event in events(entries, RolloutStarted) if event.champion is not None]
    assert all(event.luck.n_days >= 4 and event.luck.spread > 0 for event in begun)
    assert begun[-1].luck.n_days > begun[0].luck.n_days


def test_the_first_model_is_trained_when_declared_and_promoted_at_once(story):
    _, _, entries = story
    entry, triggered = events(entries, RetrainTriggered)[0]
    assert iso(entry.at) == TRAIN_AT
    assert [trigger.kind for trigger in triggered.triggers] == ["first training"]
    promoted, _ = events(entries, VersionPromoted)[0]
    assert promoted.at == entry.at


def test_a_change_of_the_concept_is_seen_answered_and_got_over(story):
    _, _, entries = story
    change = "2024-04-05"
    alarm, _ = events(entries, AlarmRaised)[0]
    assert iso(alarm.at) > change
    asked = [
        triggered
        for entry, triggered in events(entries, RetrainTriggered)
        if iso(entry.at) > change and not triggered.planted
    ]
    assert any(trigger.kind == "performance" for one in asked for trigger in one.triggers)
    promoted = [entry for entry, _ in events(entries, VersionPromoted) if iso(entry.at) > change]
    assert promoted, "nothing was promoted after the change"
    measured = [e for _, e in events(entries, PerformanceMeasured) if e.n and e.role == "champion"]
    worst, last = max(e.log_loss for e in measured), measured[-1].log_loss
    assert worst > 1.5
    assert last < 0.6


def test_every_day_is_measured_for_the_champions_that_answered_it(story):
    _, _, entries = story
    asked = Counter((parcels()["asked_at"].to_physical() // DAY).to_list())
    champions = [e for _, e in events(entries, PerformanceMeasured) if e.role == "champion"]
    measured = Counter()
    for event in champions:
        measured[event.window.start // DAY] += event.n_requests
    whole = range(instant(TRAIN_AT) // DAY + 1, max(measured) + 1)
    assert {day: measured[day] for day in whole} == {day: asked[day] for day in whole}
    # A promotion at midnight divides no day.
    promotions = {entry.at // DAY for entry, _ in events(entries, VersionPromoted) if entry.at % DAY}
    both = Counter(event.window.start // DAY for event in champions)
    assert all(both[day] == 2 for day in promotions if day in whole)


@pytest.mark.parametrize(
    ("plant", "reason"),
    [
        (LEAKY, "its losses exceed what the margin allows for the whole rollout"),
        (BREAKS, "it is worse than the champion and than before its share rose"),
    ],
    ids=["leaky", "breaks"],
)
def test_a_planted_candidate_passes_the_gates_is_rolled_back_and_marked(story, plant, reason):
    _, _, entries = story
    [planted] = [event for _, event in events(entries, RetrainTriggered) if event.planted == plant.name]
    version = planted.version
    [judged] = [event for _, event in events(entries, GatesJudged) if event.version == version]
    assert judged.passed, "the plant must look good on the past, or nothing is shown"
    [registered] = [event for _, event in events(entries, VersionRegistered) if event.version == version]
    assert registered.planted == plant.name
    assert plant.column in registered.signature
    settled = [e for _, e in events(entries, RolloutSettled) if e.version == version]
    assert {(event.outcome, event.reason) for event in settled} == {("rolled_back", reason)}
    assert version not in [event.version for _, event in events(entries, VersionPromoted)]


def test_what_breaks_in_canary_was_on_its_way_up_when_it_was_caught(story):
    _, _, entries = story
    [version] = [e.version for _, e in events(entries, RetrainTriggered) if e.planted == "breaks"]
    [back] = [e for _, e in events(entries, RolloutRolledBack) if e.version == version]
    assert back.evidence.share == pytest.approx(0.2)
    assert back.evidence.shift > OTHER_SHIFT
    assert back.evidence.step_difference > 0


def test_planted_candidates_are_no_retrains(story):
    _, comparison, entries = story
    own = [e for _, e in events(entries, RetrainTriggered) if not e.planted]
    assert comparison.policies[0].n_retrains == len(own) - 1
    assert own[-1].n_retrains == len(own) - 1


def test_every_retrain_alarm_and_promotion_goes_back_to_recorded_evidence(story):
    _, _, entries = story
    by_seq = {entry.seq: entry for entry in entries}

    def roots(entry: Entry) -> list[str]:
        names = [entry.name]
        while entry.cause is not None:
            assert entry.cause < entry.seq
            entry = by_seq[entry.cause]
            names.append(entry.name)
        return names

    for entry, event in events(entries, RetrainTriggered):
        assert event.triggers
        assert roots(entry)[-1] in ("loop.started", "loop.fault_planted")
        for trigger in event.triggers:
            if trigger.kind == "performance":
                earlier = [e for past, e in events(entries, AlarmRaised) if past.seq < entry.seq]
                assert any(dict(e.evidence) == trigger.evidence for e in earlier)
    for entry, event in events(entries, AlarmRaised):
        assert event.evidence
        assert "monitoring.performance_measured" in roots(entry)
    for entry, event in events(entries, VersionPromoted):
        assert "loop.candidate_trained" in "".join(roots(entry)) or "rollout.evidence_arrived" in roots(entry)
        if event.previous is not None:
            assert event.evidence.n_labels >= 30
            assert event.evidence.log_safety >= event.evidence.safety_at


def test_only_faults_and_arrivals_come_from_outside(story):
    _, _, entries = story
    outside = {entry.name for entry in entries if entry.cause is None}
    assert outside <= {
        *("data.dataset_registered", "data.version_appended", "data.contract_inferred", "loop.started"),
        *("serving.requests_served", "replay.advanced", "replay.finished", "replay.policies_compared"),
        "loop.declared",
        FaultPlanted.event_name,
    }


def test_the_champion_alias_follows_the_promotions(story):
    _, _, entries = story
    moved = [e.version for _, e in events(entries, AliasMoved) if e.alias == "champion"]
    assert moved == [e.version for _, e in events(entries, VersionPromoted)]


def test_a_finished_replay_is_not_run_again(story):
    home, comparison, entries = story
    again = replayed(declared(on=EVERY_TEN_DAYS, plants=(LEAKY, BREAKS)), home)
    assert head_of(home) == entries[-1].hash.hex()
    assert again.policies[0].log_loss == comparison.policies[0].log_loss


def test_the_same_seed_gives_the_same_ledger(story, tmp_path):
    home, _, _ = story
    replayed(declared(on=EVERY_TEN_DAYS, plants=(LEAKY, BREAKS)), tmp_path)
    assert head_of(tmp_path) == head_of(home)


def test_what_came_in_small_is_stored_together_and_changes_nothing(story, tmp_path, monkeypatch):
    home, _, entries = story
    monkeypatch.setattr(table_folder, "_MANY", 8)
    replayed(declared(on=EVERY_TEN_DAYS, plants=(LEAKY, BREAKS)), tmp_path)
    compacted = {"data.batches_compacted", "serving.requests_compacted"}
    found = entries_of(tmp_path)
    assert compacted <= {entry.name for entry in found}
    said = [(one.stream, one.name, one.at, one.data) for one in found if one.name not in compacted]
    assert said == [(one.stream, one.name, one.at, one.data) for one in entries]
    files = [path.name for path in (tmp_path / "columns").rglob("*") if path.is_file()]
    assert sum(name.startswith("~") for name in files) >= 9
    assert (
        sum(name.endswith(".arrows") for name in files) < len(list((home / "columns").rglob("*.arrows"))) / 2
    )
    assert verify_report(tmp_path).findings == ()


def test_another_seed_gives_another_ledger(tmp_path):
    short = "2024-03-23T00:00:00Z"
    heads = set()
    for seed in (1, 2):
        replayed(declared(until=short, seed=seed), tmp_path / str(seed))
        heads.add(head_of(tmp_path / str(seed)))
    assert len(heads) == 2


def test_harmless_drift_alone_never_triggers_a_retrain(tmp_path):
    replayed(declared(parcels(changes=False, hot_from=30), until="2024-04-20T00:00:00Z"), tmp_path)
    entries = entries_of(tmp_path)
    drifted = [
        feature.name
        for entry in entries
        if entry.name == "monitoring.drift_measured"
        for feature in entry.event.features
        if feature.drifted
    ]
    assert "heat" in drifted, "the drift must be there to be harmless"
    assert len(events(entries, RetrainTriggered)) == 1


@pytest.mark.slow
def test_a_plant_that_nobody_catches_goes_on_with_its_column_empty(tmp_path):
    past = parcels().with_columns(delay=pl.col("delay") * 0.0)
    plant = varv.Plant("harmless", at="2024-03-25T12:00:00Z", column="delay")
    replay = declared(past, plants=(plant,), until="2024-04-14T00:00:00Z")
    replay.models[0].gates = ()
    replayed(replay, tmp_path)
    entries = entries_of(tmp_path)
    assert 2 in [event.version for _, event in events(entries, VersionPromoted)]
    assert entries[-1].name == "replay.policies_compared"


def test_a_replay_in_which_no_model_could_be_trained_says_so(tmp_path):
    def raises(train, params):
        raise ZeroDivisionError("no luck")

    replay = declared(until="2024-03-25T00:00:00Z")
    replay.models[0].train.fit = raises
    with pytest.raises(FailedPrecondition, match=r"late-parcel.*answered nothing"):
        replayed(replay, tmp_path)
    [failed, *_] = [entry for entry in entries_of(tmp_path) if entry.name == "saga.command_failed"]
    assert failed.event.code == "user_code_failed"
    assert "ZeroDivisionError: no luck" in failed.event.reason
    assert "test_replay.py:" in failed.event.reason
    [rejected, *_] = [e for _, e in events(entries_of(tmp_path), CandidateRejected)]
    assert "no luck" in rejected.reason


@pytest.mark.slow
def test_references_are_replayed_beside_the_declared_policy(tmp_path):
    replay = declared(until="2024-04-08T00:00:00Z", references=("never", "weekly"))
    comparison = replayed(replay, tmp_path, declared_only=False)
    assert [policy.name for policy in comparison.policies] == ["declared", "never", "weekly"]
    by_name = {policy.name: policy for policy in comparison.policies}
    assert by_name["never"].n_retrains == 0
    assert by_name["weekly"].n_retrains == 2
    assert len({policy.n for policy in comparison.policies}) == 1
    assert by_name["weekly"].work > by_name["never"].work
    assert {gain.over for gain in by_name["declared"].gains} == {"never", "weekly"}


@pytest.mark.slow
def test_a_policy_of_ones_own_is_replayed_with_the_declared_gates_and_again_if_it_changes(tmp_path):
    def past(days: int):
        often = varv.Policy("often", retrain=varv.Retrain(on=[f"schedule:{days}d"], cooldown="1d"))
        return declared(until="2024-04-04T00:00:00Z", on=("schedule:60d",), references=(often,))

    comparison = replayed(past(5), tmp_path, declared_only=False)
    declared_one, often = comparison.policies
    assert (declared_one.name, often.name) == ("declared", "often")
    assert often.n_retrains > declared_one.n_retrains == 0
    folder = tmp_path / "policies" / "often"
    assert any(entry.name == "rollout.shadow_started" for entry in entries_of(folder))
    before, of_declared = head_of(folder), head_of(tmp_path)
    replayed(past(5), tmp_path, declared_only=False)
    assert head_of(folder) == before
    replayed(past(9), tmp_path, declared_only=False)
    assert head_of(folder) != before
    assert of_declared in {entry.hash.hex() for entry in entries_of(tmp_path)}


@pytest.mark.slow
def test_a_changed_declaration_sets_the_old_replay_aside(tmp_path):
    short = "2024-03-23T00:00:00Z"
    replayed(declared(until=short, seed=1), tmp_path)
    before = head_of(tmp_path)
    replayed(declared(until=short, seed=2), tmp_path)
    [aside] = (tmp_path / "replays").iterdir()
    assert head_of(aside) == before
    assert head_of(tmp_path) != before


def test_outcomes_of_immature_requests_count_nowhere_though_ones_come_early(tmp_path):
    past = zeros_late()
    found = replayed(declared(past, until="2024-04-03T00:00:00Z"), tmp_path)
    mature = pl.col("asked_at").dt.epoch("us")
    known = past.drop_nulls("late")

    def truth(since: int, until: int) -> pl.DataFrame:
        return known.filter((mature >= since) & (mature < until))

    scored = truth(found.scored_from, found.scored_until)
    assert found.scored_until == instant("2024-04-02T12:00:00Z")
    assert found.policies[0].n == scored.height
    for month in found.policies[0].months:
        of_month = scored.filter(pl.col("asked_at").dt.strftime("%Y-%m") == month.month)
        assert month.base_rate == pytest.approx(of_month["late"].mean(), abs=1e-6)
    entries = entries_of(tmp_path)
    # Outcomes of requests from before the replay arrive in it, too.
    arrived = pl.col("arrived_at").dt.epoch("us") >= instant(FIRST)
    for entry, counted in events(entries, RowsMatured):
        assert counted.n_rows == truth(0, entry.at - DAY // 2).filter(arrived).height
    for _, made in events(entries, VersionRegistered):
        rows = truth(made.held_out_from, made.judged[0].until)
        assert made.metrics["base_rate"] == pytest.approx(rows["late"].mean(), abs=1e-6)


def test_the_author_function_gets_rows_in_the_order_of_their_requests(tmp_path):
    seen = []

    def watching(train, params):
        seen.append(train)
        return fit(train, params)

    replay = declared(until="2024-03-23T00:00:00Z")
    replay.models[0].train.fit = watching
    replayed(replay, tmp_path)
    judged, refitted = seen
    for train in seen:
        assert train.columns == ("load", "heat", "route", "recent.late_mean_24h")
        assert (train.requested_at[1:] >= train.requested_at[:-1]).all()
        assert len(train) == len(train.y) == len(train.X)
    assert refitted.requested_at[-1] - judged.requested_at[-1] > 5.9 * DAY


def test_the_column_of_a_plant_is_filled_in_its_own_shadow_only():
    shadow = RoutingTable(epoch=1, shares=(RoutingShare(1, 1.0),), shadows=(2,), salt="s")
    canary = RoutingTable(epoch=2, shares=(RoutingShare(1, 0.9), RoutingShare(2, 0.1)), salt="s")
    later = RoutingTable(epoch=3, shares=(RoutingShare(2, 1.0),), shadows=(3,), salt="s")
    assert [still_filled(BREAKS, 2, table) for table in (shadow, canary, later)] == [True, False, False]
