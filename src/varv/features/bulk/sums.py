"""Sums over windows that end at requests, from rows that come in any order.

A window is the difference of what its end and its start have seen. Sums are whole numbers, so they are exact
and do not depend on the order of the rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from varv.features.bulk.points import Points
from varv.features.history import Ints


class WindowSums:
    """Sums of whole numbers over the windows ``(instant - span, instant]`` of each request.

    Parameters
    ----------
    codes, instants
        Of the requests, shape (n,), n at least 1.
    spans
        Microseconds, k of them.
    n_columns
        How many numbers each row has.
    """

    def __init__(self, codes: Ints, instants: Ints, spans: Sequence[int], n_columns: int) -> None:
        self._shape = (1 + len(spans), len(codes))
        edges = instants - np.array([0, *spans], np.int64)[:, None]
        self._points = Points(np.tile(codes, 1 + len(spans)), edges.ravel())
        self._sums = [np.zeros(len(self._points), np.int64) for _ in range(n_columns)]

    def add(self, codes: Ints, times: Ints, columns: Sequence[Ints]) -> None:
        """Take in rows, in any order: the codes of their entities, their times, and their numbers."""
        places = self._points.places(codes, times)
        seen = places >= 0
        for sums, values in zip(self._sums, columns, strict=True):
            np.add.at(sums, places[seen], values[seen])

    def found(self) -> list[Ints]:
        """Return for each column the sums of each window and request, shape (k, n)."""
        every = []
        for sums in self._sums:
            seen = np.empty(len(sums), np.int64)
            # Over entities too: what came before an entity is in both edges of its windows.
            seen[self._points.order] = np.cumsum(sums)
            by_edge = seen.reshape(self._shape)
            every.append(by_edge[0] - by_edge[1:])
        return every
