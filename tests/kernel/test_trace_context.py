"""What others say of their traces is understood as the W3C has it, and what is malformed is ignored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varv.kernel.trace_context import TraceContext, context_of, is_unsampled, state_of

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ids = st.binary(min_size=16, max_size=16).filter(any), st.binary(min_size=8, max_size=8).filter(any)


@given(*ids, st.booleans())
def test_what_is_written_is_read(trace_id, span_id, sampled):
    context = TraceContext(trace_id, span_id, sampled)
    assert context_of(context.header().encode()) == context
    assert is_unsampled(context.header().encode()) is not sampled


@given(
    st.binary(max_size=80)
    | st.from_regex(rb"[0-9a-f]{2}-[0-9a-f]{30,34}-[0-9a-f]{14,18}-.{0,3}", fullmatch=True)
)
def test_whatever_is_sent_is_understood_as_it_stands_or_ignored(header):
    found = context_of(header)
    if found is not None:
        version, trace_id, span_id, flags = header.split(b"-")[:4]
        assert (trace_id.decode(), span_id.decode()) == (found.trace_id.hex(), found.span_id.hex())
        assert version != b"ff"
        assert version != b"00" or len(header) == 55
        assert found.sampled is bool(int(flags, 16) & 1)
    if is_unsampled(header):
        assert found is not None
        assert not found.sampled


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        # Only the lowest bit says it; the next ones are for others.
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"00-{TRACE}-{SPAN}-02", False),
        # A later version may say more.
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", True),
        (f"cc-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"cc-{TRACE}-{SPAN}-01.more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE}-{SPAN}-1", None),
        (f"00-{TRACE}-{SPAN}-.1", None),
        (f" 00-{TRACE}-{SPAN}-01", None),
        ("", None),
    ],
)
def test_versions_flags_and_lengths_are_told_apart(header, sampled):
    found = context_of(header.encode())
    assert (None if found is None else found.sampled) is sampled


@pytest.mark.parametrize(
    ("state", "handed_on"),
    [
        ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        ("fw529a3039@dt=FfAAA , 1a-_*/@a=2", "fw529a3039@dt=FfAAA,1a-_*/@a=2"),
        ("", ""),
        ("a=1,a=2", ""),
        ("A=1", ""),
        ("a", ""),
        ("a=", ""),
        ("a=b=c", ""),
        ("a=\u00e9", ""),
        (",".join(f"k{n}=1" for n in range(33)), ""),
        ("a=" + "1" * 257, ""),
        (f"{'a' * 256}=1", f"{'a' * 256}=1"),
        (f"{'a' * 257}=1", ""),
    ],
)
def test_a_state_is_handed_on_whole_or_not_at_all(state, handed_on):
    assert state_of(state.encode()) == handed_on
    # It is the trace's that it comes with, whatever it says.
    found = context_of(f"00-{TRACE}-{SPAN}-01".encode(), state.encode())
    assert found is not None
    assert found.state == handed_on
