"""What is declared of labelling, and what cannot be."""

from __future__ import annotations

import pytest
from tests.project.test_declaration import model

import varv
from varv.kernel.clock import DAY, HOUR
from varv.project import plan_of
from varv.project.declared import declared_fact
from varv.project.wording import LATER_SETTINGS, settings_of


def test_a_labelling_is_part_of_the_plan_the_record_and_the_digest():
    labelling = varv.Labelling(budget=50, slices=[varv.slice("origin", "JFK")], lease="1h", explored=0.01)
    plan, bare = plan_of(model(labelling=labelling)), plan_of(model())
    policy = plan.labelling
    assert (policy.budget, policy.every, policy.lease, policy.by) == (50, DAY, HOUR, "entropy")
    assert policy.n_random == 10
    assert declared_fact(plan, plan.digest()).event.labelling == policy
    assert plan.digest() != bare.digest()
    assert settings_of(plan)["labelling"].startswith("50 every 1d, 0.2 at random")
    assert settings_of(bare)["labelling"] == LATER_SETTINGS["labelling"] == "none"


@pytest.mark.parametrize("budget", [1, 3, 10, 99])
def test_a_tenth_at_least_is_drawn_whatever_the_budget(budget):
    policy = plan_of(model(labelling=varv.Labelling(budget=budget, random=0.1))).labelling
    assert policy.n_random >= budget / 10
    assert policy.n_random - 1 < budget / 10


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"budget": 0}, "budget"),
        ({"budget": True}, "budget"),
        ({"budget": 5, "random": 0.05}, "random"),
        ({"budget": 5, "double": 2}, "double"),
        ({"budget": 5, "every": "1s"}, "every"),
        ({"budget": 5, "lease": "soon"}, "lease"),
        ({"budget": 5, "by": "chance"}, "by"),
        ({"budget": 5, "slices": ["origin"]}, "slices"),
        ({"budget": 5, "revisions": "all"}, "revisions"),
    ],
)
def test_what_cannot_be_declared_is_named(given, problem):
    with pytest.raises(varv.VarvError, match=problem):
        varv.Labelling(**given)


def test_what_a_task_does_not_say_cannot_choose():
    with pytest.raises(varv.VarvError, match="by interval, which its task binary does not say"):
        model(labelling=varv.Labelling(budget=5, by="interval"))
    number = {"task": varv.task.regression(), "outcome": varv.Outcome("delay", known_at="landed_at")}
    with pytest.raises(varv.VarvError, match="declare the task quantiles"):
        model(labelling=varv.Labelling(budget=5), **number, gates=[], monitors=[])
    with pytest.raises(varv.VarvError, match="looks at no feature"):
        model(labelling=varv.Labelling(budget=5, slices=[varv.slice("remark", "x")])).validate()
