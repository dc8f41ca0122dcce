from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from varv.fronts.mlflow.nesting import DEEPEST, require_shallow
from varv.kernel.errors import InvalidInput

NAMES = st.text("[{", max_size=2)
VALUES = st.recursive(
    st.one_of(st.none(), st.text(alphabet='[]{}"\\a', max_size=8), st.integers()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=3)),
)


def depth_of(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth_of, inner), default=0)


@given(value=VALUES, wrapped=st.integers(0, 40))
@example(value=[{}], wrapped=31)
def test_a_body_is_refused_exactly_if_it_is_too_deep(value, wrapped):
    for _ in range(wrapped):
        value = [value] if wrapped % 2 else {"a": value, "b": "]"}
    try:
        require_shallow(json.dumps(value).encode(), "x")
        refused = False
    except InvalidInput:
        refused = True
    assert refused == (depth_of(value) > DEEPEST)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 5000, b"]" * 10 + b"[" * 50])
def test_what_is_no_json_is_refused_too(body):
    with pytest.raises(InvalidInput, match="nested too deep"):
        require_shallow(body, "x")
