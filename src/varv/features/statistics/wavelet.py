"""A wavelet matrix: order statistics of any stretch of a sequence of whole numbers, in one step a bit.

Numbers are sorted stably by one bit after the other, from the highest on. Each level keeps its bits and how
many ones precede each word, 1.5 bits a number, so that a stretch of one level is a stretch of the next.

References
----------
Claude, Navarro and Ordonez (2015), The wavelet matrix: an efficient wavelet tree for large alphabets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
_WORD = 64


class _Level(NamedTuple):
    words: npt.NDArray[np.uint64]
    before: npt.NDArray[np.int64]
    """Ones before each word."""
    n_zeros: int

    def ones(self, places: Ints) -> Ints:
        """Return how many ones there are before each place."""
        word, bit = places >> 6, (places & 63).astype(np.uint64)
        below = (np.uint64(1) << bit) - np.uint64(1)
        return self.before[word] + np.bitwise_count(self.words[word] & below)

    def ones_before(self, place: int) -> int:
        """Return how many ones there are before one place."""
        word = place >> 6
        return int(self.before[word]) + (int(self.words[word]) & ((1 << (place & 63)) - 1)).bit_count()


class Wavelet:
    """Order statistics of stretches.

    Parameters
    ----------
    values
        Whole numbers from 0, shape (n,).
    n_bits
        All of them are below ``2**n_bits``.
    """

    def __init__(self, values: npt.NDArray[np.unsignedinteger], n_bits: int) -> None:
        self.levels: list[_Level] = []
        for bit in reversed(range(n_bits)):
            is_one = (values >> values.dtype.type(bit)) & values.dtype.type(1) == 1
            self.levels.append(_level(is_one))
            values = np.concatenate((values[~is_one], values[is_one]))

    def n_below(self, lows: Ints, highs: Ints, bounds: Ints) -> Ints:
        """Return how many values in ``[low, high)`` are below a bound, of each of n stretches.

        Parameters
        ----------
        bounds
            Each of as many bits as the values.
        """
        found = np.zeros(len(lows), np.int64)
        for bit, level in zip(reversed(range(len(self.levels))), self.levels, strict=True):
            ones_low, ones_high = level.ones(lows), level.ones(highs)
            is_one = (bounds >> bit) & 1 == 1
            found += np.where(is_one, (highs - ones_high) - (lows - ones_low), 0)
            lows = np.where(is_one, level.n_zeros + ones_low, lows - ones_low)
            highs = np.where(is_one, level.n_zeros + ones_high, highs - ones_high)
        return found


def smallest(stretches: Sequence[tuple[Wavelet, Ints, Ints]], ranks: Ints) -> Ints:
    """Return the value of each rank, from 0, among stretches of several sequences of one number of bits.

    Parameters
    ----------
    stretches
        Of each sequence, where the n stretches begin and end.
    ranks
        Shape (n,), each below the number of values in its stretches.
    """
    found, ranks = np.zeros(len(ranks), np.int64), ranks.copy()
    places = [(lows, highs) for _, lows, highs in stretches]
    for depth in range(len(stretches[0][0].levels)):
        levels = [wavelet.levels[depth] for wavelet, _, _ in stretches]
        ones = [
            (level.ones(lows), level.ones(highs)) for level, (lows, highs) in zip(levels, places, strict=True)
        ]
        n_zeros = np.zeros(len(ranks), np.int64)
        for (lows, highs), (ones_low, ones_high) in zip(places, ones, strict=True):
            n_zeros += (highs - ones_high) - (lows - ones_low)
        is_one = ranks >= n_zeros
        ranks = np.where(is_one, ranks - n_zeros, ranks)
        found = (found << 1) | is_one
        places = [
            (
                np.where(is_one, level.n_zeros + ones_low, lows - ones_low),
                np.where(is_one, level.n_zeros + ones_high, highs - ones_high),
            )
            for level, (lows, highs), (ones_low, ones_high) in zip(levels, places, ones, strict=True)
        ]
    return found


def smallest_of_one(stretches: Sequence[tuple[Wavelet, int, int]], rank: int) -> int:
    """Return what `smallest` does of one stretch of each sequence."""
    found = 0
    places = [(low, high) for _, low, high in stretches]
    for depth in range(len(stretches[0][0].levels)):
        levels = [wavelet.levels[depth] for wavelet, _, _ in stretches]
        ones = [
            (level.ones_before(low), level.ones_before(high))
            for level, (low, high) in zip(levels, places, strict=True)
        ]
        n_zeros = sum(
            (high - ones_high) - (low - ones_low)
            for (low, high), (ones_low, ones_high) in zip(places, ones, strict=True)
        )
        is_one = rank >= n_zeros
        rank -= n_zeros if is_one else 0
        found = (found << 1) | is_one
        places = [
            (level.n_zeros + ones_low, level.n_zeros + ones_high)
            if is_one
            else (low - ones_low, high - ones_high)
            for level, (low, high), (ones_low, ones_high) in zip(levels, places, ones, strict=True)
        ]
    return found


def _level(is_one: npt.NDArray[np.bool_]) -> _Level:
    n_words = len(is_one) // _WORD + 1
    packed = np.zeros(n_words * 8, np.uint8)
    bits = np.packbits(is_one, bitorder="little")
    packed[: len(bits)] = bits
    words = packed.view("<u8").astype(np.uint64, copy=False)
    before = np.concatenate(([0], np.cumsum(np.bitwise_count(words[:-1]), dtype=np.int64)))
    return _Level(words, before, len(is_one) - int(is_one.sum()))
