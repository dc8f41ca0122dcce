"""What cannot work is refused before anything runs, by an error that names the object and the fix."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import msgspec
import polars as pl
import pytest

import varv
from varv.kernel.clock import DAY, HOUR
from varv.kernel.errors import InvalidInput
from varv.project import REFERENCES, plan_of

TIMES = pl.Series([dt.datetime(2024, 1, 1, tzinfo=dt.UTC)], dtype=pl.Datetime("us", "UTC"))
ROWS = pl.DataFrame(
    {
        "id": ["a"],
        "at": TIMES,
        "distance": [3.0],
        "origin": ["JFK"],
        "landed_at": TIMES,
        "late": [True],
        "delay": [4],
        "remark": ["none"],
    }
)


def dataset(name: Any = "flights", *, rows: Any = ROWS, **more: Any) -> varv.Dataset:
    given: dict[str, Any] = {
        "key": "id",
        "event_time": "at",
        "known_at": {"landed_at": ["late", "delay", "remark"]},
    }
    return varv.Dataset(name, source=varv.Frame(rows), **(given | more))


FLIGHTS = dataset()
SCORED = dataset(
    rows=ROWS.with_columns(score=0.5), known_at={"landed_at": ["late", "delay", "remark", "score"]}
)
WEATHER = varv.Dataset(
    "weather",
    source=varv.Frame(ROWS.select("origin", pl.col("at").alias("seen_at"), pl.col("distance").alias("wind"))),
    key=["origin", "seen_at"],
    event_time="seen_at",
)


def fit(train: Any, params: Any) -> Any:
    return None


class Loose(msgspec.Struct):
    """It judges, and can be changed after it was declared."""

    def judge(self, judgement: Any) -> Any:
        return None


def view(name: Any = "recent", **more: Any) -> varv.FeatureView:
    given = {"source": FLIGHTS, "entity": "origin", "features": varv.windows("late", "mean", over=["6h"])}
    return varv.FeatureView(name, **(given | more))


def sliced(*part):
    return varv.Rollout(guard={("log_loss", varv.slice(*part)): "not worse by 0.05"})


def model(name: Any = "late-arrival", **more: Any) -> varv.Model:
    given: dict[str, Any] = {
        "requests": FLIGHTS,
        "features": ["distance", "origin"],
        "outcome": varv.Outcome("late", known_at="landed_at"),
        "train": varv.Train(fit),
    }
    made = varv.Model(name, **(given | more))
    made.validate()
    return made


def replay(**more: Any) -> varv.Replay:
    given: dict[str, Any] = {"since": "2024-01-01", "train_at": "2024-02-01", "until": "2024-03-01"}
    made = varv.Replay(more.pop("model", None) or model(), **(given | more))
    made.validate()
    return made


def plant(**more: Any) -> varv.Plant:
    given: dict[str, Any] = {"name": "leaky", "at": "2024-02-10", "column": "delay"}
    return varv.Plant(**(given | more))


Broken = tuple[str, Callable[[], object], str, str]

BROKEN: list[Broken] = [
    # names
    ("a path as a name", lambda: model("../../etc/passwd"), "model '../../etc/passwd'", "lower-case"),
    ("a name with a slash", lambda: dataset("a/b"), "dataset 'a/b'", "lower-case letters"),
    ("a name of dots", lambda: model(".."), "model '..'", "starting with a letter"),
    ("an empty name", lambda: model(""), "model is not a valid name", "lower-case"),
    ("a name that is no text", lambda: model(7), "model '7'", "lower-case"),
    ("a name in another script", lambda: model("опоздание"), "model 'опоздание'", "lower-case"),
    ("a name with a hidden character", lambda: model("late\u202e"), "is not a valid name", "lower-case"),
    ("a name with a null byte", lambda: dataset("a\x00b"), "dataset", "lower-case"),
    ("a name without end", lambda: model("x" * 1_000_000), "is not a valid name", "63 at most"),
    (
        "two datasets of one name",
        lambda: model(features=["origin", view(source=dataset())]),
        "dataset 'flights' is declared twice",
        "rename",
    ),
    # columns and leaks
    ("an unknown column", lambda: model(features=["distence"]), "distence", "distance"),
    (
        "a feature that leaks",
        lambda: model(features=["delay"]),
        "column 'delay' would leak into the features",
        "known of earlier rows",
    ),
    (
        "a feature with a name of ours",
        lambda: model(requests=dataset(rows=ROWS.with_columns(score=0.5)), features=["score"]),
        "feature 'score' has the name of a column that predictions are kept with",
        'varv.derived("my_score", pl.col("score"))',
    ),
    (
        "a plant with a name of ours",
        lambda: replay(model=model(requests=SCORED, features=["distance"]), plants=[plant(column="score")]),
        "feature 'score'",
        "rename the column",
    ),
    ("the outcome as a feature", lambda: model(features=["late"]), "column 'late' would leak", "windows"),
    (
        "a derived feature that leaks",
        lambda: model(features=[varv.derived("d", pl.col("delay") + 1)]),
        "'delay' would leak into feature 'd'",
        "windows",
    ),
    ("a feature that is a time", lambda: model(features=["at"]), "feature 'at'", "derive a number"),
    (
        "a feature twice",
        lambda: model(features=["origin", "origin"]),
        "feature 'origin' is declared twice",
        "keep one",
    ),
    (
        "a view and its feature twice",
        lambda: model(features=[view(), view()]),
        "is declared twice",
        "keep one",
    ),
    ("no features", lambda: model(features=[]), "model 'late-arrival' has no features", "list them"),
    ("a text for a list", lambda: model(features="origin"), "has no features", "list them"),
    ("a number among the features", lambda: model(features=["origin", 3]), "feature '3'", "column's name"),
    ("a view of an unknown column", lambda: view(features=["winds"]), "feature view 'recent'", "column"),
    (
        "a view that says the wrong time",
        lambda: view(features=["delay"], available_at="at"),
        "would leak",
        "available_at='landed_at'",
    ),
    ("a view with no such entity", lambda: view(entity="airline"), "feature view 'recent'", "column"),
    ("a window of nonsense", lambda: varv.windows("late", "mean", over=["6 moons"]), "windows", "3h"),
    ("a window without end", lambda: varv.windows("late", "mean", over=["999999999d"]), "windows", "3h"),
    (
        "a derived feature over rows",
        lambda: varv.derived("m", pl.col("distance").mean()),
        "feature 'm'",
        "one row",
    ),
    # outcome
    (
        "an unknown outcome",
        lambda: model(outcome=varv.Outcome("lat", known_at="landed_at")),
        "outcome 'lat' is no column of dataset 'flights'",
        "distance",
    ),
    (
        "an outcome without an arrival time",
        lambda: model(outcome=varv.Outcome("late", known_at="arrived")),
        "outcome 'late' has no arrival time 'arrived'",
        "known_at={",
    ),
    (
        "an outcome known at another time",
        lambda: model(outcome=varv.Outcome("distance", known_at="landed_at")),
        "outcome 'distance' is not known at 'landed_at'",
        "use known_at='at'",
    ),
    (
        "an outcome that is a text",
        lambda: model(outcome=varv.Outcome("remark", known_at="landed_at")),
        "outcome 'remark'",
        "0 or 1",
    ),
    (
        "an outcome that is no name",
        lambda: varv.Outcome(["late"], known_at="landed_at"),
        "outcome 'column'",
        "name of a column",
    ),
    (
        "an outcome at no name",
        lambda: varv.Outcome("late", known_at=None),
        "outcome 'known_at'",
        "name of a column",
    ),
    (
        "a maturity of nonsense",
        lambda: varv.Outcome("late", known_at="landed_at", mature="soon"),
        "outcome 'mature'",
        "90s, 15m",
    ),
    (
        "a maturity that is no duration",
        lambda: varv.Outcome("late", known_at="landed_at", mature=float("nan")),
        "outcome 'mature'",
        "90s, 15m",
    ),
    # datasets
    ("a key that is not there", lambda: model(requests=dataset(key="flight")), "flight", "id"),
    (
        "a time that is no time",
        lambda: model(requests=dataset(event_time="distance")),
        "dataset 'flights'",
        "to_datetime",
    ),
    ("no key", lambda: dataset(key=[]), "dataset 'flights' names no column in 'key'", "give its name"),
    (
        "a column known twice",
        lambda: dataset(known_at={"landed_at": ["late"], "at2": ["late"]}),
        "dataset 'flights'",
        "",
    ),
    (
        "a source that is none",
        lambda: varv.Dataset("flights", source=ROWS, key="id", event_time="at"),
        "dataset 'flights' has the source DataFrame",
        "varv.Frame",
    ),
    (
        "a column of lists",
        lambda: model(requests=dataset(rows=ROWS.with_columns(x=pl.Series([[1]])))),
        "'x'",
        "drop the column",
    ),
    # parts of the model
    (
        "a task that does not exist",
        lambda: model(task="clustering"),
        "task 'clustering'",
        "binary",
    ),
    (
        "a training that is a function",
        lambda: model(train=fit),
        "model 'late-arrival' has train=",
        "varv.Train",
    ),
    (
        "requests that are a frame",
        lambda: model(requests=ROWS),
        "model 'late-arrival' has requests=",
        "varv.Dataset",
    ),
    ("an outcome that is a text only", lambda: model(outcome="late"), "has outcome='late'", "varv.Outcome"),
    ("a gate that is a text", lambda: model(gates=["log_loss"]), "has a gate 'log_loss'", "varv.gate"),
    ("gates that are no list", lambda: model(gates=5), "argument 'gates' is not a list", "gates=["),
    (
        "one gate instead of a list",
        lambda: model(gates=varv.gate.beats_champion()),
        "argument 'gates'",
        "gates=[",
    ),
    (
        "a rollout that is a text",
        lambda: model(rollout="fast"),
        "has a rollout of type str; use varv.Rollout(...)",
        "varv.Rollout",
    ),
    (
        "a retrain that is a list",
        lambda: model(retrain=["performance"]),
        "has a retrain of type list; use varv.Retrain(...)",
        "varv.Retrain",
    ),
    ("a monitor that is a text", lambda: model(monitors=["auc"]), "monitor", "varv.monitor"),
    (
        "monitors that are no list",
        lambda: model(monitors="drift"),
        "argument 'monitors' is not a list",
        "monitors=[",
    ),
    (
        "two monitors of one kind",
        lambda: model(monitors=[varv.monitor.drift(), varv.monitor.drift()]),
        "is declared twice",
        "keep one",
    ),
    (
        "a retraining on an alarm that nothing raises",
        lambda: model(monitors=[varv.monitor.performance()], retrain=varv.Retrain(on=["drift"])),
        "retrains on 'drift' alarms, which no monitor raises",
        "add varv.monitor.drift() to monitors",
    ),
    (
        "the usual retraining without a monitor",
        lambda: model(monitors=[]),
        "retrains on 'performance' alarms, which no monitor raises",
        "leave it out of retrain",
    ),
    (
        "a unit known too late",
        lambda: model(unit="delay"),
        "has the unit 'delay', which is known too late",
        "comes with the request",
    ),
    ("a unit that is not there", lambda: model(unit="user"), "user", "id"),
    (
        "a unit that is a list",
        lambda: model(unit=["origin"]),
        "model 'unit' is not a name",
        "name of a column",
    ),
    # gates, monitors, rollouts, triggers
    (
        "a gate of another metric",
        lambda: model(gates=[varv.gate.beats_champion("accuracy")]),
        "gate 'beats_champion' has no metric 'accuracy'",
        "log_loss or brier or auc",
    ),
    (
        "a gate that is not frozen",
        lambda: model(gates=[Loose()]),
        "has a gate Loose()",
        "a frozen msgspec.Struct with judge(self, judgement)",
    ),
    (
        "a metric without a direction",
        lambda: model(gates=[varv.gate.beats_champion("base_rate")]),
        "compares 'base_rate', of which neither more nor less is better",
        "log_loss or brier or auc or ece",
    ),
    (
        "a calibration of a task that promises nothing",
        lambda: model(
            outcome=varv.Outcome("delay", known_at="landed_at"),
            task=varv.task.regression(range=(0, 60)),
            rollout=varv.Rollout.immediate(),
            gates=[varv.gate.calibrated(max_ece=0.1)],
        ),
        "gate 'calibrated' needs predictions that promise something",
        "at_most",
    ),
    (
        "a gate on a slice of no feature",
        lambda: model(gates=[varv.gate.at_least("auc", 0.7, slice=varv.slice("carrier", "UA"))]).validate(),
        "gate 'at_least' has a slice that is no feature: 'carrier'",
        "the features are ",
    ),
    (
        "a behaviour of no feature",
        lambda: model(
            gates=[varv.behaviour.direction("far", feature="mass", by=1, prediction="up")]
        ).validate(),
        "gate 'direction' has a feature that is no feature: 'mass'",
        "the features are ",
    ),
    (
        "a margin that is not a number",
        lambda: varv.gate.beats_champion(margin=float("nan")),
        "gate 'beats_champion' has a bad margin",
        "at least 0",
    ),
    ("a margin below zero", lambda: varv.gate.beats_champion(margin=-1), "has a bad margin", "at least 0"),
    (
        "a calibration of a huge number",
        lambda: varv.gate.calibrated(max_ece=1e300),
        "gate 'calibrated' has a bad max_ece",
        "to 1",
    ),
    ("a calibration that is true", lambda: varv.gate.calibrated(max_ece=True), "has a bad max_ece", "to 1"),
    (
        "a monitor of another metric",
        lambda: model(monitors=[varv.monitor.performance("f1")]),
        "monitor 'performance'",
        "auc",
    ),
    (
        "a monitor that cries every day",
        lambda: varv.monitor.performance(false_alarm_every="1d"),
        "monitor 'performance'",
        "200d",
    ),
    ("a drift of one day", lambda: varv.monitor.drift(window="1d"), "monitor", ""),
    ("a drift of nan", lambda: varv.monitor.drift(psi=float("nan")), "monitor", ""),
    ("steps that fall", lambda: varv.Rollout(steps=[50, 5, 100]), "rollout argument 'steps'", "rising"),
    ("steps that never end", lambda: varv.Rollout(steps=[5, 25]), "rollout argument 'steps'", "end with 100"),
    ("steps of nan", lambda: varv.Rollout(steps=[float("nan"), 100]), "rollout argument 'steps'", "rising"),
    (
        "a shadow of nonsense",
        lambda: varv.Rollout(shadow="for a while"),
        "rollout argument 'shadow'",
        "until proven or 2d",
    ),
    (
        "a guard of another metric",
        lambda: model(rollout=varv.Rollout(guard={"auc": "not worse by 0.1"})),
        "rollout argument 'guard'",
        "log_loss",
    ),
    (
        "a guard on a slice of no feature",
        lambda: model(rollout=sliced("tail", "N1")).validate(),
        "slice 'tail N1'",
        "name one of the features",
    ),
    (
        "a guard on a slice that compares a number with a text",
        lambda: model(rollout=sliced("distance", "far")).validate(),
        "slice 'distance far'",
        "compare like with like",
    ),
    (
        "lists that do not keep their arm",
        lambda: model(task=varv.task.ranking(group="at"), unit="distance"),
        "lists by 'at'",
        "leave unit out",
    ),
    (
        "a risk above a half",
        lambda: varv.Rollout(risk={"false_rollback": 0.9}),
        "rollout argument 'risk'",
        "0.05",
    ),
    (
        "a deadline inside the shadow",
        lambda: varv.Rollout(shadow="until proven or 9d"),
        "rollout argument 'deadline'",
        "longer than the shadow",
    ),
    (
        "an unknown trigger",
        lambda: varv.Retrain(on=["monday"]),
        "retrain 'on' has no trigger 'monday'",
        "schedule:30d",
    ),
    ("a trigger twice", lambda: varv.Retrain(on=["drift", "drift"]), "names 'drift' twice", "keep one"),
    (
        "a schedule without a duration",
        lambda: varv.Retrain(on=["schedule:"]),
        "has no trigger 'schedule:'",
        "schedule:30d",
    ),
    ("a schedule of nonsense", lambda: varv.Retrain(on=["schedule:often"]), "retrain 'schedule'", "7d, 2w"),
    (
        "a volume of nothing",
        lambda: varv.Retrain(on=["volume:0%"]),
        "has no trigger 'volume:0%'",
        "volume:25%",
    ),
    (
        "a volume without end",
        lambda: varv.Retrain(on=["volume:" + "9" * 400 + "%"]),
        "has no trigger",
        "volume:25%",
    ),
    ("a trigger that is no text", lambda: varv.Retrain(on=[None]), "has no trigger 'None'", "schedule:30d"),
    ("triggers as one text", lambda: varv.Retrain(on="performance"), "retrain 'on' is not a list", "on=["),
    (
        "a benefit without a cost",
        lambda: varv.Retrain(on=["benefit"]),
        "retrain 'on' weighs a benefit against no cost",
        "12 a year",
    ),
    (
        "a benefit without an outcome",
        lambda: model(
            task="score", outcome=None, monitors=[], gates=[], retrain=varv.Retrain(on=["benefit"], cost=3)
        ),
        "has no outcome to weigh it by",
        "leave it out",
    ),
    *(
        (f"a cost of {cost!r}", lambda cost=cost: varv.Retrain(cost=cost), "retrain 'cost'", "0.01 on 10000")
        for cost in (0, -3.0, float("nan"), True, "cheap", "0 on 100 requests", "0 a year", [3])
    ),
    ("money for nothing", lambda: varv.money(training=0, loss=1), "retrain 'cost'", "varv.money"),
    *(
        (f"a certainty of {one!r}", lambda one=one: varv.Retrain(certainty=one), "retrain 'certainty'", "0.9")
        for one in (0.4, 1, "sure", True)
    ),
    ("a cool-down below zero", lambda: varv.Retrain(cooldown="-3d"), "retrain 'cooldown'", "90s, 15m"),
    # replays
    (
        "a replay out of order",
        lambda: replay(until="2024-01-15"),
        "replay 'late-arrival' has its times out of order",
        "a day apart",
    ),
    (
        "a replay that begins nowhere",
        lambda: replay(since="yesterday"),
        "replay 'since' has a bad time",
        "2013-02-01T05:00:00Z",
    ),
    ("a replay at a number", lambda: replay(train_at=5), "replay 'train_at' has a bad time", "2013-02-01"),
    (
        "a replay of no model",
        lambda: varv.Replay("late", since="2024-01-01", train_at="2024-02-01", until="2024-03-01"),
        "has model='late'",
        "varv.Model",
    ),
    (
        "an unknown reference",
        lambda: replay(references=["daily"]),
        "has no reference policy 'daily'",
        "never, monthly, weekly",
    ),
    (
        "two policies of one name",
        lambda: replay(references=[varv.Policy("fast"), varv.Policy("fast")]),
        "policy 'fast' has two policies of one name",
        "rename",
    ),
    (
        "a policy with the name of a reference",
        lambda: replay(references=[varv.Policy("weekly")]),
        "policy 'weekly' has two policies of one name",
        "rename",
    ),
    ("a search of nothing", lambda: varv.PolicySearch(), "search 'policies' tries nothing", "retrain=["),
    (
        "a search of too much",
        lambda: varv.PolicySearch(retrain=[varv.Retrain()] * 101, rollout=[varv.Rollout()] * 2),
        "tries 202 combinations",
        "at most 200",
    ),
    ("a search of one text", lambda: varv.PolicySearch(retrain="weekly"), "'retrain' is not a list", "=["),
    ("a search that is a list", lambda: replay(search=[varv.Retrain()]), "has search=", "varv.PolicySearch"),
    ("a policy called declared", lambda: varv.Policy("declared"), "policy 'declared'", "rename"),
    ("a policy with a bad name", lambda: varv.Policy("../x"), "policy '../x'", "lower-case"),
    (
        "a policy of a text",
        lambda: varv.Policy("x", retrain="weekly"),
        "policy 'x' has retrain=",
        "varv.Retrain",
    ),
    (
        "a policy of gates as a text",
        lambda: varv.Policy("x", gates="all"),
        "gates that are no list",
        "gates=[",
    ),
    (
        "a policy on alarms that nothing raises",
        lambda: varv.Replay(
            model(monitors=[], retrain=varv.Retrain(on=["schedule:3d"])),
            since="2024-01-01",
            train_at="2024-02-01",
            until="2024-03-01",
            references=[varv.Policy("alarmed", retrain=varv.Retrain(on=["drift"]))],
        ),
        "'drift' alarms, which no monitor raises",
        "monitor.drift",
    ),
    (
        "references as one text",
        lambda: replay(references="never"),
        "argument 'references' is not a list",
        "references=[",
    ),
    ("a seed that is a text", lambda: replay(seed="x"), "replay 'seed'", "seed=0"),
    ("a seed without end", lambda: replay(seed=1 << 80), "replay 'seed'", "seed=0"),
    (
        "two plants of one name",
        lambda: replay(plants=[plant(), plant()]),
        "has two plants of one name",
        "rename",
    ),
    ("a plant that is a text", lambda: replay(plants=["leaky"]), "has a plant 'leaky'", "varv.Plant"),
    (
        "a plant before the first training",
        lambda: replay(plants=[plant(at="2024-01-02")]),
        "plant 'leaky' has its time outside",
        "after the first training",
    ),
    (
        "a plant after the end",
        lambda: replay(plants=[plant(at="2024-03-02")]),
        "plant 'leaky' has its time outside",
        "before the end",
    ),
    (
        "a plant that breaks otherwise",
        lambda: plant(breaks="slowly"),
        "plant 'leaky' breaks 'slowly'",
        "at once",
    ),
    (
        "a plant of a column known in time",
        lambda: replay(plants=[plant(column="distance")]),
        "plant 'leaky' reads 'distance'",
        "only becomes known later",
    ),
    (
        "a plant of a text column",
        lambda: replay(plants=[plant(column="remark")]),
        "plant 'leaky' reads 'remark' of type String",
        "numbers",
    ),
    ("a plant of no column", lambda: replay(plants=[plant(column="nothing")]), "nothing", "id"),
    ("a plant with a bad name", lambda: plant(name="../leak"), "plant '../leak'", "lower-case"),
]


@pytest.mark.parametrize(
    ("make", "names", "hint"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN]
)
def test_a_broken_declaration_is_refused_by_an_error_that_names_it_and_the_fix(make, names, hint):
    with pytest.raises(InvalidInput) as caught:
        make()
    text = str(caught.value)
    assert names in text
    assert hint in caught.value.hint
    assert len(text) < 2000


def test_the_table_of_broken_declarations_is_long_enough():
    assert len(BROKEN) >= 30


def test_a_whole_declaration_stands():
    made = model(
        features=["distance", "origin", view(), varv.derived("far", pl.col("distance") > 2)],
        gates=[varv.gate.beats_champion("brier", margin=0.01), varv.gate.calibrated(max_ece=0.05)],
        rollout=varv.Rollout(steps=[5, 100]),
        monitors=[varv.monitor.performance("auc"), varv.monitor.calibration(), varv.monitor.drift()],
        retrain=varv.Retrain(on=["performance", "schedule:30d", "volume:12.5%"], cooldown="36h"),
        unit="origin",
    )
    assert made.feature_set.names == ("distance", "origin", "recent.late_mean_6h", "far")
    assert [data.name for data in made.datasets] == ["flights"]
    train_at = varv.Replay(made, since="2024-01-01", train_at="2024-02-01", until="2024-03-01").train_at
    policy = plan_of(made).loop.policy(train_at, 3)
    assert policy.alarms == ("performance",)
    assert (policy.schedule, policy.volume, policy.cooldown) == (30 * DAY, 0.125, 36 * HOUR)
    assert policy.maturity == DAY
    assert replay(plants=[plant()]).plants[0].column == "delay"


def test_every_dataset_that_is_read_is_known_by_its_model():
    windy = varv.FeatureView("windy", source=WEATHER, entity="origin", features=["wind"], ttl="3h")
    assert [data.name for data in model(features=["distance", windy]).datasets] == ["flights", "weather"]


def test_what_retrains_by_default_is_watched_by_default():
    usual = model()
    assert usual.retrain.alarms == {"performance"}
    assert {type(one).__name__ for one in usual.monitors} == {
        "PerformanceMonitor",
        "CalibrationMonitor",
        "DriftMonitor",
    }


def test_without_monitors_the_calendar_still_retrains():
    assert model(monitors=[], retrain=varv.Retrain(on=["schedule:30d"])).monitors == ()


@pytest.mark.parametrize(
    ("cost", "loss", "a_year", "said"),
    [
        (30, 30.0, None, "30.0"),
        ("0.01 on 10,000 requests", 100.0, None, "100.0 (0.01 on 10,000 requests)"),
        (varv.money(training=400, loss=2.5), 160.0, None, "160.0 (400 at 2.5 a unit of loss)"),
        ("12 a year", None, 12.0, "12.0 trainings a year"),
        ("1 a month", None, 12.0, "12.0 trainings a year"),
    ],
)
def test_a_price_is_said_in_loss_in_money_or_as_a_budget(cost, loss, a_year, said):
    retrain = varv.Retrain(on=["benefit"], cost=cost, certainty=0.8)
    assert (retrain.price.loss, retrain.price.a_year, retrain.price.line()) == (loss, a_year, said)
    assert retrain.benefit.certainty == 0.8
    assert varv.Retrain(cost=cost).benefit is None


def test_an_empty_list_of_triggers_never_retrains():
    policy = plan_of(model(retrain=varv.Retrain.never())).loop.policy(replay().train_at, 0)
    assert (policy.alarms, policy.schedule, policy.volume) == ((), None, None)


def test_the_references_are_policies():
    calendars = [f"every-{weeks}-weeks" for weeks in (2, 4, 8)]
    assert list(REFERENCES) == ["never", "monthly", "weekly", *calendars, "volume-25", "volume-50"]
    assert REFERENCES["every-4-weeks"].retrain.schedule == 28 * DAY
    assert REFERENCES["volume-25"].retrain.volume == 0.25
    declared = model(train=varv.Train(fit, origins=3), gates=[varv.gate.beats_champion()])
    weekly = REFERENCES["weekly"].of(declared)
    assert (weekly.retrain.schedule, weekly.gates, weekly.train.origins, weekly.train.refit) == (
        7 * DAY,
        (),
        1,
        False,
    )
    # What is declared stays as it was.
    assert (declared.train.origins, len(declared.gates)) == (3, 1)


def test_a_policy_replaces_what_it_gives_and_keeps_the_rest():
    often = varv.Policy("often", retrain=varv.Retrain(on=["schedule:2d"]))
    found = replay(references=["never", often])
    assert found.references == ("never", "often")
    [declared] = found.models
    varied = found.policies["often"].of(declared)
    assert varied.retrain is often.retrain
    assert (varied.rollout, varied.gates, varied.train) == (declared.rollout, declared.gates, declared.train)
    assert varv.Policy("open", gates=[]).of(declared).gates == ()


def test_a_search_is_every_combination_of_what_is_listed_and_says_how_each_is_written():
    search = varv.PolicySearch(
        retrain=[varv.Retrain(on=["schedule:7d"]), varv.Retrain(on=["benefit"], cost=30, certainty=0.8)],
        train=[varv.Train(fit, window="60d", params={"C": 2}), varv.Train(fit, refit=False)],
    )
    assert [one.name for one in search.policies] == [
        *("retrain-1-train-1", "retrain-1-train-2", "retrain-2-train-1", "retrain-2-train-2"),
    ]
    assert search.policies[2].text == (
        "retrain=varv.Retrain(on=['benefit'], cost=30, certainty=0.8),\n"
        "train=varv.Train(fit=fit, window='60d', params={'C': 2})"
    )
    found = replay(search=search)
    assert found.search is search
    rollouts = varv.PolicySearch(rollout=[varv.Rollout(steps=[10, 100], bake="6h"), varv.Rollout.immediate()])
    assert [one.text for one in rollouts.policies] == [
        "rollout=varv.Rollout(steps=[10, 100], bake='6h')",
        "rollout=varv.Rollout.immediate()",
    ]
    paid = varv.Retrain(on=["benefit"], cost=varv.money(training=400, loss=2.5))
    assert paid.text == "varv.Retrain(on=['benefit'], cost=varv.money(training=400, loss=2.5))"


def test_a_reference_that_is_named_twice_is_run_once():
    assert replay(references=["never", "never"]).references == ("never",)
