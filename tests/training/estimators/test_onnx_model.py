"""A model that is ONNX already is served as it is, once its inputs are found to be the declared features."""

from __future__ import annotations

import numpy as np
import onnx
import polars as pl
import pytest
import skl2onnx
from onnx import TensorProto, helper
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tests.training.samples import built, delay, flights, late, opened, served

from varv.kernel.errors import Corrupt, InvalidInput
from varv.tasks import task_of

NAMES = ("distance", "sched_hour", "weekday")
NUMBER = task_of("regression")


@pytest.fixture(scope="module")
def train(january):
    return flights(january, late(january), NAMES)


@pytest.mark.parametrize("options", [{}, {"zipmap": False}], ids=["maps", "tensors"])
@pytest.mark.parametrize("kind", [FloatTensorType, DoubleTensorType])
def test_a_model_of_a_matrix_answers_as_what_it_was_made_from(january, train, options, kind):
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(train.X, train.y)
    made = skl2onnx.to_onnx(model, initial_types=[("input", kind([None, 3]))], options=options)
    package = opened(made, train)
    assert (package.runtime, package.signature, package.estimator) == (
        "onnx",
        train.signature,
        "onnx.ModelProto",
    )
    np.testing.assert_allclose(served(package, january)[:, 0], model.predict_proba(train.X)[:, 1], atol=1e-5)
    assert built(made.SerializeToString(), train).endswith(package.file("model.onnx"))


def test_a_model_of_columns_is_fed_those_that_it_names_with_its_types(january):
    train = flights(january, delay(january), ("distance", "origin", "weekday", "dest"))
    frame = train.frame.select(pl.col("weekday").cast(pl.Int64), "origin", "distance")
    parts = make_column_transformer(
        (OneHotEncoder(), ["origin"]), (OneHotEncoder(), ["weekday"]), remainder="passthrough"
    )
    model = make_pipeline(parts, Ridge()).fit(frame, train.y)
    inputs = [
        ("weekday", Int64TensorType([None, 1])),
        ("origin", StringTensorType([None, 1])),
        ("distance", FloatTensorType([None, 1])),
    ]
    package = opened(skl2onnx.to_onnx(model, initial_types=inputs), train, task=NUMBER)
    assert package.signature.names == ("weekday", "origin", "distance")
    assert [column.dtype for column in package.signature.columns] == ["int64", "float32", "float32"]
    np.testing.assert_allclose(served(package, january)[:, 0], model.predict(frame), rtol=1e-4, atol=1e-4)


def constant(inputs, *, value=0.5, tail=(1,), external=False):
    """Return a model that says one number of every row of its first input."""
    shape = helper.make_node("Shape", [inputs[0].name], ["all"])
    n = helper.make_node("Slice", ["all", "from", "to"], ["n"])
    ends = [helper.make_tensor(name, TensorProto.INT64, [1], [at]) for name, at in (("from", 0), ("to", 1))]
    rest = helper.make_tensor("tail", TensorProto.INT64, [len(tail)], tail)
    if external:
        rest.data_location = TensorProto.EXTERNAL
        rest.external_data.add(key="location", value="../../etc/passwd")
    size = helper.make_node("Concat", ["n", "tail"], ["size"], axis=0)
    number = helper.make_tensor("value", TensorProto.FLOAT, [1], [value])
    said = helper.make_node("ConstantOfShape", ["size"], ["said"], value=number)
    output = helper.make_tensor_value_info("said", TensorProto.FLOAT, [None, *tail])
    graph = helper.make_graph([shape, n, size, said], "g", inputs, [output], initializer=[*ends, rest])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def tensor(name, kind=TensorProto.FLOAT, shape=(None, 3)):
    return helper.make_tensor_value_info(name, kind, list(shape))


COLUMN = (None, 1)


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (b"", "'onnx' is no ONNX model"),
        (b"\x80\x04pickle", "'onnx' is no ONNX model .*return an onnx.ModelProto, or its bytes"),
        (
            constant([tensor("X", shape=(None, 4))]),
            "'X' has 4 columns, where 3 features are declared",
        ),
        (constant([tensor("X", TensorProto.INT64)]), "'X' is int64, where a matrix is float32"),
        (constant([tensor("X", TensorProto.FLOAT16)]), "'X' of the ONNX model has a type that is not fed"),
        (constant([tensor("X", shape=(1, 3))]), "'X' takes 1 rows at a time, and no other number"),
        (
            constant([tensor("X")], external=True),
            "keeps its weights in other files; save it",
        ),
        (
            constant([tensor("distance", shape=COLUMN), tensor("tide", shape=COLUMN)]),
            "column 'tide' is no input that is declared; the columns are distance, sched_hour, weekday",
        ),
        (
            constant([tensor("distance", TensorProto.STRING, COLUMN)]),
            "'distance' is text to the ONNX model, and is declared otherwise",
        ),
        (constant([tensor("X")], value=1.5), r"predicts \[1.5\] of a row, which is no prediction"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_and_what_differs_is_named(train, model, problem):
    with pytest.raises(InvalidInput, match=problem):
        built(model, train)


def test_a_model_that_answers_in_another_form_than_the_task_is_refused(january):
    train = flights(january.head(100), late(january.head(100)), NAMES)
    three = task_of_three()
    with pytest.raises(Corrupt, match="does not answer in the form of its task"):
        opened(constant([tensor("X")]), train, task=three)


def task_of_three():
    from varv.tasks import TaskSpec

    return task_of(TaskSpec("multiclass", {"classes": [0, 1, 2]}))


def test_a_model_that_ends_in_no_tensor_is_refused(train):
    model = constant([tensor("X")])
    ends = helper.make_node("SequenceConstruct", ["said"], ["all"])
    model.graph.node.append(ends)
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    model.graph.output[0].CopyFrom(helper.make_value_info("all", kind))
    with pytest.raises(InvalidInput, match="'ModelProto' ends in something else than a tensor; export it"):
        built(model, train)


def test_the_model_that_was_returned_is_left_as_it_was(train):
    model = constant([tensor("X", TensorProto.DOUBLE)])
    before = model.SerializeToString()
    opened(model, train)
    assert model.SerializeToString() == before
    assert onnx.checker.check_model(model) is None
