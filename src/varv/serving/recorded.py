"""Recorded calls: what a model was asked lately, each with the rows that were asked together.

`DataPlane.warm` lets a version answer some before it gets traffic, so that its first callers do not wait for
what a runtime does once for each shape. They are read off the stored predictions; what is said of them is
thrown away, so nothing of it is captured, counted or compared.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable

import polars as pl

from varv.kernel.clock import wall_seconds
from varv.kernel.columns import Columns
from varv.kernel.errors import VarvError
from varv.kernel.ids import ModelName
from varv.kernel.observe import log
from varv.kernel.user_code import UserCode
from varv.registry import LoadedModel, Signature
from varv.serving.stored import predictions_of

MOST_SEGMENTS = 64
MOST_ROWS = 10_000
"""Of the newest that are looked at."""
MOST_CALLS = 32
WITHIN_S = 0.5
"""How long a version is warmed, the call aside that is under way by then."""
_LOG = logging.getLogger(__name__)


class Recorded:
    """The recorded calls of every model of a home.

    Parameters
    ----------
    columns
        Where predictions are stored.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def calls(self, model: ModelName) -> list[pl.DataFrame]:
        """Return the newest call of each number of rows, the numbers that came most often first, with every
        feature that was kept; none if there are none, or they cannot be read.
        """
        try:
            return _of_each_size(self._newest(model))
        except VarvError as error:
            # Another process may have stored them together meanwhile; and whoever reads them for what they
            # hold reports what is corrupt.
            log(_LOG, logging.WARNING, "recorded.unread", model=model, why=str(error))
            return []

    def _newest(self, model: ModelName) -> pl.DataFrame:
        table = predictions_of(model, self._columns)
        names = self._columns.latest(table, MOST_SEGMENTS)
        parts = list(self._columns.batches(table, names)) if names else []
        return pl.concat(parts, how="diagonal_relaxed") if parts else pl.DataFrame()


def rehearse(model: LoadedModel, signature: Signature, calls: Iterable[pl.DataFrame]) -> int:
    """Let a version answer recorded calls, and return how many it did. It ends with the first that it cannot
    answer, which is logged and no reason to refuse the version, or once `WITHIN_S` seconds are over.
    """
    until, n = wall_seconds() + WITHIN_S, 0
    try:
        for call in calls:
            if wall_seconds() >= until:
                break
            rows = signature.feed(call)
            with UserCode("model", "warmed"):
                model.predict(rows)
            n += 1
    except VarvError as error:
        log(_LOG, logging.WARNING, "recorded.unanswered", after=n, why=str(error))
    return n


def _of_each_size(rows: pl.DataFrame) -> list[pl.DataFrame]:
    if rows.is_empty():
        return []
    # What was answered in one call was answered at one instant.
    sizes = rows["requested_at"].rle().struct.field("len").to_list()
    newest: dict[int, int] = {}
    counted = Counter[int]()
    end = rows.height
    for size in reversed(sizes):
        if rows.height - end + size > MOST_ROWS:
            break
        end -= size
        newest.setdefault(size, end)
        counted[size] += 1
    return [rows.slice(newest[size], size) for size, _ in counted.most_common(MOST_CALLS)]
