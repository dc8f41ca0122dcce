"""How many rows of a model are scored in one call, and whether its calls leave the event loop."""

from __future__ import annotations

MOST_ROWS = 256
"""Of one call."""
BUDGET_S = 0.02
"""How much longer a call of many rows may take than one of a single row: whoever comes meanwhile waits for
it, and whoever is in it waits for the others.
"""
SLOW_S = 0.005
"""From here on a model's calls run in a thread; below half of it on the event loop again. In a thread a call
takes longer, since both want the interpreter: a quick model that was taken for slow must find its way back.
"""
_GROWS, _SHRINKS, _WEIGHT = 1.0, 0.7, 0.2


class Pace:
    """The pace of one model: additive increase and multiplicative decrease of its batches.

    Notes
    -----
    The rule is that of Clipper (Crankshaw et al., NSDI 2017): a row more while calls stay within their
    budget, and a good deal fewer once one does not. What a single row takes does not count, since no batch
    is smaller: a model that takes long whatever it is asked is asked for as many rows as come.
    """

    def __init__(self) -> None:
        self._most_rows = float(MOST_ROWS)
        self._usual_s = 0.0
        self._alone_s = 0.0
        self._is_slow = False

    @property
    def most_rows(self) -> int:
        """So many rows may be scored in one call."""
        return int(self._most_rows)

    @property
    def is_slow(self) -> bool:
        """Whether calls take so long that the event loop must not wait for them."""
        return self._is_slow

    def took(self, n_rows: int, seconds: float) -> None:
        """Take note of a call."""
        self._usual_s += _WEIGHT * (seconds - self._usual_s)
        self._is_slow = self._usual_s > (SLOW_S / 2 if self._is_slow else SLOW_S)
        if n_rows == 1:
            self._alone_s += _WEIGHT * (seconds - self._alone_s) if self._alone_s else seconds
        if n_rows > 1 and seconds - self._alone_s > BUDGET_S:
            self._most_rows = max(1.0, min(self._most_rows, n_rows) * _SHRINKS)
        elif n_rows >= self.most_rows:
            self._most_rows = min(float(MOST_ROWS), self._most_rows + _GROWS)
