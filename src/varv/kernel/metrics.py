"""Numbers that a process reports of itself, in no form yet: `fronts.metrics` writes them for whoever scrapes,
`adapters.otlp` for whoever they are sent to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple


class Sample(NamedTuple):
    """One number of a family."""

    value: float
    labels: Mapping[str, str] = {}


class Distribution(NamedTuple):
    """How what was observed is spread."""

    buckets: Sequence[tuple[float, int]]
    """Upper bounds in order, and how many lie in each; the last bound is infinite."""
    total: float
    """The sum of all that were observed."""
    labels: Mapping[str, str] = {}


class Family(NamedTuple):
    """Numbers of one name; those of a histogram are distributions."""

    name: str
    """As Prometheus has it: with the unit, and ``_total`` for what only grows."""
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    samples: Sequence[Sample | Distribution]
