from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct, Value
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from varv.kernel.errors import InvalidInput
from varv.kernel.protobuf_reading import as_double, fields, number, part, signed, text


@given(st.floats(allow_nan=False), st.text(), st.booleans())
def test_fields_have_the_values_that_were_written(value, word, truth):
    message = Struct(fields={word: Value(number_value=value)}).SerializeToString()
    (outer,) = dict(fields(message)).values()
    entry = dict(fields(part(outer)))
    assert text(entry.get(1, b"")) == word
    assert as_double(number(dict(fields(part(entry[2])))[2])) == value
    assert dict(fields(Value(bool_value=truth).SerializeToString())) == {4: int(truth)}


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_number_keeps_its_sign(value):
    message = Span(status={"code": 0}, flags=7, dropped_links_count=3, trace_state="x")
    message.attributes.add(key="n").value.int_value = value
    found = dict(fields(message.SerializeToString()))
    pair = dict(fields(part(found[9])))
    assert signed(number(dict(fields(part(pair[2])))[3])) == value
    assert (found[16], found[14]) == (7, 3)


@given(st.binary(max_size=60))
def test_bytes_are_read_or_refused_and_nothing_else(message):
    try:
        found = list(fields(message))
    except InvalidInput:
        return
    assert all(isinstance(value, int | bytes) for _, value in found)


@given(st.binary(max_size=40))
def test_what_the_library_reads_is_read_here(message):
    try:
        Span.FromString(message)
    except DecodeError:
        return
    try:
        list(fields(message))
    except InvalidInput:
        # Groups, which the encoding no longer has, and numbers of fields that it does not allow.
        assert any(byte & 7 in (3, 4) for byte in message)


@pytest.mark.parametrize("broken", ["0a05", "0aff", "08", "08" + "80" * 11, "0b", "0f", "09010203"])
def test_a_message_that_ends_within_a_field_is_refused(broken):
    with pytest.raises(InvalidInput, match="protobuf message"):
        list(fields(bytes.fromhex(broken)))


def test_a_field_of_another_kind_is_refused():
    with pytest.raises(InvalidInput):
        text(3)
    with pytest.raises(InvalidInput):
        number(b"3")
    with pytest.raises(InvalidInput):
        text(b"\xff")
