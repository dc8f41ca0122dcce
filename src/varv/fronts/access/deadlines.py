"""How long a caller waits for an answer: what nobody waits for any more is not computed.

Deadlines are readings of `kernel.clock.wall_seconds`; what a caller says only ever brings one forward.
"""

from __future__ import annotations

import math

from varv.kernel.errors import DeadlineExceeded, InvalidInput

HEADER = "x-varv-timeout-ms"
NEVER = math.inf


def deadline_of(given: bytes, began: float) -> float:
    """Return the deadline of a request that began at a time, and that says how many milliseconds its caller
    waits.

    Raises
    ------
    InvalidInput
        If it is no whole number.

    Examples
    --------
    >>> deadline_of(b"250", 10.0)
    10.25
    """
    if not given.isdigit() or len(given) > 9:
        shown = given.decode("latin-1")[:20]
        hint = "send whole milliseconds, 0 or more"
        raise InvalidInput("header", HEADER, "is no time to wait", given=shown, hint=hint)
    return began + int(given) / 1e3


def sooner(deadline: float, began: float, timeout_us: int) -> float:
    """Return the earlier of a deadline and the end of a time from when a request began; 0 is no time."""
    return min(deadline, began + timeout_us / 1e6) if timeout_us else deadline


def too_late(began: float, now: float) -> DeadlineExceeded:
    """Return the refusal of a request that waited beyond its deadline."""
    hint = "ask again with more time, or when less is asked for"
    waited_ms = round(1e3 * (now - began), 1)
    return DeadlineExceeded(
        "request", "", "waited beyond its deadline, and was not computed", waited_ms=waited_ms, hint=hint
    )
