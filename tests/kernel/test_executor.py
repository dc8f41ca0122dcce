"""What jobs may take, and how their ends are told."""

from __future__ import annotations

import signal

import pytest

from varv.kernel import job_ends
from varv.kernel.errors import InvalidInput
from varv.kernel.executor import Limits
from varv.kernel.job_ends import Output

FIT = ("function", "fit")


@pytest.mark.parametrize("name", Limits.__struct_fields__)
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_limit_that_is_not_positive_is_refused(name, value):
    with pytest.raises(InvalidInput, match=name):
        Limits(**{name: value})


def test_output_says_what_is_missing_between_its_ends():
    assert Output(b"a\nb", 7, b"c\n").text == "a\nb\n[7 bytes are not kept]\nc\n"
    assert Output(b"", 7, b"c").text == "[7 bytes are not kept]\nc"
    assert Output(b"a", 0, b"b").text == "ab"
    assert Output(b"\xff").text == "\\xff"


def test_the_last_lines_are_few_and_short_and_not_blank():
    text = "".join(f"{number} {'x' * 1000}\n\n" for number in range(100))
    lines = Output(text.encode()).last_lines()
    assert [line.split()[0] for line in lines] == [str(number) for number in range(80, 100)]
    assert {len(line) for line in lines} == {300}


ENDS = [
    job_ends.overran(FIT, Output(b"epoch 1\n"), 60.0, ("fit.py:7 in fit",)),
    job_ends.outgrew(FIT, Output(b"epoch 1\n"), 5 << 30, 4 << 30),
    job_ends.multiplied(FIT, Output(b"epoch 1\n"), 512),
    job_ends.was_killed(FIT, Output(b"epoch 1\n"), signal.SIGBUS),
    job_ends.exited(FIT, Output(b"epoch 1\n"), 3),
    job_ends.lost_its_watch(FIT, Output(b"epoch 1\n")),
    job_ends.sent_garbage(FIT, Output(b"epoch 1\n"), "no header"),
    job_ends.returned_too_much(FIT, Output(b"epoch 1\n"), 2000, 1000),
]


@pytest.mark.parametrize("error", ENDS, ids=lambda error: error.problem)
def test_every_end_names_the_function_and_ends_with_what_it_printed(error):
    assert str(error).startswith("function 'fit' ")
    assert error.whole.endswith("\n  the last lines that it printed:\n  epoch 1")
    assert error.hint
    assert not error.retryable


def test_only_a_cancelled_job_can_be_tried_again():
    assert job_ends.was_cancelled(FIT).retryable
