"""Sums of powers that are exact, so that they do not depend on the order in which rows or profiles came.

Each value is measured from the pivot of its scale and rounded once, to 2^-50 of the power of its spread; from
there on all is whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from varv.profiles.counted import Counted, Numbers
from varv.profiles.scale import ColumnScale

POWERS = 4
FINENESS = 50
"""A sum is of steps of 2^-50 times the power of the spread."""
_SLICE = 30
"""Bits of a value that are summed at once: with 2^22 rows they stay below 2^53, where doubles are exact."""
MOST_ROWS = 1 << 22
_MOST_BITS = 400
_EXACT = 1 << 53
"""Doubles hold every whole number up to here."""


class PowerSums(msgspec.Struct, frozen=True):
    """Sums of the first four powers of n values less the pivot, each in steps, as hexadecimal numbers."""

    n: int
    steps: tuple[str, str, str, str] = ("0x0", "0x0", "0x0", "0x0")

    def moments(self, scale: ColumnScale) -> tuple[float, float, float, float]:
        """Return mean, standard deviation (of n - 1), skewness and excess kurtosis; NaN where undefined."""
        if not self.n:
            return math.nan, math.nan, math.nan, math.nan
        first, second, third, fourth = self._central(scale)
        mean = scale.pivot + first
        if self.n < 2 or second <= 0:
            return mean, 0.0 if self.n > 1 else math.nan, math.nan, math.nan
        sd = math.sqrt(second * self.n / (self.n - 1))
        return mean, sd, third / second**1.5, fourth / second**2 - 3

    def _central(self, scale: ColumnScale) -> tuple[float, float, float, float]:
        """Return the mean about the pivot, and the second to fourth moment about the mean.

        Notes
        -----
        Over whole numbers as far as to the quotient, since their differences cancel.
        """
        n = self.n
        # In the finest steps of all: of the spread times 2^-50, its square times 2^-100, and so on.
        s1, s2, s3, s4 = (
            int(text, 16) << FINENESS * (power - 1) for power, text in enumerate(self.steps, start=1)
        )
        second = n * s2 - s1 * s1
        third = n * n * s3 - 3 * n * s1 * s2 + 2 * s1**3
        fourth = n**3 * s4 - 4 * n * n * s1 * s3 + 6 * n * s1 * s1 * s2 - 3 * s1**4
        unit = scale.exponent - FINENESS
        found = (_scaled(s1, n, unit), _scaled(second, n**2, 2 * unit))
        return *found, _scaled(third, n**3, 3 * unit), _scaled(fourth, n**4, 4 * unit)


def _scaled(steps: int, n: int, exponent: int) -> float:
    """Return steps of a power of two over n; infinite where that is no number."""
    beyond = max(0, steps.bit_length() - _MOST_BITS)
    try:
        return math.ldexp((steps >> beyond) / n, exponent + beyond)
    except OverflowError:
        return math.copysign(math.inf, steps)


def power_sums(found: Counted, scale: ColumnScale) -> PowerSums:
    """Return the sums of some values, of `MOST_ROWS` rows at most."""
    distance = _distances(found.values, scale.pivot)
    counts = found.counts.astype(np.float64)
    power, steps = distance, list[str]()
    for number in range(1, POWERS + 1):
        steps.append(hex(_summed(power, counts, number * scale.exponent - FINENESS)))
        if number < POWERS:
            power = power * distance
    return PowerSums(int(found.counts.sum()), (steps[0], steps[1], steps[2], steps[3]))


def _distances(values: Numbers, pivot: float) -> npt.NDArray[np.float64]:
    if values.dtype.kind == "i" and len(values) and -_EXACT < int(values[0]) <= int(values[-1]) < _EXACT:
        return (values - np.int64(pivot)).astype(np.float64)
    return values.astype(np.float64) - pivot


def _summed(values: npt.NDArray[np.float64], counts: npt.NDArray[np.float64], unit: int) -> int:
    """Return the sum of values times their counts in steps of 2^unit, each value rounded to such steps."""
    largest = max(float(values.max(initial=0.0)), -float(values.min(initial=0.0)))
    n_slices = max(0, math.ceil((math.frexp(largest)[1] - unit + 1) / _SLICE))
    rest, total = values, 0
    for number in range(n_slices - 1, -1, -1):
        exponent = unit + _SLICE * number
        part = np.rint(np.ldexp(rest, -exponent) if abs(exponent) > 1000 else rest * 2.0**-exponent)
        # Not a dot product: the threads of a BLAS library wait for each other by spinning.
        total += int(np.sum(part * counts)) << (_SLICE * number)
        if number:
            rest = rest - part * 2.0**exponent
    return total


def merged_sums(several: Sequence[PowerSums]) -> PowerSums:
    """Return the sums of all values of several."""
    one, two, three, four = (
        hex(sum(int(sums.steps[place], 16) for sums in several)) for place in range(POWERS)
    )
    return PowerSums(sum(sums.n for sums in several), (one, two, three, four))
