"""Named crash points: places where a test may let the program die, and nowhere else.

A part that makes something durable takes a `Faults` and calls `reach` at its points. Unarmed, that is one
attribute read. Armed, the n-th passing either raises `Crash`, which no `except Exception` swallows, or ends
the process at once, as a power cut would. The kernel reads no environment: the app passes the setting in.
"""

from __future__ import annotations

import os
import threading
from typing import Literal

from varv.kernel.errors import InvalidInput

How = Literal["raise", "kill"]

KILLED = 137
"""Exit status of a process that an armed point has ended; that of SIGKILL."""


class Crash(BaseException):
    """The program dies here. Not an `Exception`, so that only a test that armed it catches it."""


class Faults:
    """At most one armed crash point.

    Parameters
    ----------
    point
        Name of the point, such as ``"ledger.before_commit"``; empty arms nothing.
    nth
        Die at this passing of the point, counted from 1.
    how
        ``"raise"`` a `Crash`, or ``"kill"`` the process without any clean-up.

    Examples
    --------
    >>> Faults("ledger.before_commit", nth=2).reach("ledger.before_commit")
    """

    def __init__(self, point: str = "", *, nth: int = 1, how: How = "raise") -> None:
        if nth < 1:
            raise InvalidInput("fault", point, "is armed for a passing below 1", nth=nth)
        self._point, self._left, self._how = point, nth, how
        self._lock = threading.Lock()

    @classmethod
    def parse(cls, text: str) -> Faults:
        """Return the faults of a setting: ``""``, or ``"point:nth"`` or ``"point:nth:kill"``.

        Raises
        ------
        InvalidInput
            If the setting has another form.
        """
        if not text:
            return cls()
        point, _, rest = text.partition(":")
        nth, _, how = rest.partition(":")
        if not point or not nth.isdecimal() or how not in ("", "raise", "kill"):
            raise InvalidInput(
                "fault", text[:80], "is not understood", hint="write point:nth or point:nth:kill"
            )
        return cls(point, nth=int(nth), how="kill" if how == "kill" else "raise")

    def reach(self, point: str) -> None:
        """Die here if `point` is armed and this is the passing it is armed for."""
        if point != self._point:
            return
        with self._lock:
            self._left -= 1
            if self._left != 0:
                return
        if self._how == "kill":
            os._exit(KILLED)
        raise Crash(point)
