"""Views on demand become expressions where they are arithmetic, and nothing where they are more."""

from __future__ import annotations

import polars as pl
import pytest

from varv.features.moving.on_demand import translated

FRAME = """
@on_demand_feature_view(sources=[a], schema=[Field(name="x", dtype=Float64)])
def f(inputs: pd.DataFrame) -> pd.DataFrame:
    '''What it is.'''
    df = pd.DataFrame()
    df["x"] = (inputs["a"] - 0.5) * -inputs["b"] / 2
    df["y"] = inputs["a"] + 1
    return df
"""
LISTS = """
def f(inputs):
    return {"x": [(a - 0.5) * -b / 2 for a, b in zip(inputs["a"], inputs["b"])],
            "y": [each + 1 for each in inputs["a"]]}
"""
PLAIN = """
def f(inputs):
    return pd.DataFrame({"x": (inputs["a"] - 0.5) * -inputs["b"] / 2, "y": inputs["a"] + 1})
"""


@pytest.mark.parametrize("text", [FRAME, LISTS, PLAIN])
def test_arithmetic_becomes_an_expression(text):
    found = translated(text, lambda name: f"view__{name}")
    rows = pl.DataFrame({"view__a": [1.0, 2.0], "view__b": [4.0, None]})
    values = rows.select(eval(code, {"pl": pl}).alias(name) for name, code in found.items())
    assert values.to_dict(as_series=False) == {"x": [-1.0, None], "y": [2.0, 3.0]}


@pytest.mark.parametrize(
    "body",
    [
        'return {"x": np.where(inputs["a"] > 1, 0, 1)}',
        'return {"x": inputs["a"].fillna(0)}',
        'return {"x": inputs["a"] > 1}',
        'return {"x": inputs["a"] ** 2}',
        'return {"x": open("/etc/passwd")}',
        'return {"x": [a for a in inputs["a"] if a]}',
        'return {"x": [a + b for a in inputs["a"] for b in inputs["b"]]}',
        'return {"x": [a + b for a, b in zip(inputs["a"])]}',
        'return {"x": "text"}',
        'return {"x": True}',
        "return {**inputs}",
        "return inputs",
        "import os",
        "for one in inputs: pass",
        'inputs["x"] = 1',
        "pass",
    ],
)
def test_what_is_more_is_refused_with_its_reason(body):
    with pytest.raises(ValueError, match=r"it (has|returns|computes)"):
        translated(f"def f(inputs):\n    {body}\n", lambda name: name)


@pytest.mark.parametrize("text", ["", "x = 1", "def f(", "lambda inputs: inputs", "def f(a, b): return {}"])
def test_what_is_no_function_of_inputs_is_refused(text):
    with pytest.raises(ValueError, match=r"its text|more than its inputs"):
        translated(text, lambda name: name)


def test_a_column_that_is_not_there_is_named():
    def column(name):
        raise ValueError(f"{name} is not imported")

    with pytest.raises(ValueError, match="a is not imported"):
        translated(FRAME, column)
