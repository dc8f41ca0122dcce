"""``python -m varv.adapters.script_guardian``: ends a script whose starter is gone, as one that was killed.

It is started before the script, in a session of its own, and imports almost nothing. Its argument is how long
a script that was asked to end has for it, in seconds. On its standard input comes one line, the number of the
script's process and when that started, and then the end, either after a second line, by which the starter has
ended the script itself, or without one.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress

from varv.adapters.jobs import tree
from varv.kernel.clock import wall_seconds

_LOOKS_EVERY_S = 0.1


def main() -> int:
    """Wait for the starter's end, and end what it has left."""
    told = sys.stdin.readline().split()
    if len(told) != 2 or sys.stdin.readline():
        return 0
    end_script(tree.Process(int(told[0]), int(told[1])), float(sys.argv[1]))
    return 0


def end_script(script: tree.Process, grace_s: float) -> None:
    """Ask a script to end, and kill it and what it started if it has not ended within `grace_s` seconds."""
    started = set(tree.descendants(script.pid)) if _lives(script) else set[tree.Process]()
    until, wait = wall_seconds() + grace_s, threading.Event()
    _signal_group(script, signal.SIGTERM)
    while _lives(script) and wall_seconds() < until:
        started.update(tree.descendants(script.pid))
        wait.wait(_LOOKS_EVERY_S)
    if _lives(script):
        started.update(tree.freeze(script.pid))
        _signal_group(script, signal.SIGKILL)
    tree.end(started)


def _lives(script: tree.Process) -> bool:
    if not tree.LINUX:
        with suppress(OSError):
            os.kill(script.pid, 0)
            return True
        return False
    return tree.living(script.pid) == script


def _signal_group(script: tree.Process, number: signal.Signals) -> None:
    with suppress(OSError):
        if _lives(script):
            os.killpg(script.pid, number)


if __name__ == "__main__":
    raise SystemExit(main())
