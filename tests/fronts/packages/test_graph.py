"""The graph that is written does what varv does around the one that was registered, to the last bit."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import onnx
import onnxruntime
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tests.fronts.packages.made import CODED, NUMBERS, ORIGIN, PLAIN, RUNTIMES, SOURCES, TEXTS, texts

from varv.fronts.packages.graph import output_name, servable
from varv.fronts.packages.model import exported
from varv.kernel.errors import Corrupt, InvalidInput
from varv.registry import Column, Signature

TEXT = st.sampled_from([*ORIGIN.categories, None, "XXX", "\0\0"])
NUMBER = st.none() | st.floats(width=32) | st.sampled_from([math.inf, -math.inf, 0.0])
ROWS = st.lists(
    st.fixed_dictionaries({"origin": TEXT, "wind": NUMBER, "heat": NUMBER}), min_size=1, max_size=5
)
SCHEMA = {"origin": pl.String, "wind": pl.Float64, "heat": pl.Float64}


def raw(package, rows, missing=""):
    """Return a graph's answer to rows as a stranger feeds them: nothing is done to an infinite number."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(package.file("model.onnx"), options)
    if package.signature.form == "matrix":
        fed = {"X": rows.select(package.signature.names).to_numpy().astype(np.float32)}
    else:
        fed = {
            one.name: np.array(
                [missing if value is None else value for value in rows[one.name]]
                if one.kind == "text"
                else rows[one.name].to_list(),
                dtype=object if one.kind == "text" else np.float32,
            ).reshape(-1, 1)
            for one in package.signature.columns
        }
    [found] = session.run(None, fed)
    return found


@settings(max_examples=25)
@given(ROWS)
def test_columns_are_encoded_as_varv_encodes_them(rows):
    frame = pl.DataFrame(rows, schema=SCHEMA)
    expected = RUNTIMES.load(CODED.package).predict(CODED.package.signature.feed(frame))
    np.testing.assert_array_equal(raw(servable(CODED.package), frame, "\0"), expected)


@settings(max_examples=25)
@given(ROWS)
def test_a_matrix_takes_an_infinite_number_for_a_missing_one(rows):
    frame = pl.DataFrame(rows, schema=SCHEMA)
    expected = RUNTIMES.load(PLAIN.package).predict(PLAIN.package.signature.feed(frame))
    for matrix in (True, False):
        np.testing.assert_array_equal(raw(servable(PLAIN.package, matrix=matrix), frame), expected)


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("matrix", [False, True])
def test_probe_rows_are_answered_as_they_were(name, matrix):
    source = SOURCES[name]
    package = servable(source.package, matrix=matrix)
    found = RUNTIMES.load(package).predict(package.probe_rows())
    assert package.difference(found) == 0
    model = onnx.load_model_from_string(package.file("model.onnx"))
    onnx.checker.check_model(model)
    [output] = model.graph.output
    shape = [size.dim_value for size in output.type.tensor_type.shape.dim]
    assert (output.name, output.type.tensor_type.elem_type) == (
        output_name(source.package),
        TensorProto.FLOAT,
    )
    assert shape == [0, source.package.width]
    expected = ("X",) if matrix and name == "plain" else source.package.signature.names
    assert tuple(one.name for one in model.graph.input) == expected


def test_equal_packages_have_equal_graphs():
    assert servable(CODED.package).files == servable(CODED.package).files


def test_a_column_that_is_called_like_the_prediction_keeps_its_name():
    signature = Signature((Column("probability", "number"), NUMBERS[1]))
    package = msgspec.structs.replace(PLAIN.package, signature=signature)
    given = exported(msgspec.structs.replace(PLAIN, package=package))
    assert (given.output, given.inputs[0][0]) == ("probability_answer", "probability")
    assert given.package.difference(RUNTIMES.load(given.package).predict(given.package.probe_rows())) == 0


def test_a_column_that_never_had_a_text_is_missing_whatever_is_sent():
    signature = Signature((msgspec.structs.replace(ORIGIN, categories=()), *NUMBERS))
    package = servable(msgspec.structs.replace(CODED.package, signature=signature, probe=()))
    rows = pl.DataFrame({"origin": ["", "EWR"], "wind": [1.0, 1.0], "heat": [2.0, 2.0]})
    found = raw(package, rows)
    np.testing.assert_array_equal(found[0], found[1])


def older(graph, domain, version):
    model = onnx.load_model_from_string(graph)
    for one in model.opset_import:
        if one.domain == domain:
            one.version = version
    return model


def test_operators_that_cannot_be_added_to_are_refused():
    old = older(PLAIN.package.file("model.onnx"), "", 9).SerializeToString()
    with pytest.raises(InvalidInput, match=r"old ai\.onnx"):
        servable(msgspec.structs.replace(PLAIN.package, files={"model.onnx": old}))
    model = older(CODED.package.file("model.onnx"), "", 17)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    raised = msgspec.structs.replace(CODED.package, files={"model.onnx": model.SerializeToString()})
    built = servable(raised)
    assert built.difference(RUNTIMES.load(built).predict(built.probe_rows())) == 0
    codes = onnx.load_model_from_string(texts()).graph.node[0]
    model.graph.node.append(codes)
    with pytest.raises(InvalidInput, match=r"old ai\.onnx\.ml"):
        servable(msgspec.structs.replace(raised, files={"model.onnx": model.SerializeToString()}))


def test_what_is_no_graph_is_corrupt():
    with pytest.raises(Corrupt, match="does not decode"):
        servable(msgspec.structs.replace(PLAIN.package, files={"model.onnx": b"\xff none"}))


@pytest.mark.parametrize("runtime", ["python", "xgboost", "remote", "transformers"])
def test_what_is_not_in_onnx_is_refused_with_what_serves_it(runtime):
    package = msgspec.structs.replace(TEXTS.package, runtime=runtime, not_onnx="has linear leaves")
    with pytest.raises(InvalidInput, match=f"runs by {runtime}.*linear leaves.*let varv serve it"):
        exported(msgspec.structs.replace(TEXTS, package=package))
