"""Trainings that fail: what is told of them, and when the loop stops trying.

A training that failed is tried again with the next trigger, since other rows may cure it. One that failed
alike three times in a row will not be cured by a fourth: the loop then waits until the declaration changes or
a person asks for a training. Too few rows are no failure; more will come.
"""

from __future__ import annotations

import re

from msgspec.structs import replace

from varv.kernel.codec import Digest, digest_of
from varv.kernel.errors import PRINTED, FailedPrecondition
from varv.kernel.sagas import CommandFailed
from varv.loop.model import LoopState

MOST_FAILURES = 3
"""So many equal failures in a row suspend training."""

WAITING = "waiting for a changed declaration"
"""How that state is called everywhere."""

LONGEST_HEADLINE = 400
"""Characters."""

_NUMBERS = re.compile(r"0x[0-9a-f]+|\d+(\.\d+)?( ([KMG]iB|bytes))?")
_OVERRAN = "did not return within"


def headline(event: CommandFailed) -> str:
    """Return what failed and why, on one line."""
    first = event.reason.splitlines()[0] if event.reason else event.code
    text = f"{event.act} failed: {first}"
    return text if len(text) <= LONGEST_HEADLINE else text[: LONGEST_HEADLINE - 1] + "…"


def identity(event: CommandFailed) -> Digest:
    """Return what identifies a failure: its message without numbers, which differ with the rows, and without
    what was printed. Of a fit that was ended where it happened to be, the place says nothing either.

    Examples
    --------
    >>> from varv.kernel.sagas import CommandFailed
    >>> one, other = (CommandFailed("loop.train_candidate", "x", "e", f"shape ({n}, 3)", 1) for n in (7, 8))
    >>> identity(one) == identity(other)
    True
    """
    reason = event.reason.partition(f"\n  {PRINTED}")[0]
    first, _, _ = reason.partition("\n")
    told = first if _OVERRAN in first else reason
    return digest_of([event.command, event.code, _NUMBERS.sub("#", told)])


def counted(state: LoopState, event: CommandFailed) -> LoopState:
    """Return the state with one more failure counted, suspended if it is one too many."""
    if not state.is_own or event.code == FailedPrecondition.code:
        return state
    failure = identity(event)
    n_failures = state.n_failures + 1 if failure == state.failure else 1
    return replace(state, failure=failure, n_failures=n_failures, suspended=n_failures >= MOST_FAILURES)


def forgotten(state: LoopState) -> LoopState:
    """Return the state after a training that did not fail, or under another declaration."""
    return replace(state, failure=None, n_failures=0, suspended=False)
