"""Numbers, each once, and where they stand."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from varv.features.bulk.points import ranked


@given(st.lists(st.integers(-1, 40), max_size=30), st.sampled_from([1, 10**9]))
def test_each_number_is_found_at_its_place_close_together_or_not(numbers, scale):
    given_numbers = np.array([n * scale if n > 0 else n for n in numbers], np.int64)
    each, places = ranked(given_numbers)
    assert each.tolist() == sorted({n for n in given_numbers.tolist() if n >= 0})
    assert [-1 if place < 0 else int(each[place]) for place in places] == given_numbers.tolist()
