from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from varv.kernel.clock import Instant
from varv.serving.known_times import Counted, KnownTimes

BATCHES = st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=8), max_size=20)


@given(BATCHES, st.integers(0, 60), st.integers(1, 20))
def test_outcomes_by_an_instant_are_counted_or_those_of_later_ones_alone(batches, instant, most):
    times = KnownTimes()
    for batch in batches:
        times.add(np.sort(np.array(batch)), most)
    n = times.n_by(Instant(instant))
    assert n in (None, sum(one <= instant for batch in batches for one in batch))
    assert n is not None or instant < times.counted.before - 1


def test_outcomes_go_on_from_what_was_counted_before():
    times = KnownTimes(Counted(7, Instant(10)))
    times.add(np.array([10, 12]), 5)
    assert [times.n_by(Instant(at)) for at in (8, 9, 10, 12)] == [None, 7, 8, 9]
