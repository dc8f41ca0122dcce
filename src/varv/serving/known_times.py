"""How many outcomes had become known by an instant: times of the later half, a number for what was before."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from varv.kernel.clock import Instant
from varv.serving.batches import sorted_together, tidied

FIRST = Instant(0)


class Counted(msgspec.Struct, frozen=True):
    """How many outcomes had become known before an instant."""

    n: int
    before: Instant


class KnownTimes:
    """When outcomes became known. One thread adds; others may ask meanwhile.

    Parameters
    ----------
    counted
        What became known before anything that is added.
    """

    def __init__(self, counted: Counted | None = None) -> None:
        self._times: list[npt.NDArray[np.int64]] = []
        self.counted = counted or Counted(0, FIRST)
        """How many there were before the earliest one that is remembered by its time."""

    def __len__(self) -> int:
        return sum(map(len, self._times))

    def add(self, times: npt.NDArray[np.int64], most: int) -> None:
        """Take in times, in their order; beyond twice `most`, keep of the older half only how many they
        are.
        """
        self._times = tidied(self._times, times, len, sorted_together)
        n = len(self)
        if n <= 2 * most:
            return
        held = np.sort(np.concatenate(self._times))
        # What is added later may be of earlier times, and what was counted has no times any more.
        before = max(int(held[n // 2]), self.counted.before)
        gone = int(np.searchsorted(held, before))
        self._times = [held[gone:]]
        self.counted = Counted(self.counted.n + gone, Instant(before))

    def n_by(self, instant: Instant) -> int | None:
        """Return how many were known at an instant; None where only those before a later one are counted."""
        counted, batches = self.counted, self._times
        if instant < counted.before - 1:
            return None
        return counted.n + sum(int(np.searchsorted(times, instant, side="right")) for times in batches)
