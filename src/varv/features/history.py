"""What was known of each entity at each time: sorted rows in memory, with searches for many requests at once.

Rows stand in the order of entity and time, in one array of composite integers, so that "the rows of this
entity up to this instant" is one binary search. Sums are integers, steps of 2^-20, so a window's sum is exact
and does not depend on the order in which rows arrived: the same features come out offline and online, bit for
bit. Arrays are never changed in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from varv.kernel.clock import Duration, Instant
from varv.kernel.errors import InvalidInput

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Values = npt.NDArray[Any]

STEPS = 2.0**20
LARGEST = 2.0**23
"""Windowed values are below this in size, which lets a window hold a million rows without overflow."""
_RECENT = 512
_MOST_KEYS = 2**63 - 1


class Run:
    """Rows sorted by entity, time and tie.

    Parameters
    ----------
    codes, times, ties
        Of each row, shape (n,): the entity as a number from 0, the instant, and what decides between rows of
        one entity and instant.
    columns
        The values of each row by column, each of shape (n,).
    """

    def __init__(
        self, codes: Ints, times: Ints, ties: npt.NDArray[np.uint64], columns: Mapping[str, Values]
    ) -> None:
        order = np.lexsort((ties, times, codes))
        self.codes, self.times, self.ties = codes[order], times[order], ties[order]
        self.columns = {name: values[order] for name, values in columns.items()}
        self._base = int(times.min()) - 1 if len(times) else 0
        self._stride = int(times.max()) - self._base + 1 if len(times) else 1
        self._beyond = int(self.codes[-1]) + 1 if len(codes) else 0
        if (self._beyond + 1) * self._stride > _MOST_KEYS:
            hint = "shorten the history with trim(), or the windows"
            raise InvalidInput(
                "history", "", "has too many entities for its length", entities=self._beyond, hint=hint
            )
        self._keys = self.codes * self._stride + (self.times - self._base)

    def __len__(self) -> int:
        return len(self.codes)

    def upto(self, codes: Ints, instants: Ints) -> Ints:
        """Return, for each entity and instant, after how many rows its rows up to and including then end."""
        offsets = np.minimum(np.maximum(instants - self._base, 0), self._stride - 1)
        keys = np.minimum(codes, self._beyond) * self._stride + offsets
        return np.searchsorted(self._keys, keys, side="right").astype(np.int64, copy=False)

    @cached_property
    def totals(self) -> Ints:
        """Running totals of the integer columns, shape (n + 1, columns), starting with 0."""
        values = np.stack(list(self.columns.values()), axis=1)
        return np.concatenate((np.zeros((1, values.shape[1]), np.int64), np.cumsum(values, 0)))

    def with_rows(
        self, codes: Ints, times: Ints, ties: npt.NDArray[np.uint64], columns: Mapping[str, Values]
    ) -> Run:
        """Return these rows and others."""
        if not len(codes):
            return self
        return Run(
            np.concatenate((self.codes, codes)),
            np.concatenate((self.times, times)),
            np.concatenate((self.ties, ties)),
            {name: np.concatenate((values, columns[name])) for name, values in self.columns.items()},
        )

    def kept(self, mask: npt.NDArray[np.bool_]) -> Run:
        """Return the rows where `mask` is true."""
        columns = {name: values[mask] for name, values in self.columns.items()}
        return Run(self.codes[mask], self.times[mask], self.ties[mask], columns)


class History:
    """The rows of one table: a long run and a short recent one, merged now and then so that adding rows stays
    cheap.
    """

    def __init__(self, columns: Mapping[str, npt.DTypeLike]) -> None:
        nothing = np.zeros(0, np.int64)
        self._empty = Run(
            nothing,
            nothing,
            nothing.astype(np.uint64),
            {name: np.zeros(0, dtype) for name, dtype in columns.items()},
        )
        # One tuple, replaced as a whole: a reader in another thread sees the runs before or after.
        self.runs: tuple[Run, Run] = (self._empty, self._empty)

    def __len__(self) -> int:
        return sum(map(len, self.runs))

    def add(
        self, codes: Ints, times: Ints, ties: npt.NDArray[np.uint64], columns: Mapping[str, Values]
    ) -> None:
        """Add rows in any order."""
        main, recent = self.runs
        recent = recent.with_rows(codes, times, ties, columns)
        if len(recent) > max(_RECENT, len(main) // 16):
            main, recent = self._merged(main, recent), self._empty
        self.runs = (main, recent)

    def trim(self, before: Instant, span: Duration | None) -> None:
        """Forget the rows that no request at or after `before` can see, which looks back by `span` or without
        end.
        """
        main, recent = self.runs
        both = self._merged(main, recent)
        if span is not None:
            mask = both.times > before - span
        else:
            last_of_past = np.ones(len(both), np.bool_)
            last_of_past[:-1] = (both.codes[1:] != both.codes[:-1]) | (both.times[1:] > before)
            mask = (both.times > before) | last_of_past
        self.runs = (both.kept(mask), self._empty)

    def _merged(self, main: Run, recent: Run) -> Run:
        return main.with_rows(recent.codes, recent.times, recent.ties, recent.columns)

    def sums(self, codes: Ints, instants: Ints, spans: Ints) -> Ints:
        """Return the sums of the integer columns over each entity's rows in ``(instant - span, instant]``.

        Parameters
        ----------
        codes, instants
            Shape (n,).
        spans
            Microseconds, shape (k,).

        Returns
        -------
        Ints
            Shape (k, n, columns); zeros where there are no rows.
        """
        ends = instants - np.concatenate(([0], spans))[:, None]
        found = np.zeros((len(spans), len(codes), len(self._empty.columns)), np.int64)
        for run in self.runs:
            if len(run):
                totals = run.totals[run.upto(codes, ends)]
                found += totals[0] - totals[1:]
        return found

    def latest(
        self, codes: Ints, instants: Ints, ttl: Duration | None
    ) -> tuple[npt.NDArray[np.bool_], dict[str, Values]]:
        """Return whether each entity has a row in ``(instant - ttl, instant]``, and the last such row's
        values.

        Values where there is no row are arbitrary.
        """
        n = len(codes)
        found, when, tie = np.zeros(n, np.bool_), np.zeros(n, np.int64), np.zeros(n, np.uint64)
        values = {name: np.zeros(n, column.dtype) for name, column in self._empty.columns.items()}
        for run in self.runs:
            if not len(run):
                continue
            row = run.upto(codes, instants) - 1
            has = (row >= 0) & (run.codes[row] == codes)
            if ttl is not None:
                has &= run.times[row] > instants - ttl
            better = has & (
                ~found | (run.times[row] > when) | ((run.times[row] == when) & (run.ties[row] > tie))
            )
            found |= has
            when, tie = np.where(better, run.times[row], when), np.where(better, run.ties[row], tie)
            values = {name: np.where(better, run.columns[name][row], old) for name, old in values.items()}
        return found, values


def fixed_point(values: Floats, column: str) -> tuple[Ints, Ints]:
    """Return values in steps of 2^-20, 0 where not finite, and 1 where a value is finite, else 0.

    Raises
    ------
    InvalidInput
        If a finite value is 2^23 or more in size.
    """
    present = np.isfinite(values)
    clean = np.where(present, values, 0.0)
    if len(clean) and float(np.abs(clean).max()) >= LARGEST:
        hint = "scale the column; a contract keeps wild values out"
        raise InvalidInput("column", column, "has values too large for a window", largest=LARGEST, hint=hint)
    return np.rint(clean * STEPS).astype(np.int64), present.astype(np.int64)
