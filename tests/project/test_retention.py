"""What is kept for a while is kept for as long as the loop reads it."""

from __future__ import annotations

import pytest
from tests.loop.synthetic import declared

import varv
from varv.kernel.clock import DAY
from varv.kernel.errors import InvalidDeclaration
from varv.project import plan_of
from varv.project.changes import plan_changes
from varv.project.planned import Recorded, RecordedModel
from varv.project.wording import settings_of


def model(*, predictions="60d", window="14d", **rest):
    plain = declared().models[0]
    train = varv.Train(plain.train.fit, window=window, validate="5d", origins=2)
    return varv.Model(
        "late-parcel",
        requests=plain.requests,
        features=plain.features,
        outcome=plain.outcome,
        train=train,
        rollout=varv.Rollout(deadline="7d", probation="14d"),
        retention=varv.Retention(predictions=predictions),
        **rest,
    )


def test_it_is_part_of_the_plan_and_of_what_identifies_the_declaration():
    plan, other = plan_of(model()), plan_of(model(predictions="90d"))
    assert plan.retention == 60 * DAY
    assert settings_of(plan)["retention"] == "60d"
    assert plan.digest() != other.digest()
    assert plan_of(declared().models[0]).retention is None
    assert settings_of(plan_of(declared().models[0]))["retention"] == "for ever"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"predictions": "28d"}, "reads further back"),  # 24 days of training, one until mature, a week
        ({"window": "60d"}, "reads further back"),
        ({"window": None}, "trains on all of them"),
        ({"predictions": "soon"}, "predictions"),
    ],
)
def test_what_the_loop_still_reads_is_not_given_up(options, told):
    with pytest.raises(InvalidDeclaration, match=told):
        model(**options)


def test_a_thing_of_another_kind_is_refused():
    plain = declared().models[0]
    with pytest.raises(InvalidDeclaration, match="retention"):
        varv.Model(
            "m",
            requests=plain.requests,
            features=plain.features,
            outcome=plain.outcome,
            train=plain.train,
            retention="60d",
        )


def test_a_home_of_before_is_changed_by_a_retention_that_is_declared_now():
    before = settings_of(plan_of(model()))
    del before["retention"]
    plan = plan_of(model())
    record = RecordedModel(
        model=plan.name,
        requests=plan.schema.requests.name,
        definition=plan.loop.definition(),
        task=plan.outcome.task.spec,
        settings=before,
        declared=plan.loop.features.names,
        known={},
    )
    [change] = plan_changes([plan], Recorded(models={plan.name: record})).models
    assert [(one.name, one.before, one.after) for one in change.settings] == [
        ("retention", "for ever", "60d")
    ]
