"""How many requests of a model were answered, by whom, and how long each stage took: sums that can be added
up over processes, and never go back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce

import msgspec

from varv.kernel.ids import ModelName

N_BUCKETS = 28
"""Bucket i holds what took less than 2^i microseconds, and at least half of that; the last one all beyond."""
STAGES = ("read", "queue", "answer", "write", "total")
"""Of a request: to read it, until its turn came, to answer it with the others of its call, to write the
answers of that call, and from its last byte to its answer."""


class Histogram(msgspec.Struct):
    """Durations by their size in powers of two."""

    buckets: list[int] = msgspec.field(default_factory=lambda: [0] * N_BUCKETS)
    sum_s: float = 0.0

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.buckets)

    def add(self, seconds: float, n: int = 1) -> None:
        """Count a duration."""
        took_us = max(int(seconds * 1e6), 0)
        self.buckets[min(took_us.bit_length(), N_BUCKETS - 1)] += n
        self.sum_s += n * seconds

    def plus(self, other: Histogram) -> Histogram:
        """Return both together."""
        buckets = [one + more for one, more in zip(self.buckets, other.buckets, strict=True)]
        return Histogram(buckets, self.sum_s + other.sum_s)

    def minus(self, other: Histogram) -> Histogram:
        """Return what came since another."""
        buckets = [one - less for one, less in zip(self.buckets, other.buckets, strict=True)]
        return Histogram(buckets, self.sum_s - other.sum_s)

    def quantile(self, q: float) -> float | None:
        """Return the duration in seconds below which the share `q` lies, None if there is none: within a
        bucket as if all of it were spread evenly.
        """
        wanted = q * self.count
        if not self.count:
            return None
        for place, n in enumerate(self.buckets):
            if n and wanted <= n:
                low = 0 if place == 0 else 1 << (place - 1)
                return (low + ((1 << place) - low) * wanted / n) / 1e6
            wanted -= n
        return (1 << (N_BUCKETS - 1)) / 1e6


class Counts(msgspec.Struct):
    """Of one model."""

    n_answered: int = 0
    n_refused: int = 0
    """Refused, or failed."""
    n_calls: int = 0
    """Calls in which requests of one moment were scored together."""
    n_rows: dict[str, int] = {}
    """Rows that were answered, by version and arm: ``7/champion``."""
    n_flagged: dict[str, int] = {}
    """Rows with a value that broke a check, by its column, or for which a transformation failed."""
    n_observed: dict[str, int] = {}
    """Requests for the observer, by what became of them: sent, failed, or dropped for want of room."""
    stages: dict[str, Histogram] = msgspec.field(
        default_factory=lambda: {name: Histogram() for name in STAGES}
    )

    def plus(self, other: Counts) -> Counts:
        """Return both together."""
        return Counts(
            self.n_answered + other.n_answered,
            self.n_refused + other.n_refused,
            self.n_calls + other.n_calls,
            _plus(self.n_rows, other.n_rows),
            _plus(self.n_flagged, other.n_flagged),
            _plus(self.n_observed, other.n_observed),
            {name: self.stages[name].plus(other.stages[name]) for name in STAGES},
        )

    def minus(self, other: Counts) -> Counts:
        """Return what came since others were counted; all of it, where a process has begun anew."""
        if other.n_answered > self.n_answered or other.n_refused > self.n_refused:
            return self
        return Counts(
            self.n_answered - other.n_answered,
            self.n_refused - other.n_refused,
            self.n_calls - other.n_calls,
            _minus(self.n_rows, other.n_rows),
            _minus(self.n_flagged, other.n_flagged),
            _minus(self.n_observed, other.n_observed),
            {name: self.stages[name].minus(other.stages[name]) for name in STAGES},
        )

    def add_rows(self, versions: Sequence[int], arms: Sequence[str]) -> None:
        """Count rows that versions answered."""
        if len(set(versions)) == 1:
            # Nearly always: nobody is on its way in.
            self._add(versions[0], arms[0], len(versions))
        else:
            for version, arm in zip(versions, arms, strict=True):
                self._add(version, arm, 1)

    def add_flagged(self, flagged: Mapping[str, Sequence[int]]) -> None:
        """Count rows that are flagged, by what they are flagged for."""
        for name, rows in flagged.items():
            self.n_flagged[name] = self.n_flagged.get(name, 0) + len(rows)

    def _add(self, version: int, arm: str, n: int) -> None:
        name = f"{version}/{arm}"
        self.n_rows[name] = self.n_rows.get(name, 0) + n


def _plus(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in sorted({*one, *other})}


def _minus(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: n - other.get(name, 0) for name, n in one.items()}


def together(several: Iterable[Mapping[ModelName, Counts]]) -> dict[ModelName, Counts]:
    """Return counts of several processes as those of one."""
    found: dict[ModelName, list[Counts]] = {}
    for one in several:
        for model, counts in one.items():
            found.setdefault(model, []).append(counts)
    return {model: reduce(Counts.plus, each) for model, each in sorted(found.items())}
