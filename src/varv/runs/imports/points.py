"""The points of a run that was recorded elsewhere, as they lie in the file here."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from varv.runs.points import POINT, Packed, in_order, packed, read
from varv.runs.rules import require_long, storable
from varv.runs.series import Series
from varv.runs.service import Point
from varv.runs.tables import METRIC, RunTables


class Given(NamedTuple):
    """Points of a run: each once, and those that are of models or datasets with all that they are of."""

    rows: np.ndarray
    """Of dtype `runs.points.POINT`."""
    linked: list[Packed]


def packed_points(
    db: sqlite3.Connection, tables: RunTables, series: Series, experiment: int, points: Sequence[Point]
) -> Given:
    """Return points as they lie in the file; of those that differ in what they are of alone, the first."""
    rows: dict[tuple[int, int, int, str], Packed] = {}
    linked = []
    for point in points:
        key = tables.key(db, experiment, METRIC, point.name)
        link = series.link(db, point.model, point.dataset, point.digest)
        value = storable(point.value)
        times = require_long("timestamp", point.at_ms), require_long("step", point.step)
        one = (key, link, *times, value)
        # By its text, since no number is equal to itself that is none.
        rows.setdefault((key, *times, repr(value)), one)
        if link:
            linked.append(one)
    return Given(in_order(read([packed(list(rows.values()))])), linked)


def points_beyond(given: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the points of `given` that are not in `known`, whatever they are of."""
    return given[~np.isin(_bits(given), _bits(known))]


def _bits(points: np.ndarray) -> np.ndarray:
    plain = points.copy()
    plain["link"] = 0
    return np.ascontiguousarray(plain).view(np.dtype((np.void, POINT.itemsize)))
