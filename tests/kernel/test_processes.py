from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from varv.kernel.processes import has_ended, shown, this_process

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="Linux tells it")
TELL = """
import sys
from varv.kernel.processes import this_process
print(this_process(), flush=True)
sys.stdin.read()
"""


def test_a_process_lives_until_it_ends_however_that_is():
    child = subprocess.Popen(
        [sys.executable, "-c", TELL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    name = child.stdout.readline().strip()
    assert not has_ended(name)
    child.kill()
    child.communicate()
    assert has_ended(name)
    assert shown(name).startswith(f"process {child.pid} on ")


def test_another_process_with_the_same_number_is_another():
    *place, number, began = this_process().split("/")
    assert has_ended("/".join([*place, number, str(int(began) + 1)]))


def test_a_start_of_the_machine_has_ended_all_before():
    host, _, *rest = this_process().split("/")
    assert has_ended("/".join([host, "another", *rest]))


@pytest.mark.parametrize("name", ["", "x", "a/b/c/d/e", "elsewhere/b/c/1/2", "a/b/c/1"])
def test_nothing_is_claimed_of_what_is_not_known(name):
    assert not has_ended(name)
