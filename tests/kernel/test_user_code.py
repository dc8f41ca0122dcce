"""What an author's function raises becomes an error with the author's own lines."""

from __future__ import annotations

import pytest

from varv.kernel.errors import FailedPrecondition, UserCodeFailed
from varv.kernel.user_code import UserCode, own_lines


def test_user_code_passes_our_own_errors_and_interrupts_through():
    with pytest.raises(FailedPrecondition), UserCode("step", "train"):
        raise FailedPrecondition("model", "m", "is not ready")
    with pytest.raises(KeyboardInterrupt), UserCode("step", "train"):
        raise KeyboardInterrupt


def test_a_message_is_kept_whole_up_to_a_bound():
    with pytest.raises(UserCodeFailed) as caught, UserCode("step", "train"):
        raise ValueError("x" * 10_000 + " the end")
    assert "x the end" in str(caught.value)
    with pytest.raises(UserCodeFailed) as caught, UserCode("step", "train"):
        raise ValueError("x" * 100_000)
    assert len(caught.value.whole) < 20_000


def breaks(n: int) -> None:
    import json

    if n:
        breaks(n - 1)
    json.loads("{")


def test_the_whole_message_has_the_authors_lines_and_where_it_was_raised():
    with pytest.raises(UserCodeFailed) as caught, UserCode("function", "fit"):
        breaks(1)
    first, *lines = caught.value.whole.splitlines()
    assert "function 'fit' raised JSONDecodeError" in first
    assert [line.partition(" in ")[2] for line in lines[1:3]] == [
        "breaks: breaks(n - 1)",
        'breaks: json.loads("{")',
    ]
    assert "decoder.py" in lines[3]
    assert "/" not in "".join(line.partition(" in ")[0] for line in lines)


def test_an_endless_recursion_shows_its_last_lines():
    with pytest.raises(UserCodeFailed) as caught, UserCode("function", "fit"):
        breaks(10**9)
    assert len(caught.value.trace) == 20


def test_an_exit_of_the_author_is_a_failure_of_the_author():
    with pytest.raises(UserCodeFailed, match="raised SystemExit: 3"), UserCode("function", "fit"):
        raise SystemExit(3)


class Shy(Exception):
    def __str__(self) -> str:
        raise ValueError("no message for you")


def test_an_error_whose_message_raises_is_named_all_the_same():
    with pytest.raises(UserCodeFailed, match="raised Shy: "), UserCode("function", "fit"):
        raise Shy


def test_places_elsewhere_are_shown_without_what_is_not_the_authors():
    library = "/usr/lib/python3.11/json/decoder.py"
    places = [("/home/ana/fit.py", 7, "fit"), (library, 340, "decode")]
    assert own_lines(places) == ("fit.py:7 in fit",)
    assert own_lines([(library, 340, "decode")]) == ("decoder.py:340 in decode",)
