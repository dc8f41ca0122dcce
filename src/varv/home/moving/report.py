"""What came of moving in."""

from __future__ import annotations

import msgspec

from varv.runs.imports import Taken

MOST_NAMED = 20
"""Of what was left out or differs, by name; the rest is counted."""


class Count(msgspec.Struct):
    """How many were made here, brought up to their source, or there already."""

    new: int = 0
    changed: int = 0
    same: int = 0

    def add(self, taken: Taken) -> None:
        """Count one."""
        setattr(self, taken, getattr(self, taken) + 1)

    @property
    def total(self) -> int:
        """How many there are at the source."""
        return self.new + self.changed + self.same


class Named(msgspec.Struct):
    """Things of which some are named."""

    n: int = 0
    some: list[str] = []

    def add(self, name: str) -> None:
        """Count one, and name it unless many are."""
        self.n += 1
        if len(self.some) < MOST_NAMED:
            self.some.append(name)


class MoveReport(msgspec.Struct, kw_only=True):
    """What was brought from a source, and what the comparison at the end has shown.

    ``linked`` are experiments whose artifacts stay where they are, ``left_out`` artifacts that were not
    brought, each with the reason. ``n_compared`` runs were compared with all their points,
    ``n_traces_compared`` traces with all their spans.
    """

    source: str
    experiments: Count = msgspec.field(default_factory=Count)
    runs: Count = msgspec.field(default_factory=Count)
    n_points: int = 0
    logged_models: Count = msgspec.field(default_factory=Count)
    traces: Count = msgspec.field(default_factory=Count)
    n_spans: int = 0
    registered_models: Count = msgspec.field(default_factory=Count)
    n_versions: int = 0
    """Of all registered models."""
    n_files: int = 0
    size_bytes: int = 0
    linked: Named = msgspec.field(default_factory=Named)
    left_out: Named = msgspec.field(default_factory=Named)
    n_compared: int = 0
    n_traces_compared: int = 0
    differences: Named = msgspec.field(default_factory=Named)
