"""Predictions asked of a server's data plane, in the Open Inference Protocol."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec
import polars as pl

from varv.app.client.rows import sendable
from varv.fronts.client import Client
from varv.fronts.datatypes import datatype_of
from varv.kernel.errors import Corrupt


class _Tensor(msgspec.Struct, frozen=True):
    """An output of the Open Inference Protocol."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


class _Input(msgspec.Struct, frozen=True):
    """A column of a model's requests."""

    name: str
    datatype: str


class _Metadata(msgspec.Struct, frozen=True):
    """What a model says of itself."""

    inputs: list[_Input]


class _Captured(msgspec.Struct, frozen=True):
    captured: bool = True


class _Inferred(msgspec.Struct, frozen=True):
    """An answer of the Open Inference Protocol."""

    outputs: list[_Tensor]
    parameters: _Captured = _Captured()


def inferred(client: Client, model: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Return what a model answers to rows, as `Server.predict` gives it.

    Raises
    ------
    VarvError
        What the server raised, of the same class.
    Corrupt
        If it does not answer as varv does.
    """
    place = f"/v2/models/{quote(str(model), safe='')}"
    # Of a column without any value only the model knows what it holds.
    kinds = _datatypes(client, place) if pl.Null in rows.dtypes else dict[str, str]()
    inputs = [
        {
            "name": series.name,
            "shape": [rows.height],
            "datatype": kinds.get(series.name, "BYTES")
            if series.dtype == pl.Null
            else datatype_of(str(series.dtype)),
            "data": series.to_list(),
        }
        for series in map(sendable, rows.get_columns())
    ]
    said = client.post(f"{place}/infer", {"inputs": inputs})
    try:
        found = msgspec.convert(said, type=_Inferred)
        columns = [_output(tensor, rows.height) for tensor in found.outputs]
        frame = pl.DataFrame(columns).with_columns(captured=pl.lit(value=found.parameters.captured))
    except (ValueError, TypeError, pl.exceptions.PolarsError) as error:
        raise _strange(client, str(error)) from None
    head = [name for name in ("key",) if name in frame.columns]
    return frame.select(*head, pl.exclude("key", "version", "arm", "captured"), *_about(frame))


def _datatypes(client: Client, place: str) -> dict[str, str]:
    """Return the datatype of each column of a model's requests."""
    try:
        found = msgspec.convert(client.get(place), type=_Metadata)
    except msgspec.ValidationError as error:
        raise _strange(client, str(error)) from None
    return {one.name: one.datatype for one in found.inputs}


def _strange(client: Client, why: str) -> Corrupt:
    hint = "is it the inference port of varv, of the same version?"
    return Corrupt("server", client.url, "does not answer as varv does", why=why[:200], hint=hint)


def _about(frame: pl.DataFrame) -> list[str]:
    return [name for name in ("version", "arm", "captured") if name in frame.columns]


def _output(tensor: _Tensor, n_rows: int) -> pl.Series:
    width = 1
    for size in tensor.shape[1:]:
        width *= size
    if tensor.shape[:1] != [n_rows] or width < 1 or len(tensor.data) != n_rows * width:
        raise ValueError(f"output {tensor.name[:80]!r} of another shape")
    values = pl.Series(tensor.name, tensor.data, strict=True)
    return values if len(tensor.shape) == 1 or width == 1 else values.reshape((n_rows, width))
