"""Keys of entities: one for equal values, different ones for all others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varv.features.online.entity_keys import entity_key
from varv.kernel.errors import InvalidInput

values = st.one_of(
    st.text(max_size=5),
    st.integers(-(2**70), 2**70),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
)
entities = st.lists(values, max_size=3)


@given(one=entities, other=entities)
def test_two_entities_share_a_key_only_if_their_values_are_equal(one, other):
    assert (entity_key(one) == entity_key(other)) == (one == other)


@given(texts=st.lists(st.text(max_size=4), min_size=2, max_size=4))
def test_where_one_text_ends_and_the_next_begins_is_part_of_the_key(texts):
    moved = ["".join(texts), *[""] * (len(texts) - 1)]
    assert (entity_key(texts) == entity_key(moved)) == (texts == moved)


@pytest.mark.parametrize("value", [None, [1], b"x"])
def test_what_names_no_entity_is_refused(value):
    with pytest.raises(InvalidInput):
        entity_key([value])
