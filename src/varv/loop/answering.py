"""Answering live requests of one model: from typed columns to answers, from memory alone, captured before
they go out.

Requests bring the columns of the requests' dataset that are known when they are made. The time of a request
is the clock's, never the caller's. `loop.live` takes what is captured here into the ledger.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec
import polars as pl

from varv.data.sources import TIME
from varv.features import FeatureEngine
from varv.kernel.clock import Clock, Instant, instant
from varv.kernel.errors import InvalidInput, StorageFull, VarvError
from varv.loop.declaration import Model
from varv.loop.intake import keys_of
from varv.serving import Capture, CaptureLog, DataPlane
from varv.serving.dataplane import ANSWER_SCHEMA

PREDICTIONS = "predictions"
LONGEST_TEXT = 4096
_SLICE = 256
"""Rows that are worked on in one go: whoever else wants the interpreter gets it in between."""


class Served(msgspec.Struct, frozen=True):
    """One captured prediction: the request, its features, and the answer; times as microseconds."""

    key: str
    requested_at: Instant
    request: dict[str, Any]
    features: dict[str, Any]
    answer: dict[str, Any]


class Answers(msgspec.Struct, frozen=True):
    """Answers to requests, one row each with ``key`` and the columns of the answer."""

    rows: pl.DataFrame
    captured: bool
    """Whether they are on record; if not, they are known to nobody but the caller."""


class RequestColumn(msgspec.Struct, frozen=True):
    """A column that a request may bring."""

    name: str
    dtype: str
    required: bool
    may_be_null: bool


class Answering:
    """Answers requests and captures them.

    Parameters
    ----------
    model
        As declared and validated.
    features, dataplane
        Kept up to date by others, while this only reads them.
    log
        Where every answer is captured.
    nullable
        Columns that were sometimes empty in the history, and so may be in a request.
    max_rows
        The most rows of one request.
    capture_required
        Whether a request that the disk has no room to capture is refused rather than answered without.
    """

    def __init__(
        self,
        model: Model,
        features: FeatureEngine,
        dataplane: DataPlane,
        log: CaptureLog,
        clock: Clock,
        *,
        nullable: frozenset[str] = frozenset(),
        max_rows: int = 10_000,
        capture_required: bool = False,
    ) -> None:
        self._model = model
        self._features = features
        self._dataplane = dataplane
        self._log = log
        self._clock = clock
        self._nullable = nullable
        self.max_rows = max_rows
        self._capture_required = capture_required
        self._counting = threading.Lock()
        self._n_uncaptured = 0

    @property
    def model_name(self) -> str:
        """The model that is answered for."""
        return self._model.name

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions that the routing table in force needs; none before the first champion."""
        table = self._dataplane.table
        return () if table is None else tuple(sorted(table.versions))

    @cached_property
    def columns(self) -> dict[str, RequestColumn]:
        """Every column that a request may bring, by name."""
        data = self._model.requests
        needed = {
            *self._features.features.request_columns(),
            *([self._model.unit] if self._model.unit else []),
        }
        needed |= set(data.key) if self._generated is None else set()
        found = {}
        for name, dtype in data.part_types(data.event_time).items():
            if name != data.event_time:
                may_be_null = name not in data.key and (name in self._nullable or name not in needed)
                found[name] = RequestColumn(name, str(dtype), name in needed, may_be_null)
        return found

    @cached_property
    def _generated(self) -> str | None:
        """The key column that takes the request's id where the request brings none."""
        key = self._model.requests.key
        return key[0] if len(key) == 1 and self._types[key[0]] == pl.String else None

    @cached_property
    def _types(self) -> dict[str, pl.DataType]:
        data = self._model.requests
        return data.part_types(data.event_time)

    def answer(self, columns: Mapping[str, Sequence[Any]], request_id: str) -> Answers:
        """Return one row a request; captured when this returns, unless the answer says otherwise.

        Parameters
        ----------
        columns
            Values by column, all of one length, as they came out of JSON.
        request_id
            Names the rows where the requests bring no key of their own.

        Raises
        ------
        InvalidInput
            If a column is missing, unknown, or has a value that does not fit; the column is named.
        Unavailable
            If no version is in force yet.
        StorageFull
            If the disk has no room to capture the answer, and capture is required.
        """
        requests = self._frame(columns, request_id)
        event_time = self._model.requests.event_time
        parts = [self._features.lookup(part, at=event_time) for part in _sliced(requests)]
        features = parts[0] if len(parts) == 1 else pl.concat(parts)
        keys = keys_of(self._model.requests.key, requests)
        unit = keys if self._model.unit is None else requests[self._model.unit].cast(pl.String)
        answers = self._dataplane.infer([text or "" for text in unit.to_list()], features)
        captured = self._capture(keys, requests, features, answers)
        return Answers(answers.hstack([keys]), captured)

    def take_uncaptured(self) -> int:
        """Return how many answers were given without capture since the last call."""
        with self._counting:
            taken, self._n_uncaptured = self._n_uncaptured, 0
        return taken

    def _frame(self, columns: Mapping[str, Sequence[Any]], request_id: str) -> pl.DataFrame:
        n = len(next(iter(columns.values()), ()))
        data = self._model.requests
        if not 1 <= n <= self.max_rows:
            hint = f"send 1 to {self.max_rows} rows"
            raise InvalidInput("request", "", f"has {n} rows", hint=hint, reason="rows", n_rows=n)
        for name in columns:
            if name not in self.columns:
                raise self._unexpected(name)
        series = []
        for name, expected in self.columns.items():
            if name in columns:
                series.append(column_of(name, columns[name], self._types[name], expected))
            elif name == self._generated:
                keys = [request_id] if n == 1 else [f"{request_id}-{number}" for number in range(n)]
                series.append(pl.Series(name, keys))
            elif expected.required:
                hint = f"send {', '.join(c.name for c in self.columns.values() if c.required)}"
                raise InvalidInput("column", name, "is missing", hint=hint, reason="missing")
            else:
                series.append(pl.Series(name, [None] * n, dtype=self._types[name]))
        now = pl.Series(data.event_time, [self._clock.now()] * n, dtype=pl.Int64)
        return pl.DataFrame([*series, now.cast(TIME)])

    def _unexpected(self, name: str) -> InvalidInput:
        data = self._model.requests
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
        return InvalidInput(
            "column", name[:80], "is not known", hint=f"known are {', '.join(self.columns)}", reason="unknown"
        )

    def _capture(
        self, keys: pl.Series, requests: pl.DataFrame, features: pl.DataFrame, answers: pl.DataFrame
    ) -> bool:
        """Write the answers to the log, and return whether it took them."""
        captures: list[Capture] = []
        frames = (keys.to_frame(), requests, features, answers)
        for parts in zip(*map(_sliced, frames), strict=True):
            captures += self._captures(*parts)
        try:
            self._log.write(*captures)
        except StorageFull:
            if self._capture_required:
                raise
            with self._counting:
                self._n_uncaptured += keys.len()
            return False
        return True

    def _captures(
        self, keys: pl.DataFrame, requests: pl.DataFrame, features: pl.DataFrame, answers: pl.DataFrame
    ) -> list[Capture]:
        at = self._model.requests.event_time
        rows = zip(
            keys["key"].to_list(), in_json(requests), features.to_dicts(), answers.to_dicts(), strict=True
        )
        served = (
            Served(key, Instant(request.pop(at)), request, given, answer)
            for key, request, given, answer in rows
        )
        return [Capture(table=PREDICTIONS, row=msgspec.structs.asdict(row)) for row in served]


def _sliced(frame: pl.DataFrame) -> list[pl.DataFrame]:
    if frame.height <= _SLICE:
        return [frame]
    return [frame.slice(first, _SLICE) for first in range(0, frame.height, _SLICE)]


class ServedFrames(msgspec.Struct, frozen=True):
    """Captured predictions as frames: the requests as rows of their dataset, and the predictions for
    telemetry.
    """

    requests: pl.DataFrame
    predictions: pl.DataFrame


def served_frames(model: Model, rows: Sequence[Mapping[str, Any]]) -> ServedFrames:
    """Return what was captured, ready to be ingested."""
    served = [msgspec.convert(row, type=Served) for row in rows]
    data = model.requests
    when = [row.requested_at for row in served]
    types = {
        name: dtype for name, dtype in data.part_types(data.event_time).items() if name != data.event_time
    }
    asked = typed_frame([row.request for row in served], types)
    requests = asked.insert_column(0, pl.Series(data.event_time, when, dtype=pl.Int64).cast(TIME))
    kinds = model.feature_set.kinds
    features = {name: pl.Float32() if kind == "numeric" else pl.String() for name, kind in kinds.items()}
    head = [pl.Series("key", [row.key for row in served], dtype=pl.String)]
    head.append(pl.Series("requested_at", when, dtype=pl.Int64).cast(TIME))
    answers = typed_frame([row.answer for row in served], ANSWER_SCHEMA)
    predictions = (
        pl.DataFrame(head).hstack(answers).hstack(typed_frame([row.features for row in served], features))
    )
    return ServedFrames(requests.select(data.columns(data.event_time)), predictions)


def typed_frame(rows: Sequence[Mapping[str, Any]], types: Mapping[str, Any]) -> pl.DataFrame:
    """Return rows of JSON values as a frame of the given types; times are microseconds."""
    plain = {name: pl.Int64() if dtype == TIME else dtype for name, dtype in types.items()}
    columns = [pl.Series(name, [row.get(name) for row in rows], dtype=dtype) for name, dtype in plain.items()]
    return pl.DataFrame(columns).with_columns(
        pl.col(name).cast(TIME) for name, dtype in types.items() if dtype == TIME
    )


def in_json(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as JSON can hold them: times as microseconds."""
    columns = (column.cast(pl.Int64) if column.dtype == TIME else column for column in frame.get_columns())
    return pl.DataFrame(list(columns)).to_dicts()


def column_of(name: str, values: Sequence[Any], dtype: pl.DataType, expected: RequestColumn) -> pl.Series:
    """Return values out of JSON as a column.

    Raises
    ------
    InvalidInput
        If one is null and must not be, or does not fit; the column is named.
    """
    kinds = set(map(type, values))
    if type(None) in kinds and not expected.may_be_null:
        hint = "give a value: it was never empty in the history"
        raise InvalidInput(
            "column", name, "is null", hint=hint, reason="null", row=_first(values, type(None))
        )
    allowed, wanted = _ALLOWED[
        "float" if dtype.is_float() else "integer" if dtype.is_integer() else str(dtype.base_type())
    ]
    if dtype.is_integer() and float in kinds:
        # Dataframes turn whole numbers beside a null into floats; those are let back in.
        values = [int(value) if type(value) is float and value.is_integer() else value for value in values]
        kinds = set(map(type, values))
    odd = kinds - allowed - {type(None)}
    if odd:
        row = min(_first(values, kind) for kind in odd)
        given = type(values[row]).__name__
        raise InvalidInput(
            "column", name, f"holds {wanted}", hint=f"send {wanted}", reason="type", row=row, given=given
        )
    if dtype.is_float():
        values = [None if value is None else _number(name, value) for value in values]
    if dtype == pl.String and any(value is not None and len(value) > LONGEST_TEXT for value in values):
        raise InvalidInput(
            "column", name, "holds a text that is too long", hint=f"{LONGEST_TEXT} characters at most"
        )
    if dtype == TIME:
        return pl.Series(name, [_time(name, value) for value in values], dtype=pl.Int64).cast(TIME)
    try:
        return pl.Series(name, values, dtype=dtype, strict=True)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        raise InvalidInput(
            "column", name, f"holds {wanted} that fit {dtype}", reason="range", hint="send smaller ones"
        ) from None


_ALLOWED: dict[str, tuple[set[type], str]] = {
    "float": ({int, float}, "numbers"),
    "integer": ({int}, "whole numbers"),
    "Boolean": ({bool}, "truth values"),
    "String": ({str}, "texts"),
    "Datetime": ({str}, "ISO 8601 times"),
}


def _first(values: Sequence[Any], kind: type) -> int:
    return next(number for number, value in enumerate(values) if type(value) is kind)


def _number(name: str, value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    # JSON knows no infinity, but a number that is too large for a double becomes one on the way.
    if not math.isfinite(number):
        raise InvalidInput(
            "column", name, "holds a number that is too large", hint="send null where there is none"
        )
    return number


def _time(name: str, value: str | None) -> int | None:
    try:
        return None if value is None else instant(value)
    except (VarvError, OverflowError):
        raise InvalidInput(
            "column", name, "holds no ISO 8601 time", given=str(value)[:40], hint="2026-02-01T05:00:00Z"
        ) from None
