"""The log record of predictions: requests that were answered together, their features and the answers, as one
line of a capture file.

`serving.answering` writes it before the answers go out; whoever ingests captures reads it back into rows of
the requests' dataset and of the model's predictions. Which columns a line holds is said once a file, in a
line of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, groupby
from typing import Any

import msgspec
import numpy as np
import polars as pl

from varv.data.values import typed_frame
from varv.features.engine import typed_feature
from varv.features.program import column_of_doubles
from varv.kernel.clock import Instant
from varv.kernel.columns import TIME
from varv.kernel.ids import ModelName
from varv.serving.blocks import Block, FeatureRows, Layout, RequestRows, block_of
from varv.serving.capture import Capture, encoded_line, is_short
from varv.serving.schema import RequestSchema
from varv.serving.scored import Scored, answers_frame
from varv.serving.scores import answer_schema

_TABLE = "predictions"
MOST_ROWS = 1024
"""Of one line."""


class Served(msgspec.Struct, frozen=True):
    """One captured prediction, as earlier versions of varv wrote it; times are microseconds."""

    key: str
    requested_at: Instant
    request: dict[str, Any]
    features: dict[str, Any]
    answer: dict[str, Any]


class ServedFrames(msgspec.Struct, frozen=True):
    """Captured predictions as frames: the requests as rows of their dataset, and the predictions."""

    requests: pl.DataFrame
    predictions: pl.DataFrame


class Recorder:
    """Makes the lines of one model's predictions.

    Parameters
    ----------
    model
        Whose they are.
    layout
        How they lie in a line.
    """

    def __init__(self, model: ModelName, layout: Layout) -> None:
        self._table = table_of(model)
        self._layout = layout
        self.head = encoded_line(Capture(table=self._table, layout=layout))
        """What a file that holds lines has to hold before them."""
        self._before = b'{"table":' + msgspec.json.encode(self._table) + b',"block":'

    def lines(self, at: Instant, requests: RequestRows, features: FeatureRows, said: Scored) -> list[bytes]:
        """Return the lines of requests that were answered at an instant: one, or as many as it takes.

        Raises
        ------
        InvalidInput
            If a single row is longer than a line may be.
        """
        n = len(said)
        if n <= MOST_ROWS:
            block = msgspec.json.encode(block_of(self._layout, at, requests, features, said))
            line = self._before + block + b"}"
            if is_short(self._table, line, refuse=n == 1):
                return [line]
        parts = slice(0, n // 2), slice(n // 2, n)
        return [
            line
            for rows in parts
            for line in self.lines(at, requests.part(rows), features.part(rows), said.part(rows))
        ]


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


def served_frames(schema: RequestSchema, captures: Sequence[Capture]) -> ServedFrames:
    """Return what was captured of one model in a file, ready to be ingested."""
    layouts = {one.layout.digest: one.layout for one in captures if one.layout is not None}
    rows = [one.row for one in captures if one.row is not None]
    parts = [_frames_of_rows(schema, rows)] if rows else []
    blocks = (one.block for one in captures if one.block is not None)
    for layout, several in groupby(blocks, key=lambda block: block.layout):
        parts.append(_frames_of_blocks(schema, layouts[layout], list(several)))
    if len(parts) == 1:
        return parts[0]
    # Whoever answered before the declaration changed computed other features.
    predictions = pl.concat([part.predictions for part in parts], how="diagonal")
    return ServedFrames(pl.concat([part.requests for part in parts]), predictions)


def _frames_of_blocks(schema: RequestSchema, layout: Layout, blocks: Sequence[Block]) -> ServedFrames:
    sizes = [block.n_rows for block in blocks]
    n = sum(sizes)
    when = pl.Series(np.repeat([block.at for block in blocks], sizes), dtype=pl.Int64).cast(TIME)
    asked = _request_columns(schema, layout, blocks, n)
    data = schema.requests
    requests = pl.DataFrame([when.alias(data.event_time), *asked.values()])
    answers = pl.concat(_answers(schema, blocks))
    keys = asked[layout.key] if layout.key else _texts("key", [block.keys for block in blocks])
    head = [keys.alias("key"), when.alias("requested_at")]
    found = pl.DataFrame(head).hstack(answers).hstack(schema.grouped(requests))
    features = _feature_columns(schema, layout, blocks, asked, n)
    return ServedFrames(requests.select(data.columns(data.event_time)), found.hstack(features))


def _request_columns(
    schema: RequestSchema, layout: Layout, blocks: Sequence[Block], n: int
) -> dict[str, pl.Series]:
    """Return the columns of requests but for their time; those that the dataset has gained since are null."""
    types = {name: dtype for name, dtype in schema.types.items() if name != schema.requests.event_time}
    numbers = np.concatenate([block.doubles for block in blocks]).reshape(n, -1)
    places = {name: place for place, name in enumerate(layout.numbers)}
    text_places = {name: place for place, name in enumerate(layout.texts)}
    wide = {name for block in blocks for name in block.wide}
    found = {}
    for name, dtype in types.items():
        if name in wide:
            found[name] = pl.Series(name, _wide(name, places[name], blocks), dtype=dtype)
        elif name in places:
            found[name] = column_of_doubles(name, numbers[:, places[name]], dtype)
        elif name in text_places:
            found[name] = _texts(name, [block.texts[text_places[name]] for block in blocks])
        else:
            found[name] = pl.Series(name, [None] * n, dtype=dtype)
    return found


def _feature_columns(
    schema: RequestSchema,
    layout: Layout,
    blocks: Sequence[Block],
    asked: Mapping[str, pl.Series],
    n: int,
) -> list[pl.Series]:
    """Return the features that were computed and are still known."""
    computed = np.frombuffer(b"".join(block.computed for block in blocks), np.float32).reshape(n, -1)
    places = {name: place for place, name in enumerate(layout.computed)}
    text_places = {name: place for place, name in enumerate(layout.computed_texts)}
    found = []
    for name in schema.feature_types:
        if name in layout.passed:
            found.append(typed_feature(asked[name], name, schema.features.kinds[name]))
        elif name in places:
            found.append(pl.Series(name, computed[:, places[name]], nan_to_null=True))
        elif name in text_places:
            found.append(_texts(name, [block.computed_texts[text_places[name]] for block in blocks]))
    return found


def _answers(schema: RequestSchema, blocks: Sequence[Block]) -> Iterator[pl.DataFrame]:
    """Yield the answers of blocks in their order, those by one table together."""
    for _, group in groupby(blocks, key=_answered_by):
        several = list(group)
        joined = {name: b"".join(getattr(block, name) for block in several) for name in _JOINED}
        together = msgspec.structs.replace(
            several[0],
            n_rows=sum(block.n_rows for block in several),
            marks=[mark for block in several for mark in block.marks],
            flagged=_flagged(several),
            **joined,
        )
        answers = answers_frame(schema.task, together.said)
        for name in ("champion_ms", "candidate_ms"):
            of_each = [getattr(block, name) for block in several]
            if of_each != [None] * len(several):
                took = [
                    value
                    for block, value in zip(several, of_each, strict=True)
                    for value in (value, *[None] * (block.n_rows - 1))
                ]
                answers = answers.with_columns(pl.Series(name, took, dtype=pl.Float32))
        yield answers


_JOINED = ("coins", "champion_scores", "candidate_scores", "former_scores", "other_scores")


def _flagged(several: Sequence[Block]) -> dict[str, list[int]]:
    """Return the flagged rows of blocks, counted over all of them."""
    found: dict[str, list[int]] = {}
    first = 0
    for block in several:
        for name, places in block.flagged.items():
            found.setdefault(name, []).extend(first + place for place in places)
        first += block.n_rows
    return found


def _answered_by(block: Block) -> tuple[Any, ...]:
    said_along = (
        bool(block.candidate_scores),
        bool(block.former_scores),
        bool(block.marks),
        block.other_version,
    )
    return block.epoch, block.champion, block.candidate, block.former, block.share, *said_along


def _wide(name: str, place: int, blocks: Sequence[Block]) -> list[int | None]:
    found: list[int | None] = []
    for block in blocks:
        plain = block.doubles.reshape(block.n_rows, -1)[:, place].tolist()
        found += block.wide.get(name, [None if value != value else int(value) for value in plain])
    return found


def _texts(name: str, several: Sequence[Sequence[str | None]]) -> pl.Series:
    return pl.Series(name, list(chain.from_iterable(several)), dtype=pl.String)


def _frames_of_rows(schema: RequestSchema, rows: Sequence[Mapping[str, Any]]) -> ServedFrames:
    """Return what an earlier version of varv captured, a prediction a line."""
    served = [msgspec.convert(row, type=Served) for row in rows]
    data = schema.requests
    when = pl.Series([row.requested_at for row in served], dtype=pl.Int64).cast(TIME)
    types = {name: dtype for name, dtype in schema.types.items() if name != data.event_time}
    asked = typed_frame([row.request for row in served], types)
    requests = asked.insert_column(0, when.alias(data.event_time))
    computed = served[0].features
    features = {name: dtype for name, dtype in schema.feature_types.items() if name in computed}
    head = [pl.Series("key", [row.key for row in served], dtype=pl.String), when.alias("requested_at")]
    answers = typed_frame([row.answer for row in served], answer_schema(schema.task))
    given = typed_frame([row.features for row in served], features)
    predictions = pl.DataFrame(head).hstack(answers).hstack(given)
    return ServedFrames(requests.select(data.columns(data.event_time)), predictions)
