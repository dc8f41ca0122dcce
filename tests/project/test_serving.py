"""How a model is served, declared: what cannot work is refused, and what is declared is on record."""

from __future__ import annotations

import msgspec
import polars as pl
import pytest
from tests.project.doubling import doubled
from tests.project.test_declaration import FLIGHTS, dataset, model, view

import varv
from varv.kernel.errors import InvalidDeclaration
from varv.loop.declaring.model import Declared
from varv.project import Project, plan_of
from varv.project.declared import declared_fact
from varv.project.wording import LATER_SETTINGS, settings_of
from varv.serving.policy import ServingPolicy

NUMBER = varv.task.regression(range=(0, 9))
DELAY = varv.Outcome("delay", known_at="landed_at")
LOG_ORIGIN = varv.Serving(log=varv.Log(pseudonymise=["origin"]))


def declared(**serving):
    made = model(serving=varv.Serving(**serving))
    made.validate()
    return plan_of(made).schema.serving


def test_what_is_declared_is_what_is_served_by():
    policy = declared(
        checks=[varv.check("distance", low=0, high=5000, otherwise="flag")],
        fallback=[varv.fallback.former(), varv.fallback.cached("10m"), varv.fallback.default(0.2)],
        abstain_below=0.6,
        cache="1m",
    )
    assert msgspec.json.decode(msgspec.json.encode(policy), type=ServingPolicy) == policy
    assert policy.keeps_former
    assert policy.remembers == 600 * 10**6
    words = settings_of(plan_of(model(serving=varv.Serving(abstain_below=0.6))))
    assert words["serving abstain below"] == "0.6"
    assert words["serving fallback"] == "none"
    plain = settings_of(plan_of(model()))
    assert all(LATER_SETTINGS[name] == plain[name] for name in words if name.startswith("serving"))


def test_nothing_declared_is_the_declaration_of_before():
    plain, empty = plan_of(model()), plan_of(model(serving=varv.Serving()))
    other = plan_of(model(serving=varv.Serving(cache="1m")))
    assert plain.digest() == empty.digest()
    assert plain.digest() != other.digest()
    fact = declared_fact(other, other.digest())
    again = msgspec.json.decode(msgspec.json.encode(fact.event), type=Declared)
    assert again.serving == other.schema.serving


def test_a_default_may_be_said_by_the_names_of_a_prediction():
    task = varv.task.multiclass(classes=["A", "B"])
    step = varv.fallback.default({"B": 0.25, "A": 0.75})
    made = model(
        task=task, outcome=varv.Outcome("remark", known_at="landed_at"), serving=varv.Serving(fallback=[step])
    )
    assert made.serving.policy_for(made.name, task, made.requests).fallback[0].prediction == (0.75, 0.25)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: varv.check("distance"), "demands nothing"),
        (lambda: varv.check("", low=0), "names no column"),
        (lambda: varv.check("distance", low=2, high=1), "which is nowhere"),
        (lambda: varv.check("distance", low=2, one_of=[1]), "limits and a list"),
        (lambda: varv.check("distance", one_of="ab"), "no list of values"),
        (lambda: varv.check("distance", low=0, otherwise="drop"), "otherwise='drop'"),
        (lambda: varv.check("distance", low=0, otherwise="default"), "no default"),
        (lambda: varv.check("distance", low=0, default=1), "not used"),
        (lambda: declared(checks=[varv.check("nope", low=0)]), "no column of its requests"),
        (lambda: declared(checks=[varv.check("landed_at", required=True)]), "no column of its requests"),
        (lambda: declared(checks=[varv.check("origin", low=0)]), "has limits"),
        (lambda: declared(checks=[varv.check("distance", one_of=["far"])]), "the value 'far'"),
        (lambda: declared(checks=["distance"]), "has 'distance'"),
        (lambda: declared(checks="distance"), "is not a list"),
        (lambda: declared(fallback=[0.5]), "has 0.5"),
        (lambda: declared(fallback=[varv.fallback.former()] * 2), "twice"),
        (lambda: declared(fallback=[varv.fallback.default(1.5)]), "no prediction of the task"),
        (lambda: declared(fallback=[varv.fallback.default([0.5, 0.5])]), "no prediction of the task"),
        (lambda: declared(fallback=[varv.fallback.default({"A": 0.5})]), "a default answer of A"),
        (lambda: declared(fallback=[varv.fallback.cached("soon")]), "max_age"),
        (lambda: declared(abstain_below=0), "abstain_below"),
        (
            lambda: model(task=varv.task.regression(range=(0, 9)), serving=varv.Serving(abstain_below=0.5)),
            "abstains",
        ),
        (lambda: model(serving={"cache": "1m"}), "serving"),
        (lambda: declared(log={"share": 1}), "log"),
        (lambda: varv.Log(share=0), "share"),
        (lambda: varv.Log(redact="distance"), "is not a list"),
        (lambda: varv.Log(redact=["a"], pseudonymise=["a"]), "is both"),
        (lambda: declared(log=varv.Log(redact=["late"])), "no column of its requests"),
        (lambda: declared(log=varv.Log(redact=["distance"])), "read by features"),
        (lambda: declared(log=varv.Log(pseudonymise=["id"])), "a key of the requests"),
        (lambda: model(unit="origin", features=["distance"], serving=LOG_ORIGIN), "unit of randomisation"),
    ],
)
def test_what_cannot_work_is_refused(make, told):
    with pytest.raises(InvalidDeclaration) as refused:
        make()
    assert told in str(refused.value)
    assert refused.value.hint


def test_the_samples_have_the_columns_that_are_tried():
    assert {"distance", "origin", "landed_at"} <= set(dataset().types())


def test_what_a_view_of_another_model_reads_is_kept():
    own = model("own", features=["distance"], serving=varv.Serving(log=varv.Log(pseudonymise=["origin"])))
    other = model("other", features=["distance", view(source=FLIGHTS)])
    with pytest.raises(InvalidDeclaration, match="feature view 'recent' reads"):
        Project("both", (other, own)).validate()
    Project("own", (own,)).validate()


KM = {"distance": pl.col("miles") * 1.6}


def test_transformations_are_kept_with_what_they_read_and_make():
    before = varv.transform(KM, inputs={"miles": float}, otherwise="default", default={"distance": 500.0})
    after = varv.transform(doubled, outputs={"double": float}, timeout_s=0.5)
    policy = declared(before=before, after=after)
    assert msgspec.json.decode(msgspec.json.encode(policy), type=ServingPolicy) == policy
    assert [(one.name, one.kind) for one in policy.before.reads] == [("miles", "number")]
    assert [(one.name, one.kind) for one in policy.before.makes] == [("distance", "number")]
    assert policy.before.line.startswith("distance = [(col(")
    assert policy.before.line.endswith("else default 500.0")
    assert policy.after.how.module.endswith("doubling")
    assert any("def doubled" in text for _, text in policy.after.how.files)
    assert "double by " in settings_of(plan_of(model(serving=varv.Serving(after=after))))["serving after"]


def test_a_function_beside_a_dataset_is_refused():
    space = {"data": dataset()}
    exec("def made(columns): ...", space)
    with pytest.raises(InvalidDeclaration, match="define it in a file of its own beside"):
        varv.transform(space["made"], outputs={"x": str})


def test_a_function_whose_source_changes_is_another_declaration():
    function = declared(after=varv.transform(doubled, outputs={"double": float})).after.how
    changed = msgspec.structs.replace(function, files=(("m.py", "other"),))
    assert function.line != changed.line


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: varv.transform(3), "is of type int"),
        (lambda: varv.transform({}), "makes nothing"),
        (lambda: varv.transform({"x": pl.col("a").mean()}), "is not made of one row"),
        (lambda: varv.transform({"x": pl.col("a").map_elements(len)}), "function of Python|not made of one"),
        (lambda: varv.transform({"x": 3}), "is of type int"),
        (lambda: varv.transform(doubled), "makes no columns"),
        (lambda: varv.transform(lambda columns: columns, outputs=["x"]), "in a file that declares datasets"),
        (lambda: varv.transform(KM, outputs=["x"]), "has outputs beside"),
        (lambda: varv.transform(KM, timeout_s=0), "timeout_s"),
        (lambda: varv.transform(KM, otherwise="hope"), "otherwise"),
        (lambda: varv.transform(KM, otherwise="default"), "default"),
        (lambda: varv.transform(KM, otherwise="default", default={"y": 1.0}), "names y; name distance"),
        (lambda: varv.transform(KM, token_variable="T"), "is no endpoint"),
        (lambda: varv.transform("ftp://host/v2/models/m", outputs=["x"]), "not the address"),
        (lambda: varv.transform("http://u:p@host/v2/models/m", outputs=["x"]), "password"),
        (lambda: varv.transform("http://host/v2/models/m", outputs=["x"], token_variable="T"), "not https"),
        (lambda: varv.transform(KM, inputs={"miles": list}), "give str, float, int or bool"),
        (lambda: varv.Serving(before=KM), "is of type dict"),
    ],
)
def test_a_transformation_that_cannot_be_is_refused(make, told):
    with pytest.raises(InvalidDeclaration, match=told):
        make()


@pytest.mark.parametrize(
    ("serving", "told"),
    [
        ({"before": varv.transform(KM)}, "transforms 'miles', which does not exist"),
        ({"before": varv.transform({"delay": pl.col("distance")})}, "which is no such column"),
        ({"before": varv.transform({"distance": pl.lit(1.0)})}, "reads nothing"),
        ({"before": varv.transform({"distance": pl.col("origin")})}, "of type String"),
        ({"before": varv.transform(doubled, inputs={"distance": str}, outputs=["distance"])}, "as text"),
        ({"after": varv.transform({"double": pl.col("distance")})}, "transforms 'distance' of its answers"),
        ({"after": varv.transform({"version": pl.col("probability")})}, "what every answer says"),
        ({"after": varv.transform({"probability": pl.lit("high")})}, "what every answer says"),
        ({"after": varv.transform({"day": pl.from_epoch(pl.col("version"))})}, "make a text, a number"),
        ({"after": varv.transform(doubled, outputs=["double"])}, "without their types"),
        ({"after": varv.transform(KM, inputs={"miles": float})}, "reads all that is said"),
    ],
)
def test_a_transformation_that_does_not_fit_its_model_is_refused(serving, told):
    with pytest.raises(InvalidDeclaration, match=told):
        declared(**serving)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: varv.Serving(cost=0), "cost"),
        (lambda: varv.Serving(cost=2.5), "cost"),
        (lambda: varv.CloudEvents("logger"), "is not an address"),
        (lambda: varv.CloudEvents(3), "is not an address"),
        (lambda: varv.CloudEvents("http://logger/"), "is not https"),
        (lambda: varv.CloudEvents("http://logger/", private=True, token_variable="T"), "is not https"),
        (lambda: varv.CloudEvents("https://u:p@logger/"), "holds a password"),
        (lambda: varv.CloudEvents("https://logger/\n"), "is not an address"),
        (lambda: varv.CloudEvents("https://logger/", mode="some"), "mode"),
        (lambda: varv.CloudEvents("https://logger/", share=0), "share"),
        (lambda: varv.Serving(observer="https://logger/"), "is of type str"),
    ],
)
def test_an_observer_that_cannot_be_is_refused(make, told):
    with pytest.raises(InvalidDeclaration, match=told):
        make()


def test_an_observer_in_a_private_network_may_be_sent_plain_http():
    policy = declared(observer=varv.CloudEvents("http://logger.default/", private=True, share=0.1))
    assert policy.observer.line == "requests and answers to http://logger.default/, a share of 0.1"
