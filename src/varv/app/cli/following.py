"""Following what a training prints until it ends, for `varv logs --follow`."""

from __future__ import annotations

from typing import TextIO

from varv.loop.printed import Printed
from varv.loop.verbs import LogsRequest, Loops, logs

EVERY_S = 0.5


def follow(loops: Loops, found: Printed, to: TextIO) -> None:
    """Write what a training printed, and what it goes on to print, until it has ended."""
    shown = ""
    while True:
        to.write(added(shown, found.text))
        to.flush()
        if not found.running:
            return
        shown = found.text
        # Woken by the training's end; what is printed meanwhile is in no entry.
        loops.ledger.wait(loops.ledger.head().version, EVERY_S)
        found = logs(loops, LogsRequest(model=found.model, version=found.version))


def added(before: str, now: str) -> str:
    """Return what has come since `before`. Where the middle was dropped, that is what follows the last of
    what was shown, as far as it can still be found.

    Examples
    --------
    >>> added("one", "one two")
    ' two'
    >>> added("one two three", "one [5 bytes are not kept] three four")
    ' four'
    """
    if now.startswith(before):
        return now[len(before) :]
    for n_last in (200, 50, 5):
        _, last, rest = now.rpartition(before[-n_last:])
        if last:
            return rest
    return now
