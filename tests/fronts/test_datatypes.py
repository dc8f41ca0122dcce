from __future__ import annotations

import pytest

from varv.fronts.datatypes import content_of, datatype_of, typed_values
from varv.kernel.errors import InvalidInput
from varv.serving.answering import ExpectedColumn


def column(dtype: str) -> ExpectedColumn:
    return ExpectedColumn("x", dtype, True, True)


def test_a_time_is_announced_as_a_text_that_holds_a_time():
    dtype = "Datetime(time_unit='us', time_zone='UTC')"
    assert datatype_of(dtype) == "BYTES"
    assert content_of(dtype)["content_type"] == "datetime"
    assert content_of("String") == {}
    with pytest.raises(InvalidInput, match="times in ISO 8601"):
        typed_values("x", "INT64", [1], column(dtype))


@pytest.mark.parametrize("data", [[True, False], [1, 0], [1.0, 0.0]])
def test_truth_values_may_come_as_the_reference_client_sends_them(data):
    assert typed_values("x", "BOOL", [*data, None], column("Boolean")) == [True, False, None]


def test_another_number_is_no_truth_value():
    with pytest.raises(InvalidInput, match="not BOOL"):
        typed_values("x", "BOOL", [2], column("Boolean"))


def test_whole_numbers_may_come_as_fractions_of_nothing():
    assert typed_values("x", "FP64", [18.0, None], column("Int64")) == [18.0, None]
    with pytest.raises(InvalidInput, match="not INT64"):
        typed_values("x", "INT64", [18.5], column("Int64"))
