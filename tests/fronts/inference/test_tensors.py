from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ml_dtypes import bfloat16
from tritonclient.utils import serialize_byte_tensor, triton_to_np_dtype

from varv.fronts.inference.tensors import bytes_of, values_of
from varv.kernel.errors import InvalidInput

NUMBERS = ["INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16", "FP32", "FP64"]


@pytest.mark.parametrize("datatype", NUMBERS)
def test_numbers_are_read_as_the_reference_client_writes_them(datatype):
    sent = np.array([0, 1, 100], triton_to_np_dtype(datatype))
    assert values_of("x", datatype, memoryview(sent.tobytes())) == [0, 1, 100]
    assert bytes_of(datatype, [0, 1, 100]) == sent.tobytes()


def test_brain_floats_are_read_as_the_reference_client_writes_them():
    sent = np.array([1.5, -2.0], bfloat16)
    assert values_of("x", "BF16", memoryview(sent.tobytes())) == [1.5, -2.0]


@given(st.lists(st.text(), max_size=5))
def test_texts_are_read_and_written_as_the_reference_client_does(texts):
    sent = serialize_byte_tensor(np.array([text.encode() for text in texts], np.object_))
    data = sent.item() if texts else b""
    assert values_of("x", "BYTES", memoryview(data)) == texts
    assert bytes_of("BYTES", texts) == data


@given(st.lists(st.floats(width=32, allow_nan=False)))
def test_fractions_come_back(numbers):
    assert values_of("x", "FP32", memoryview(bytes_of("FP32", numbers))) == numbers


def test_a_number_that_is_none_is_none():
    data = np.array([np.nan, 1.0]).tobytes()
    assert values_of("x", "FP64", memoryview(data)) == [None, 1.0]
    assert values_of("x", "FP64", memoryview(bytes_of("FP64", [None, 1.0]))) == [None, 1.0]


def test_truth_values_are_a_byte_each():
    assert values_of("x", "BOOL", memoryview(b"\x00\x01")) == [False, True]


@pytest.mark.parametrize(
    ("datatype", "data", "problem"),
    [
        ("FP32", b"\x00" * 7, "no whole number of FP32"),
        ("BOOL", b"\x02", "no truth value"),
        ("BYTES", b"\x05\x00\x00\x00abc", "ends within a text"),
        ("BYTES", b"\x01\x00", "ends within a text"),
        ("BYTES", b"\xff\xff\xff\xff", "ends within a text"),
        ("BYTES", b"\x01\x00\x00\x00\xff", "not UTF-8"),
        ("FLOAT", b"", "has the datatype"),
    ],
)
def test_bytes_that_are_no_such_tensor_are_refused(datatype, data, problem):
    with pytest.raises(InvalidInput, match=problem):
        values_of("x", datatype, memoryview(data))


@given(st.sampled_from([*NUMBERS, "BF16", "BOOL", "BYTES", "?"]), st.binary(max_size=40))
def test_whatever_bytes_come_they_are_values_or_refused(datatype, data):
    try:
        values = values_of("x", datatype, memoryview(data))
    except InvalidInput:
        return
    assert isinstance(values, list)
