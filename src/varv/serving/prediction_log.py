"""The log record of a prediction: the request, its features and the answer, as one line of a capture file.

`serving.answering` writes it before the answer goes out; whoever ingests captures reads it back into rows of
the requests' dataset and of the model's predictions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import polars as pl

from varv.data.values import in_json, typed_frame
from varv.kernel.clock import Instant
from varv.kernel.columns import TIME
from varv.kernel.ids import ModelName
from varv.serving.capture import Capture
from varv.serving.schema import RequestSchema
from varv.serving.scores import answer_schema

_TABLE = "predictions"


class Served(msgspec.Struct, frozen=True):
    """One captured prediction; times are microseconds."""

    key: str
    requested_at: Instant
    request: dict[str, Any]
    features: dict[str, Any]
    answer: dict[str, Any]


class ServedFrames(msgspec.Struct, frozen=True):
    """Captured predictions as frames: the requests as rows of their dataset, and the predictions."""

    requests: pl.DataFrame
    predictions: pl.DataFrame


def table_of(model: ModelName) -> str:
    """Return the table by which captured predictions of a model are known in a capture file."""
    return f"{_TABLE}/{model}"


def model_in(table: str, only: ModelName | None) -> ModelName | None:
    """Return the model whose predictions a captured row's table names; None if it names rows of a dataset.

    Parameters
    ----------
    only
        The only model of the home: files of an earlier version of varv name none.
    """
    if table == _TABLE:
        return only
    room, _, model = table.partition("/")
    return ModelName(model) if room == _TABLE else None


def captures(
    schema: RequestSchema,
    keys: pl.Series,
    requests: pl.DataFrame,
    features: pl.DataFrame,
    answers: pl.DataFrame,
) -> list[Capture]:
    """Return the log records of answered requests, a row of each frame a record."""
    at, table = schema.requests.event_time, table_of(schema.model)
    rows = zip(keys.to_list(), in_json(requests), features.to_dicts(), answers.to_dicts(), strict=True)
    served = (
        Served(key, Instant(request.pop(at)), request, given, answer) for key, request, given, answer in rows
    )
    return [Capture(table=table, row=msgspec.structs.asdict(row)) for row in served]


def served_frames(schema: RequestSchema, rows: Sequence[Mapping[str, Any]]) -> ServedFrames:
    """Return what was captured of one model, ready to be ingested."""
    served = [msgspec.convert(row, type=Served) for row in rows]
    data = schema.requests
    when = pl.Series([row.requested_at for row in served], dtype=pl.Int64).cast(TIME)
    types = {name: dtype for name, dtype in schema.types.items() if name != data.event_time}
    asked = typed_frame([row.request for row in served], types)
    requests = asked.insert_column(0, when.alias(data.event_time))
    # Whoever answered before the declaration changed computed other features.
    computed = served[0].features
    features = {name: dtype for name, dtype in schema.feature_types.items() if name in computed}
    head = [pl.Series("key", [row.key for row in served], dtype=pl.String), when.alias("requested_at")]
    answers = typed_frame([row.answer for row in served], answer_schema(schema.task))
    given = typed_frame([row.features for row in served], features)
    predictions = pl.DataFrame(head).hstack(answers).hstack(given)
    return ServedFrames(requests.select(data.columns(data.event_time)), predictions)
