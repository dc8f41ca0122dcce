"""Processes as the kernel shows them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from varv.adapters.jobs import tree

pytestmark = pytest.mark.skipif(not tree.LINUX, reason="reads /proc")

_PARENT = """
import subprocess, sys, time
children = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) for _ in range(2)]
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def family():
    """A process with two children."""
    parent = subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, env={"MARK": "of it"})
    assert parent.stdout.readline() == b"ready\n"
    children = psutil.Process(parent.pid).children()
    yield parent
    for child in children:
        if child.is_running():
            child.kill()
    parent.kill()
    parent.wait()
    parent.stdout.close()


@pytest.mark.parametrize("lists_children", [True, False])
def test_descendants_are_found_with_and_without_lists_of_children(family, monkeypatch, lists_children):
    monkeypatch.setattr(tree, "_LISTS_CHILDREN", lists_children)
    found = tree.descendants(os.getpid())
    pids = [process.pid for process in found]
    assert family.pid in pids
    children = [child.pid for child in psutil.Process(family.pid).children()]
    assert len(children) == 2
    assert all(pids.index(child) > pids.index(family.pid) for child in children)


def test_a_process_that_ended_is_not_living_even_if_nobody_waited(family):
    process = tree.living(family.pid)
    assert process is not None
    tree.end([process])
    until = time.monotonic() + 30
    while tree.living(family.pid):
        assert time.monotonic() < until
        time.sleep(0.01)
    assert psutil.Process(family.pid).status() == psutil.STATUS_ZOMBIE
    tree.end([process])
    assert family.wait() == -signal.SIGKILL
    assert tree.living(family.pid) is None


def test_a_number_that_another_process_has_now_is_left_alone(family):
    now = tree.living(family.pid)
    tree.end([now._replace(started=now.started - 1)])
    time.sleep(0.05)
    assert family.poll() is None


def test_who_bears_a_mark_is_found_with_its_children(family):
    children = [child.pid for child in psutil.Process(family.pid).children()]
    assert {process.pid for process in tree.marked("MARK=of it")} == {family.pid, *children}
    assert tree.marked("MARK=of") == []


def test_a_frozen_family_is_stopped_and_can_be_ended(family):
    frozen = tree.freeze(family.pid)
    assert {process.pid for process in frozen} == {
        child.pid for child in psutil.Process(family.pid).children()
    }
    until = time.monotonic() + 30
    while not all(tree.is_stopped(process.pid) for process in frozen):
        assert time.monotonic() < until
        time.sleep(0.01)
    assert not tree.is_stopped(family.pid)
    tree.end(frozen)


def test_memory_is_what_the_kernel_says():
    held = bytearray(os.urandom(1 << 20)) * 64
    own = psutil.Process().memory_full_info()
    assert 64 << 20 < tree.private_memory(os.getpid()) <= own.rss
    assert tree.proportional_memory(os.getpid()) <= tree.private_memory(os.getpid()) + len(held)
    assert tree.private_memory(2**22 + 1) == tree.proportional_memory(2**22 + 1) == 0


def test_threads_of_the_user_are_counted():
    mine = [process for process in psutil.process_iter() if process.uids().real == os.getuid()]
    assert tree.n_threads_of_user() >= len(mine) // 2
