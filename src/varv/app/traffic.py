"""What a running server answers: counts of its workers, for whoever watches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from varv.fronts.inference.counts import Counts
from varv.kernel.ids import ModelName
from varv.kernel.verbs import READ, verb


class TrafficRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Chooses nothing: all that there is."""


class TrafficReport(msgspec.Struct, frozen=True, kw_only=True):
    """Sums since the server started, by model, and its workers."""

    models: dict[ModelName, Counts]
    workers: tuple[int, ...]


@dataclass(frozen=True)
class Traffic:
    """What counts.

    Parameters
    ----------
    report
        Asks the workers.
    """

    report: Callable[[], TrafficReport]


@verb("server.traffic", needs=READ)
def traffic(counting: Traffic, asked: TrafficRequest) -> TrafficReport:
    """Return how many requests were answered since the server started, by whom, and how long it took."""
    return counting.report()
