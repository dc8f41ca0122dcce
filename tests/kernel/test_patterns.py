from __future__ import annotations

import sqlite3

from hypothesis import given
from hypothesis import strategies as st

from varv.kernel.patterns import matches

LETTERS = st.text("abA_%.\n", max_size=8)


@given(LETTERS, LETTERS)
def test_a_pattern_matches_what_it_matches_in_sqlite(text, pattern):
    db = sqlite3.connect(":memory:")
    db.execute("PRAGMA case_sensitive_like = ON")
    assert matches(text, pattern) == bool(db.execute("SELECT ? LIKE ?", (text, pattern)).fetchone()[0])
    db.close()


def test_many_signs_for_any_letters_take_no_powers_of_time():
    # SQLite's own would take hours.
    assert not matches("a" * 20_000, "%a" * 500 + "%b")
    assert matches("a" * 20_000 + "b", "%a" * 500 + "%b")
