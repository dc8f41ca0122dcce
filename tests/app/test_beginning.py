import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from varv.app.server.beginning import Forks, Starts, beginner_for

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="no handles of processes")
ENDS_WITHIN_S = 30


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made.fileno()


@pytest.fixture
def forks():
    made = Forks()
    yield made
    made.close()


def fork_server_of(process):
    return next(one for one in psutil.Process(process).children() if "fork_server" in " ".join(one.cmdline()))


def has_ended(begun):
    """Close a worker's orders, and return whether it ended without a word."""
    begun.orders.close()
    with begun.replies:
        is_silent = begun.replies.read() == b""
    begun.process.wait(ENDS_WITHIN_S)
    return is_silent


def test_only_several_workers_are_forked():
    assert isinstance(beginner_for(1), Starts)
    several = beginner_for(2)
    assert isinstance(several, Forks)
    several.close()


def test_none_is_forked_where_a_sandbox_gives_no_handles(monkeypatch):
    def refused(_):
        raise PermissionError

    monkeypatch.setattr(os, "pidfd_open", refused)
    assert isinstance(beginner_for(2), Starts)


def test_a_forked_worker_ends_when_its_orders_do(forks, listener):
    begun = forks.begin(listener)
    assert psutil.Process(begun.process.pid).ppid() == fork_server_of(os.getpid()).pid
    with pytest.raises(subprocess.TimeoutExpired):
        begun.process.wait(0.05)
    assert has_ended(begun)


def test_forked_workers_hold_no_pipe_of_each_other(forks, listener):
    first, second = forks.begin(listener), forks.begin(listener)
    first.process.kill()
    # If the second held a pipe of the first, this would never end.
    assert has_ended(first)
    first.process.kill()
    assert psutil.pid_exists(second.process.pid)
    assert has_ended(second)


def test_a_process_that_forks_is_started_again_when_it_has_died(forks, listener):
    dead = fork_server_of(os.getpid())
    dead.kill()
    dead.wait(ENDS_WITHIN_S)
    begun = forks.begin(listener)
    assert psutil.Process(begun.process.pid).ppid() != dead.pid
    assert has_ended(begun)


OWNER = """
import socket, time
from varv.app.server.beginning import Forks
forks = Forks()
with socket.create_server(("127.0.0.1", 0)) as listener:
    print(forks.begin(listener.fileno()).process.pid, forks._server.pid, flush=True)
time.sleep(60)
"""


def test_nothing_is_left_of_an_owner_that_was_killed():
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True) as owner:
        left = [psutil.Process(int(number)) for number in owner.stdout.readline().split()]
        owner.send_signal(signal.SIGKILL)
        gone, alive = psutil.wait_procs(left, ENDS_WITHIN_S)
    assert (len(gone), alive) == (2, [])
