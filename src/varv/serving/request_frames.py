"""Requests of one model as frames: how the general way types them, and looks their features up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import polars as pl

from varv.data.values import ExpectedColumn, column_of
from varv.features import FeatureEngine
from varv.kernel.clock import Instant
from varv.kernel.columns import TIME
from varv.kernel.errors import InvalidInput
from varv.serving.schema import RequestSchema, generated_keys

_SLICE = 256
"""Rows that are worked on in one go: whoever else wants the interpreter gets it in between."""


class RequestFrames:
    """Makes frames of requests.

    Parameters
    ----------
    schema
        What a request is.
    features
        Kept up to date by others, while this only reads them.
    nullable
        Columns that were sometimes empty in the history, and so may be in a request.
    max_rows
        The most rows of one request.
    """

    def __init__(
        self, schema: RequestSchema, features: FeatureEngine, nullable: frozenset[str], max_rows: int
    ) -> None:
        self._schema = schema
        self._features = features
        self._nullable = nullable
        self.max_rows = max_rows

    @cached_property
    def columns(self) -> dict[str, ExpectedColumn]:
        """Every column that a request may bring, by name."""
        return self._schema.columns(self._nullable)

    def frame(self, columns: Mapping[str, Sequence[Any]], request_id: str, now: Instant) -> pl.DataFrame:
        """Return the columns of requests as a frame, with their instant.

        Raises
        ------
        InvalidInput
            If a column is missing, unknown, or has a value that does not fit; the column is named.
        """
        n = len(next(iter(columns.values()), ()))
        data, types = self._schema.requests, self._schema.types
        if not 1 <= n <= self.max_rows:
            hint = f"send 1 to {self.max_rows} rows"
            raise InvalidInput("request", "", f"has {n} rows", hint=hint, reason="rows", n_rows=n)
        for name in columns:
            if name not in self.columns:
                raise self._unexpected(name)
        series = []
        for name, expected in self.columns.items():
            if name in columns:
                series.append(column_of(name, columns[name], types[name], expected))
            elif name == self._schema.generated_key:
                series.append(pl.Series(name, generated_keys(request_id, n)))
            elif expected.required:
                hint = f"send {', '.join(c.name for c in self.columns.values() if c.required)}"
                raise InvalidInput("column", name, "is missing", hint=hint, reason="missing")
            else:
                series.append(pl.Series(name, [None] * n, dtype=types[name]))
        when = pl.Series(data.event_time, [now] * n, dtype=pl.Int64)
        return pl.DataFrame([*series, when.cast(TIME)])

    def _unexpected(self, name: str) -> InvalidInput:
        data = self._schema.requests
        if name == data.event_time:
            return InvalidInput(
                "column",
                name,
                "is not the caller's to say",
                hint="leave it out: it is the time of the request",
            )
        if name in data.types():
            hint = "leave it out, and send it later with outcome.record"
            return InvalidInput("column", name, "is only known after the request", hint=hint, reason="later")
        hint = f"the columns are {', '.join(self.columns)}"
        return InvalidInput("column", name[:80], "does not exist", hint=hint, reason="unknown")

    def looked_up(self, requests: pl.DataFrame) -> pl.DataFrame:
        """Return the features of requests, each as of its own instant."""
        event_time = self._schema.requests.event_time
        parts = [self._features.lookup(part, at=event_time) for part in _sliced(requests)]
        return parts[0] if len(parts) == 1 else pl.concat(parts)


def _sliced(frame: pl.DataFrame) -> list[pl.DataFrame]:
    if frame.height <= _SLICE:
        return [frame]
    return [frame.slice(first, _SLICE) for first in range(0, frame.height, _SLICE)]
