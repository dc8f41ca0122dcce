"""Freed memory goes back to the system."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import pytest

from varv.kernel.memory import settle

HELD_AND_RETURNED = """
import psutil
from varv.kernel.memory import return_freed, settle
texts = [b"x" * 50_000 for _ in range(2_000)]
del texts[:-1]
before = psutil.Process().memory_info().rss
return_freed()
print(before - psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks the C library of Linux")
def test_what_was_freed_below_something_in_use_is_given_back():
    # In a process of its own: what another test left there would be given back too.
    done = subprocess.run(
        [sys.executable, "-c", HELD_AND_RETURNED], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 50_000_000


class Ring:
    """Refers to itself, so that only the collector lets it go."""

    def __init__(self):
        self.self = self


def test_what_was_passed_over_is_let_go_once_nobody_uses_it():
    threshold = gc.get_threshold()
    try:
        ring = Ring()
        left = weakref.ref(ring)
        settle()
        del ring
        settle()
        assert left() is None
    finally:
        gc.unfreeze()
        gc.set_threshold(*threshold)


SHARED = """
import gc, os
from varv.kernel.memory import settle, settle_for_forks
settle_for_forks()
shared = gc.get_freeze_count()
child = os.fork()
if not child:
    settle()
    os._exit(0 if gc.get_freeze_count() == shared > 0 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_never_looks_at_what_it_shares():
    done = subprocess.run([sys.executable, "-c", SHARED], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
