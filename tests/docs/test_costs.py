"""The list of what `make fast` leaves out."""

from __future__ import annotations

from pathlib import Path

from tests.costs import costliest, left_out

ROOT = Path(__file__).parents[2]


def test_every_test_that_is_left_out_exists():
    for name in left_out():
        file, within, *_ = name.split("::")
        assert within.rsplit(".", 1)[-1] in (ROOT / file).read_text("utf-8"), name


def test_the_fewest_are_left_out_without_which_the_others_fit():
    costs = {"one": 5.0, "two": 3.0, "three": 1.0, "four": 1.0}
    assert costliest(costs, 10.0) == []
    assert costliest(costs, 9.0) == ["one"]
    assert costliest(costs, 2.0) == ["one", "two"]
