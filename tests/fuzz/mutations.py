"""Bodies that were sound before something was done to them: to their bytes, or to what their JSON says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

ODD = [
    None,
    True,
    -1,
    0,
    2**31,
    2**63,
    2**64,
    10**30,
    -0.0,
    0.1,
    5e-324,
    1.7976931348623157e308,
    "",
    "\x00",
    "\ud83d\ude00",
    "2026-02-01T05:00:00Z",
    "a" * 5000,
    [],
    {},
    [[]],
    [None],
    [[[[1]]]],
    {"a": 1},
    [1, "a"],
    ["a"] * 300,
]
"""Values that somebody has overlooked before."""
RAW = [
    b"1e999",
    b"-1e999",
    b"NaN",
    b"Infinity",
    b"[" * 5000,
    b'{"a":' * 500,
    b'"\\ud800"',
    b"\xff",
    b"1" * 400,
]
"""Texts in the place of a value that JSON does not have, or that nobody should read to its end."""
_MARK = "\x01mark\x01"
_CHANGES = st.tuples(
    st.sampled_from(("replace", "insert", "delete", "repeat", "cut")),
    st.integers(0, 1 << 20),
    st.integers(1, 40),
    st.integers(0, 255),
)


def mutated_bytes(bodies: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Return bodies of which some bytes are others, or gone, or there again."""
    changes = st.lists(_CHANGES, min_size=1, max_size=4)
    return st.builds(_changed, st.sampled_from(list(bodies)), changes)


def mutated_json(values: Sequence[Any]) -> st.SearchStrategy[bytes]:
    """Return JSON texts of which one or two values are others, or gone, or stand under another name."""
    replacing = st.tuples(
        st.integers(0, 1 << 16),
        # By their numbers: some are too long to be shown, and all are copied before they are changed in turn.
        st.integers(0, len(ODD) + len(RAW) - 1) | st.sampled_from(("drop", "rename", "double")),
    )
    return st.builds(_replaced, st.sampled_from(list(values)), st.lists(replacing, min_size=1, max_size=2))


def _changed(body: bytes, changes: Sequence[tuple[str, int, int, int]]) -> bytes:
    data = bytearray(body)
    for kind, place, size, value in changes:
        start = place % (len(data) + 1)
        if kind == "replace" and start < len(data):
            data[start] = value
        elif kind == "insert":
            data[start:start] = bytes([value]) * size
        elif kind == "delete":
            del data[start : start + size]
        elif kind == "repeat":
            data[start:start] = data[start : start + size]
        elif kind == "cut":
            del data[start:]
    return bytes(data)


def _replaced(value: Any, replacing: Sequence[tuple[int, int | str]]) -> bytes:
    made = json.loads(json.dumps(value))
    for place, by in replacing:
        holders = _places(made)
        if not holders:
            break
        holder, key = holders[place % len(holders)]
        if by == "drop":
            del holder[key]
        elif by == "rename" and isinstance(holder, dict):
            holder[f"{key}x"] = holder.pop(key)
        elif by == "double" and isinstance(holder, list):
            holder.insert(key, holder[key])
        elif isinstance(by, int):
            holder[key] = deepcopy(ODD[by]) if by < len(ODD) else f"{_MARK}{by - len(ODD)}"
    text = json.dumps(made).encode()
    for number, raw in enumerate(RAW):
        text = text.replace(json.dumps(f"{_MARK}{number}").encode(), raw)
    return text


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return where values stand in a value: what holds each, and under which key or number."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for key, one in inner:
        found.append((value, key))
        found += _places(one)
    return found
