"""An MLmodel is read as texts, lists and mappings within bounds: nothing in it is made or run."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varv.kernel.errors import InvalidInput
from varv.registry.mlmodel import MLmodel, columns_of, libraries_of, read_mlmodel

BOOSTER = b"""\
flavors:
  lightgbm:
    code: null
    data: model.lgb
    lgb_version: 4.7.0
  python_function:
    cloudpickle_version: 3.1.3
    env:
      conda: conda.yaml
    python_version: 3.11.7
mlflow_version: 3.18.0
signature:
  inputs: '[{"type": "double", "name": "distance", "required": true}, {"type": "string",
    "name": "carrier", "required": true}]'
  params: null
"""


def test_flavours_columns_and_versions_are_read_as_mlflow_writes_them():
    found = read_mlmodel(BOOSTER)
    assert list(found.flavours) == ["lightgbm", "python_function"]
    assert found.flavours["lightgbm"] == {"code": None, "data": "model.lgb", "lgb_version": "4.7.0"}
    assert [(one.name, one.kind) for one in columns_of(found.inputs)] == [
        ("distance", "number"),
        ("carrier", "text"),
    ]
    requirements = "mlflow==9\nnumpy==2.4.6\n-e git+https://elsewhere\nscipy @ file:///x\nfoo==1; rm\n"
    assert libraries_of(found, requirements) == {
        "mlflow": "3.18.0",
        "lightgbm": "4.7.0",
        "python": "3.11.7",
        "numpy": "2.4.6",
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "names no flavours"),
        (b"flavors: {}", "names no flavours"),
        (b"flavors: [", "is not YAML"),
        (b"\xff\xfe", "is not YAML"),
        (b"!!python/object/apply:os.system ['true']", "tags and aliases"),
        (b"flavors: {a: {}}\nb: !!int 3", "tags and aliases"),
        (b"a: &x [1]\nb: *x", "tags and aliases"),
        (b"? [1]\n: 2", "has a key that is no text"),
        (b"- " * 40 + b"a", "too deep"),
        (b"a: [" + b"1," * 60_000 + b"1]", "holds too much"),
        (b"a: " + b"x" * 2**20, "is too large"),
    ],
)
def test_what_is_no_plain_description_is_refused(text, problem):
    with pytest.raises(InvalidInput, match=problem):
        read_mlmodel(text)


@given(st.binary(max_size=500))
def test_any_bytes_are_a_description_or_refused(data):
    with contextlib.suppress(InvalidInput):
        assert isinstance(read_mlmodel(data), MLmodel)


@pytest.mark.parametrize("inputs", ["{}", '[{"type": "datetime", "name": "x"}]', "[" * 100_000])
def test_columns_that_cannot_be_fed_are_refused(inputs):
    with pytest.raises(InvalidInput):
        columns_of(inputs)


def test_a_matrix_names_no_columns():
    assert columns_of('[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]') == ()
    assert columns_of(None) == ()
