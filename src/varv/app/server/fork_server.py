"""The process that inference workers are forked from: ``python -m varv.app.server.fork_server``.

It imports once what every worker needs, so that workers share those pages and begin at once. Nothing runs in
it. Of what computes models only ONNX Runtime is among that; others are imported by workers that need them.
Its standard input is a socket, over which the owner sends the handles of a new worker and gets a handle of
its process; when that closes it ends. Workers that run do not need it any more.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

from varv.adapters.runtimes.engine import engine
from varv.app.server import worker
from varv.kernel.memory import settle_for_forks

FORK = b"fork"
PID_BYTES = 8
"""Of the number of a process, in an answer."""


def main() -> int:
    """Fork workers until the owner is gone."""
    owner = socket.socket(fileno=os.dup(0))
    # Nobody waits for a worker here: the owner looks at its process by the handle that it is sent.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    engine()
    settle_for_forks()
    while True:
        message, handles, _, _ = socket.recv_fds(owner, len(FORK), 3)
        if not message:
            return 0
        incoming, replies, listener = handles
        number = os.fork()
        if not number:
            owner.close()
            _become(incoming, replies)
            return worker.main(listener)
        process = os.pidfd_open(number)
        socket.send_fds(owner, [number.to_bytes(PID_BYTES)], [process])
        for handle in (*handles, process):
            os.close(handle)


def _become(incoming: int, replies: int) -> None:
    """Be a process like one that was started with two pipes."""
    # An interrupt at the terminal is for the owner, which then lets the workers finish.
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for handle, place in ((incoming, 0), (replies, 1)):
        os.dup2(handle, place)
        os.close(handle)


if __name__ == "__main__":
    sys.exit(main())
