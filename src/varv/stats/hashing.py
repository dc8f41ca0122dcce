"""Hashes of numbers and texts that are the same on every machine and in every version of every library.

They spread values evenly and keep nobody from guessing them: what must not be guessed is hashed with a key
elsewhere. Arrays in, arrays out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_WORD = 8


def mixed(numbers: Hashes) -> Hashes:
    """Return a hash of each number, one of every hash (the finalizer of SplitMix64).

    Notes
    -----
    Steele, Lea and Flood (2014). Done in place: of a long array the memory for each step costs more than the
    step.
    """
    found = numbers + GOLDEN
    shifted = found >> np.uint64(30)
    found ^= shifted
    found *= np.uint64(0xBF58476D1CE4E5B9)
    np.right_shift(found, np.uint64(27), out=shifted)
    found ^= shifted
    found *= np.uint64(0x94D049BB133111EB)
    np.right_shift(found, np.uint64(31), out=shifted)
    found ^= shifted
    return found


def hashed_numbers(values: npt.NDArray[np.float64 | np.int64]) -> Hashes:
    """Return a hash of each number, shape (n,); zeros of both signs have one.

    Examples
    --------
    >>> bool(np.diff(hashed_numbers(np.array([0.0, -0.0])))[0])
    False
    """
    plain = values + 0.0 if values.dtype.kind == "f" else values
    return mixed(np.ascontiguousarray(plain).view(np.uint64))


def hashed_texts(texts: Sequence[str]) -> Hashes:
    r"""Return a hash of each text, shape (n,).

    Notes
    -----
    Words of eight bytes are mixed in one after the other, of all texts at once, and the length at last, so
    that a text is not one that ends in a zero byte.

    Examples
    --------
    >>> found = hashed_texts(["a", "b", "a", "", "a\0"])
    >>> len(set(found.tolist()))
    4
    """
    together = "".join(texts)
    encoded = together.encode()
    of_each = map(len, texts if len(encoded) == len(together) else map(str.encode, texts))
    sizes = np.fromiter(of_each, np.int64, len(texts))
    starts = np.cumsum(sizes) - sizes
    padded = np.frombuffer(encoded + bytes(_WORD), np.uint8)
    words = np.lib.stride_tricks.sliding_window_view(padded, _WORD)
    found = np.zeros(len(texts), np.uint64)
    places = np.arange(len(texts))
    for number in range(0, int(sizes.max(initial=0)), _WORD):
        places = places[sizes[places] > number]
        word = np.ascontiguousarray(words[starts[places] + number]).view("<u8").ravel()
        left = np.minimum(sizes[places] - number, _WORD)
        kept = np.where(
            left == _WORD, ~np.uint64(0), (np.uint64(1) << (8 * left).astype(np.uint64)) - np.uint64(1)
        )
        found[places] = mixed(found[places] ^ (word & kept))
    return mixed(found ^ sizes.astype(np.uint64))
