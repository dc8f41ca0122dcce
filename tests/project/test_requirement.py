"""Requirements are traced to what is declared: an unknown proof is an error that names the nearest."""

from __future__ import annotations

import pytest
from tests.loop.synthetic import declared

import varv
from varv.kernel.errors import InvalidDeclaration
from varv.project import plan_of
from varv.project.changes import plan_changes
from varv.project.planned import Recorded

AUC = varv.gate.at_least("auc", 0.6)


def required(*requirements, gates=(AUC,)):
    """Return what a model requires, as its plan has it."""
    model = declared().models[0]
    model.gates, model.requirements = gates, requirements
    model.check()
    return model, plan_of(model).loop.requirements


def one(**said):
    return varv.Requirement("R1", "It is right often enough.", said.pop("kind", "performance"), **said)


def test_proofs_are_named_by_text_or_by_what_is_declared():
    model, _ = required()
    names = ["gate:at_least auc", "monitor:drift", f"contract:{model.requests.name}", "report:leaks"]
    things = [AUC, varv.monitor.drift(), model.requests, "report:leaks"]
    _, [by_name] = required(one(proved_by=names))
    _, [by_thing] = required(one(proved_by=things))
    assert by_name == by_thing
    assert by_name.proofs == tuple(names)


@pytest.mark.parametrize(
    "gate",
    [
        varv.gate.beats_champion(),
        varv.gate.at_most("log_loss", 0.7, slice=varv.slice("route", "north")),
        varv.gate.calibrated(max_ece=0.1),
        varv.gate.latency(p99="5ms"),
        varv.gate.size(max="20MB"),
        varv.gate.check(lambda rows: 1.0, name="own", at_least=0.0),
        varv.behaviour.minimum("sure", rows=[{"load": 3.0}], at_least=0.5),
        varv.behaviour.invariant("alike", change={"route": ["north", "south"]}),
        varv.behaviour.direction("heavier", feature="load", by=1.0, prediction="up"),
    ],
)
def test_every_gate_can_be_a_proof(gate):
    _, [spec] = required(one(proved_by=gate), gates=(gate,))
    assert spec.proofs[0].startswith("gate:")


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"proved_by": "gate:at_least acu"}, "did you mean 'gate:at_least auc'?"),
        ({"proved_by": ["monitor:drifts"]}, "did you mean 'monitor:drift'?"),
        ({"proved_by": varv.gate.size(max="1MB")}, "is proved by 'gate:size', which the model does not have"),
        ({"proved_by": 7}, "is proved by '7', which the model does not have"),
        ({"proved_by": "monitor:drift", "required": True}, "monitor:drift only shows while it does"),
        ({"required": "yes"}, "has required='yes'"),
        ({"kind": "moral"}, "is of the kind 'moral'; use one of data, performance"),
    ],
)
def test_what_cannot_prove_it_is_refused(said, problem):
    with pytest.raises(InvalidDeclaration) as error:
        required(one(**said))
    assert problem in str(error.value)


def test_an_id_is_a_word_and_is_there_once():
    with pytest.raises(InvalidDeclaration, match="'R1' is declared twice"):
        required(one(), one())
    with pytest.raises(InvalidDeclaration, match="has an id that is not valid"):
        varv.Requirement("a b", "It is.", "data")
    with pytest.raises(InvalidDeclaration, match="says nothing, or too much"):
        varv.Requirement("R1", " ", "data")


def test_a_plan_says_which_requirement_nothing_proves():
    model, _ = required(one(), varv.Requirement("R2", "It is fair.", "ethics", required=True))
    found = plan_changes([plan_of(model)], Recorded())
    assert found.unproved == (
        "late-parcel: requirement R1 has no proof; add proved_by=[...] to it",
        "late-parcel: requirement R2 has no proof, and holds every candidate back; add proved_by=[...] to it",
    )
    assert plan_changes([plan_of(required()[0])], Recorded()).unproved == ()


def test_requirements_are_part_of_what_is_declared():
    before, after = plan_of(required()[0]), plan_of(required(one(proved_by=AUC))[0])
    assert before.digest() != after.digest()
