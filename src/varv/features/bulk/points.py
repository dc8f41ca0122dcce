"""Points: pairs of an entity and an instant in order, and for each row of a history the first point that sees
it.

A row of an entity is seen by all points of that entity from its time on. So it is enough to know, of each
row, the first point that sees it, and rows may come in any order and are never sorted as a whole: memory is
that of the points, however long the history is. `features.bulk.latest` keeps something for each point.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from varv.features.run import Ints

_MOST_KEYS = 2**62
_MOST_PLACES = 4
"""Of a table, for each number."""


class Points:
    """Pairs of an entity and an instant.

    Parameters
    ----------
    codes
        Of the entities, from 0, shape (n,), n at least 1.
    instants
        Microseconds, shape (n,).
    """

    def __init__(self, codes: Ints, instants: Ints) -> None:
        n_codes = int(codes.max()) + 1
        self.first, last = int(instants.min()), int(instants.max())
        """The earliest instant."""
        self._width = last - self.first + 2
        self._steps: Ints | None = None
        if (n_codes + 1) * self._width > _MOST_KEYS:
            # Many entities over a long time have no place in 64 bits; the instants themselves are few enough.
            self._steps = distinct(instants)
            self._width = len(self._steps) + 1
        keys = self._keys_of(codes, instants)
        self.order: Ints = np.argsort(keys)
        """Of each point in order, which of the given ones it is."""
        self._keys = keys[self.order]
        self._starts = np.searchsorted(self._keys, np.arange(n_codes + 1) * self._width)

    def __len__(self) -> int:
        return len(self._keys)

    def first_of_entity(self) -> Ints:
        """Return for each point in order the place of the first point of its entity."""
        return np.repeat(self._starts[:-1], np.diff(self._starts))

    def places(self, codes: Ints, times: Ints) -> Ints:
        """Return for each row the place in order of the first point that sees it, -1 if none does.

        Parameters
        ----------
        codes
            Of entities of which there are points, shape (n,).
        """
        keys = self._keys_of(codes, times)
        # Sorted ones are found in a fifth of the time, since they lie beside each other.
        order = np.argsort(keys)
        places = np.empty(len(keys), np.int64)
        places[order] = np.searchsorted(self._keys, keys[order])
        # A row after all points of its entity falls on those of the next one.
        places[places >= self._starts[codes + 1]] = -1
        return places

    def _keys_of(self, codes: Ints, times: Ints) -> Ints:
        if self._steps is None:
            steps: npt.NDArray[np.int64] = np.clip(times, self.first, self.first + self._width - 1)
            return codes * self._width + (steps - self.first)
        return codes * self._width + np.searchsorted(self._steps, times)


def ranked(numbers: Ints) -> tuple[Ints, Ints]:
    """Return each number that is not -1 once, ascending, and of each its place among them, -1 for -1.

    Examples
    --------
    >>> ranked(np.array([7, -1, 4, 7]))
    (array([4, 7]), array([ 1, -1,  0,  1]))
    """
    beyond = int(numbers.max(initial=0)) + 1
    if beyond > _MOST_PLACES * len(numbers):
        order = np.argsort(numbers)
        each = distinct(numbers[order])
        each = each[np.searchsorted(each, 0) :]
        places = np.empty_like(numbers)
        places[order] = np.searchsorted(each, numbers[order])
        places[numbers < 0] = -1
        return each, places
    # Where they lie close together, a table takes a fifth of the time; its last place is that of -1.
    is_there = np.zeros(beyond + 1, np.bool_)
    is_there[numbers] = True
    is_there[-1] = False
    each = np.flatnonzero(is_there)
    table = np.full(beyond + 1, -1, np.int64)
    table[each] = np.arange(len(each))
    return each, table[numbers]


def distinct(numbers: Ints) -> Ints:
    """Return each number once, ascending."""
    # NumPy's own goes through a table of hashes, which takes ten times as long.
    ordered = np.sort(numbers)
    is_first = np.ones(len(ordered), np.bool_)
    is_first[1:] = ordered[1:] != ordered[:-1]
    return ordered[is_first]
