"""What a changed declaration will do, by what is on record."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import polars as pl
import pytest
from tests.loop.synthetic import declared, parcels

import varv
from varv.data.shape import shape_of
from varv.features import FeatureDefinition, FeatureSet, definitions_of, digest_of_view, rebuilt
from varv.kernel.clock import DAY, Instant
from varv.project import plan_of
from varv.project.changes import plan_changes
from varv.project.planned import Recorded, RecordedModel, Retirement, Stored
from varv.project.wording import settings_of
from varv.tasks import TaskSpec

STORED = Stored(n_requests=7200, since=Instant(20_000 * DAY), until=Instant(20_060 * DAY))


def model(past=None, **changed):
    found = declared(past).models[0]
    for name, value in changed.items():
        setattr(found, name, value(found) if callable(value) else value)
    return found


def features(*more, without=()):
    def changed(model):
        kept = [one for one in model.features if getattr(one, "name", one) not in without]
        return (*kept, *(one(model.requests) if callable(one) else one for one in more))

    return changed


def record_of(plan, **more):
    known = {one.name: one for one in definitions_of(plan.loop.features)}
    found = RecordedModel(
        model=plan.name,
        requests=plan.schema.requests.name,
        definition=plan.loop.definition(),
        task=plan.outcome.task.spec,
        settings=settings_of(plan),
        declared=tuple(known),
        known=known,
        in_force={1: frozenset(known)},
        n_requests=7200,
    )
    return replace(found, **more)


def recorded(*plans, **more):
    return Recorded(
        models={plan.name: record_of(plan, **more) for plan in plans},
        datasets={data.name: shape_of(data) for plan in plans for data in plan.datasets},
        stored={data.name: STORED for plan in plans for data in plan.datasets},
    )


BEFORE = plan_of(model())


def planned(changed, **options):
    return plan_changes([plan_of(changed)], options.pop("recorded", recorded(BEFORE)), **options)


def test_what_is_declared_as_before_changes_nothing():
    assert planned(model()).is_empty


def test_a_new_home_begins_with_every_model():
    found = planned(model(), recorded=Recorded())
    assert [change.act for change in found.models] == ["start"]
    assert [change.act for change in found.datasets] == ["register"]


def test_a_new_feature_is_computed_for_what_is_stored():
    warm = varv.derived("warm", pl.col("heat") > 1)
    [change] = planned(model(features=features(warm))).models
    assert (change.added, change.backfill, change.removed) == (("warm",), ("warm",), ())
    assert change.lines().__next__().startswith("new feature warm, computed for 7,200 stored requests, 2024-")


def test_a_window_that_a_view_gains_is_a_feature_of_its_own():
    def longer(source):
        windows = varv.windows("late", "mean", over=["24h", "7d"])
        return varv.FeatureView("recent", source=source, entity="route", features=windows)

    [change] = planned(model(features=features(longer, without=("recent",)))).models
    assert change.added == ("recent.late_mean_7d",)
    assert change.removed == ()


def test_a_feature_that_goes_is_kept_for_the_versions_that_read_it():
    [change] = planned(model(features=features(without=("heat", "recent")))).models
    assert [(one.feature, one.versions) for one in change.removed] == [
        ("heat", (1,)),
        ("recent.late_mean_24h", (1,)),
    ]
    assert change.kept == ("heat", "recent.late_mean_24h")
    lines = list(change.lines())
    assert "feature heat goes once v1 is not in force any more; it reads it" in lines


def test_what_was_kept_goes_with_the_last_version_that_reads_it():
    changed = model(features=features(without=("heat",)))
    now = plan_of(changed)
    known = {one.name: one for one in definitions_of(BEFORE.loop.features)}
    found = record_of(now, known=known, kept=("heat",), in_force={2: frozenset(now.loop.features.names)})
    [change] = planned(changed, recorded=replace(recorded(now), models={now.name: found})).models
    assert (change.released, change.changes_features) == (("heat",), False)


def test_a_setting_is_told_as_it_was_and_as_it_will_be():
    changed = model(retrain=varv.Retrain(on=["schedule:30d"], cooldown="3d"))
    [change] = planned(changed).models
    told = {one.name: (one.before, one.after) for one in change.settings}
    assert told["retrain cooldown"] == ("2d", "3d")
    assert told["retrain schedule"] == ("none", "30d")
    assert not change.changes_features


@pytest.mark.parametrize(
    ("before", "problem"),
    [
        ({"task": TaskSpec(name="regression")}, "another task: regression -> binary"),
        ({"definition": (("outcome", "delay", "arrived_at"),)}, "delay known at arrived_at -> late known at"),
        ({"requests": "letters"}, "another dataset: letters -> parcels"),
    ],
)
def test_what_would_be_another_model_is_refused(before, problem):
    record = record_of(BEFORE, **before)
    found = planned(model(), recorded=replace(recorded(BEFORE), models={BEFORE.name: record}))
    [refusal] = found.refused
    assert problem in refusal.problem
    assert "another name" in refusal.hint


def test_a_name_that_means_something_else_is_refused():
    def shorter(source):
        return varv.FeatureView("recent", source=source, entity="route", features=["load"], ttl="2h")

    before = plan_of(model(features=features(shorter, without=("recent",))))

    def longer(source):
        return varv.FeatureView("recent", source=source, entity="route", features=["load"], ttl="3h")

    found = planned(model(features=features(longer, without=("recent",))), recorded=recorded(before))
    [refusal] = found.refused
    assert (refusal.kind, refusal.name) == ("feature", "recent.load")
    assert "at most 2h old -> last parcels.load by route, at most 3h old" in refusal.problem


@pytest.mark.parametrize(
    ("past", "problem"),
    [
        (pl.lit("red").alias("colour"), "lost the column colour"),
        (pl.col("heat").cast(pl.Float32), "another type in heat: Float32 -> Float64"),
    ],
)
def test_a_dataset_that_does_not_fit_what_is_stored_is_refused(past, problem):
    before = plan_of(model(parcels().with_columns(past)))
    [refusal] = planned(model(), recorded=recorded(before)).refused
    assert problem in refusal.problem


def test_a_dataset_may_gain_columns():
    found = planned(model(parcels().with_columns(colour=pl.lit("red"))))
    [change] = found.datasets
    assert (change.act, change.columns) == ("widen", ("colour",))


def test_a_model_that_is_gone_stays_unless_it_is_to_be_retired():
    def gone(**options):
        return plan_changes([], recorded(BEFORE, **options.pop("record", {})), **options)

    assert "--retire late-parcel" in gone().refused[0].hint
    assert gone(whole=False).is_empty
    retire = Retirement(models=("late-parcel",))
    assert [change.act for change in gone(retire=retire).models] == ["retire"]
    busy = {"n_requests_day": 12}
    assert "12 requests in the last day" in gone(retire=retire, record=busy).refused[0].problem
    despite = Retirement(models=("late-parcel",), despite_traffic=True)
    assert [change.act for change in gone(retire=despite, record=busy).models] == ["retire"]
    rolling = {"busy": "a rollout of v2 is open"}
    assert "a rollout of v2 is open" in gone(retire=despite, record=rolling).refused[0].problem
    assert gone(record={"retired_at": Instant(1)}).is_empty


def test_a_model_that_is_declared_or_unknown_is_not_retired():
    problems = [
        one.problem for one in planned(model(), retire=Retirement(models=("late-parcel", "x"))).refused
    ]
    assert problems == ["is still declared", "is not of this home"]


def test_a_retired_model_that_is_declared_again_is_restored():
    record = record_of(BEFORE, retired_at=Instant(1))
    [change] = planned(model(), recorded=replace(recorded(BEFORE), models={BEFORE.name: record})).models
    assert change.act == "restore"


def test_definitions_are_built_again_as_they_were():
    def counted(source):
        windows = varv.windows("late", ["mean", "count"], over=["2h", "6h"])
        return varv.FeatureView("lately", source=source, features=windows)

    def last(source):
        return varv.FeatureView("last", source=source, entity="route", features=["load", "heat"], ttl="90m")

    def shapes(source):
        shares = ["std", "p95", varv.share(1), varv.share(above=0.5, name="most")]
        return varv.FeatureView(
            "shares", source=source, features=varv.windows("late", shares, over=["2h", "6h"])
        )

    def days(source):
        windows = varv.windows("route", ["last", "distinct"], every="7d", zone="Europe/Berlin", offset="6h")
        return varv.FeatureView("days", source=source, features=windows)

    def session(source):
        windows = varv.windows("load", "max", gap="20m", longest="4h")
        return varv.FeatureView("session", source=source, entity="route", features=windows)

    over = varv.derived("over", pl.col("last__load") / pl.col("session__load_max_session_20m"))
    warm = varv.derived("warm", (pl.col("heat") > 1) & (pl.col("route") == "north"))
    plan = plan_of(model(features=features(counted, over, last, shapes, days, session, warm)))
    found = definitions_of(plan.loop.features)
    again = FeatureSet(rebuilt(found, {data.name: data for data in plan.datasets}), plan.schema.requests)
    assert set(again.names) == set(plan.loop.features.names)
    before = {one.name: one for one in found}
    assert all(one.is_same(before[one.name]) for one in definitions_of(again))
    # As ledgers of before statistics were many have them.
    old = '{"name":"r.late_count_2h","kind":"numeric","column":"late","view":"r","statistic":"count",'
    old += '"window":"2h","span":7200000000}'
    assert msgspec.json.decode(old, type=FeatureDefinition).kind_of_windows().spans == {"2h": 7_200_000_000}


def test_what_a_derived_feature_reads_is_kept_with_it():
    over = varv.derived("over", pl.col("heat") / pl.col("recent__late_mean_24h"))
    now = plan_of(model(features=features(over)))
    known = {one.name: one for one in definitions_of(now.loop.features)}
    assert known["over"].reads == ("recent.late_mean_24h",)
    found = record_of(now, known=known, in_force={3: frozenset({"over"})})
    gone = model(features=features(without=("recent",)))
    [change] = planned(gone, recorded=replace(recorded(now), models={now.name: found})).models
    assert change.kept == ("recent.late_mean_24h", "over")


def test_views_of_one_content_have_one_digest():
    def digest(**more):
        source = declared(None).models[0].requests
        windows = varv.windows("late", "mean", **{"over": ["2h"], **more})
        return digest_of_view(varv.FeatureView("lately", source=source, features=windows, lateness="5m"))

    assert digest() == digest(over="2h")
    others = [digest(over="3h"), digest(over=None, gap="2h"), digest(over=None, every="2h")]
    assert len({digest(), *others}) == 4
