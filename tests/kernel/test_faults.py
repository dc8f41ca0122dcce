"""Crash points do nothing until armed, and then die at the passing they were armed for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from varv.kernel.errors import InvalidInput
from varv.kernel.faults import KILLED, Crash, Faults


def test_unarmed_points_are_passed():
    Faults().reach("ledger.before_commit")
    Faults.parse("").reach("ledger.before_commit")


def test_an_armed_point_is_passed_until_its_turn_and_after_it():
    faults = Faults.parse("a:2")
    faults.reach("b")
    faults.reach("a")
    with pytest.raises(Crash):
        faults.reach("a")
    faults.reach("a")


@pytest.mark.parametrize("text", ["a", "a:", "a:x", ":1", "a:0", "a:-1", "a:1:boom", "a:1:kill:x"])
def test_a_setting_that_is_not_understood_is_refused(text):
    with pytest.raises(InvalidInput):
        Faults.parse(text)


def test_killing_ends_the_process_without_clean_up():
    program = (
        "from varv.kernel.faults import Faults\ntry: Faults('a', how='kill').reach('a')\nfinally: print('x')"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (ended.returncode, ended.stdout) == (KILLED, b"")
