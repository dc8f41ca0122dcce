"""The points of metrics as bytes: packed as they arrive, in chunks once they are sealed. Pure.

A point is the number of its series' name, the number of what it is linked to (0 for nothing), a time in
milliseconds, a step and a value. A chunk holds the points of one series of a run in the order of their
arrival, or of several series that have few, sorted by series.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable, Sequence

import numpy as np

POINT = np.dtype([("key", "<u4"), ("link", "<u4"), ("at", "<i8"), ("step", "<i8"), ("value", "<f8")])
"""As it lies in the log: 32 bytes."""
_COLUMNS = ("key", "link", "at", "step")
"""Stored as differences, which compress; values are not."""

_pack = struct.Struct("<IIqqd").pack
Packed = tuple[int, int, int, int, float]
"""Key, link, time in milliseconds, step, value."""


def packed(points: Sequence[Packed]) -> bytes:
    """Return points as they lie in the log.

    Examples
    --------
    >>> read([packed([(1, 0, 1000, 3, 0.5)])])["value"].tolist()
    [0.5]
    """
    return b"".join([_pack(*point) for point in points])


def read(rows: Iterable[bytes]) -> np.ndarray:
    """Return the points of rows of the log, of dtype `POINT`, shape (n,)."""
    return np.frombuffer(b"".join(rows), dtype=POINT)


def chunk(points: np.ndarray) -> bytes:
    """Return points compressed, in their order."""
    columns = [_differences(points[name]) for name in _COLUMNS]
    return zlib.compress(b"".join((*columns, points["value"].tobytes())), 1)


def _differences(column: np.ndarray) -> bytes:
    # Most chunks of runs that are moved in have a handful of points, for which np.diff takes far longer.
    values = column.astype("<i8")
    values[1:] -= values[:-1]
    return values.tobytes()


def unchunk(data: bytes) -> np.ndarray:
    """Return the points of a chunk, of dtype `POINT`, shape (n,).

    Examples
    --------
    >>> points = read([packed([(1, 0, 1000, 3, 0.5), (1, 0, 1001, 4, float("nan"))])])
    >>> unchunk(chunk(points)).tobytes() == points.tobytes()
    True
    """
    raw = zlib.decompress(data)
    n = len(raw) // (8 * (len(_COLUMNS) + 1))
    points = np.empty(n, dtype=POINT)
    for place, name in enumerate(_COLUMNS):
        points[name] = np.cumsum(np.frombuffer(raw, "<i8", n, place * n * 8))
    points["value"] = np.frombuffer(raw, "<f8", n, len(_COLUMNS) * n * 8)
    return points


def by_series(points: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Return points by their series, each in the order of arrival, and where each series begins.

    Examples
    --------
    >>> points, starts = by_series(read([packed([(2, 0, 9, 0, 0.5), (1, 0, 9, 0, 0.7), (2, 0, 8, 1, 0.1)])]))
    >>> points["value"].tolist(), starts
    ([0.7, 0.5, 0.1], [0, 1])
    """
    if not len(points):
        return points, []
    ordered = points[np.argsort(points["key"], kind="stable")]
    keys = ordered["key"]
    return ordered, [0, *(np.flatnonzero(keys[1:] != keys[:-1]) + 1).tolist()]


def rises(values: np.ndarray) -> bool:
    """Return whether each value is larger than the one before, as steps mostly are: then nothing has to be
    sorted, and nothing is there twice.
    """
    return bool((values[1:] > values[:-1]).all())


def distinct(points: np.ndarray) -> np.ndarray:
    """Return points without exact repeats, which a client sends that got no answer; the first stays."""
    if rises(points["step"]) or rises(points["at"]):
        return points
    # Bits, since NaN is not equal to itself.
    whole = np.ascontiguousarray(points).view(np.dtype((np.void, POINT.itemsize)))
    _, first = np.unique(whole, return_index=True)
    return points if len(first) == len(points) else points[np.sort(first)]


def in_order(points: np.ndarray) -> np.ndarray:
    """Return points by time, step and value, as histories are read, then by what they are of."""
    if rises(points["at"]):
        return points
    value, is_nan = value_ranks(points["value"])
    return points[np.lexsort([points["link"], is_nan, value, points["step"], points["at"]])]


def value_ranks(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what sorts values: what is no number stands behind nought, as it does in MLflow's histories."""
    is_nan = np.isnan(values)
    return np.where(is_nan, 0.0, values), is_nan


def latest(points: np.ndarray) -> np.ndarray:
    """Return the point of each series that counts as its last: of the highest step, time and value.

    Examples
    --------
    >>> late = read([packed([(1, 0, 9, 2, 0.5), (1, 0, 8, 3, 0.7), (2, 0, 1, 0, 0.1)])])
    >>> latest(late)["value"].tolist()
    [0.7, 0.1]
    """
    # A value that is no number counts as less than any: it must not hide one of the same step and time.
    value = np.where(np.isnan(points["value"]), -np.inf, points["value"])
    order = np.lexsort((value, points["at"], points["step"], points["key"]))
    keys = points["key"][order]
    return points[order[np.flatnonzero(np.append(keys[1:] != keys[:-1], True))]] if len(order) else points


def chained_digest(before: bytes, points: np.ndarray) -> bytes:
    """Return the digest of a series that had the digest `before` and has gained `points`."""
    return hashlib.sha256(before + np.ascontiguousarray(points).tobytes()).digest()
