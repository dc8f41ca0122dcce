"""Packed rows come back as they were, and by no other layout."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varv.features.online.packing import Layout
from varv.features.run import Rows
from varv.kernel.errors import Corrupt

PLAIN = Layout.of({"size": np.float32, "total": np.int64, "hash": np.uint64})
TEXTS = Layout.of({"color": object, "size": np.float32, "name": object})
row = st.tuples(
    st.integers(0, 2), st.integers(-(2**60), 2**60), st.integers(0, 2**64 - 1), st.integers(-99, 99)
)
text = st.one_of(st.none(), st.text(max_size=3))


def rows_of(layout, drawn, texts):
    codes, times, ties, numbers = (list(column) for column in zip(*drawn, strict=True))
    columns = {
        name: np.array(texts[: len(codes)], object) if kind == "text" else np.abs(numbers).astype(kind)
        for name, kind in layout.columns
    }
    return Rows(np.array(codes), np.array(times), np.array(ties, np.uint64), columns).in_order()


@pytest.mark.parametrize("layout", [PLAIN, TEXTS])
@given(drawn=st.lists(row, min_size=1, max_size=8), texts=st.lists(text, min_size=8, max_size=8))
def test_the_rows_of_each_entity_come_back(layout, drawn, texts):
    rows = rows_of(layout, drawn, texts)
    starts = np.flatnonzero(np.diff(rows.codes, prepend=-1)).tolist()
    values = layout.packed(rows, starts, [*starts[1:], len(rows.codes)])
    again = layout.unpacked_many(values, rows.codes[starts].tolist())
    for name in ("codes", "times", "ties"):
        assert getattr(again, name).tolist() == getattr(rows, name).tolist()
    assert {name: list(column) for name, column in again.columns.items()} == {
        name: list(column) for name, column in rows.columns.items()
    }
    assert sum(len(layout.unpacked(value).times) for value in values) == len(rows.times)


def test_a_value_of_another_layout_is_refused():
    rows = rows_of(PLAIN, [(0, 1, 2, 3)], [])
    (value,) = PLAIN.packed(rows, [0], [1])
    for data in (value, value[:-1], b""):
        layout = TEXTS if data == value else PLAIN
        with pytest.raises(Corrupt, match="backfill"):
            layout.unpacked(data)
