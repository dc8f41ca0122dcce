"""Hashes of numbers and texts."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from varv.stats.hashing import hashed_numbers, hashed_texts


@given(st.lists(st.text(max_size=30), max_size=40))
def test_a_text_has_one_hash_whatever_it_stands_beside(texts):
    together = hashed_texts(texts).tolist()
    assert together == [int(hashed_texts([text])[0]) for text in texts]
    assert len(set(together)) == len(set(texts))


def test_hashes_do_not_change_from_version_to_version():
    assert hashed_numbers(np.array([1, 2])).tolist() == [10451216379200822465, 10905525725756348110]
    assert [f"{one:016x}" for one in hashed_texts(["late", "a longer text"]).tolist()] == [
        "5e20d671f0aeee36",
        "5a45c9b84a8504af",
    ]


def test_hashes_are_spread_evenly():
    found = hashed_texts([f"flight {number}" for number in range(20_000)])
    counts = np.bincount((found >> np.uint64(58)).astype(np.int64), minlength=64)
    assert counts.min() > 200
    assert counts.max() < 430
