"""Protocols as functions of bytes: rows to the body of a request, and the body of an answer to predictions.

Nothing in an answer is believed: shapes, types, lengths and numbers are checked, and what is wrong is said in
one text.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from varv.registry import Rows
from varv.registry.endpoint import DATATYPES, TEXT, Endpoint, Tensor

JSON_BYTES = "inference-header-content-length"
_LENGTH = struct.Struct("<I")


class Garbage(Exception):
    """An answer is none, or not of what was asked; the text says why."""


class Unfit(Exception):
    """Rows cannot be sent as an endpoint reads them; the text says why."""


class _Output(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    data: Any = None
    parameters: dict[str, Any] = {}


class _Answer(msgspec.Struct):
    outputs: list[_Output]


class _Predictions(msgspec.Struct):
    predictions: list[Any]


def request(endpoint: Endpoint, rows: Rows) -> tuple[bytes, dict[str, str]]:
    """Return the body of a request for predictions, and the headers that belong to it.

    Raises
    ------
    Unfit
        If a value is none of its input.
    """
    if endpoint.protocol == "instances":
        return msgspec.json.encode({"instances": _instances(rows)}), {"content-type": "application/json"}
    tensors = [_tensor(tensor, _values(tensor, rows)) for tensor in endpoint.inputs]
    output: dict[str, Any] = {"name": endpoint.output}
    if not endpoint.binary:
        inputs = [
            {**head, "data": values.ravel().tolist()} for head, values in zip(*_apart(tensors), strict=True)
        ]
        body = msgspec.json.encode({"inputs": inputs, "outputs": [output]})
        return body, {"content-type": "application/json"}
    output["parameters"] = {"binary_data": True}
    heads, arrays = _apart(tensors)
    parts = [_in_bytes(values) for values in arrays]
    inputs = [
        {**head, "parameters": {"binary_data_size": len(part)}}
        for head, part in zip(heads, parts, strict=True)
    ]
    head = msgspec.json.encode({"inputs": inputs, "outputs": [output]})
    headers = {"content-type": "application/octet-stream", JSON_BYTES: str(len(head))}
    return b"".join((head, *parts)), headers


def predictions(endpoint: Endpoint, body: bytes, headers: Mapping[str, str], n: int) -> np.ndarray:
    """Return what an answer to n rows predicts, float32 of shape (n,) or (n, several).

    Raises
    ------
    Garbage
        If it predicts nothing, or something that is no number.
    """
    try:
        found = _read(endpoint, body, headers, n)
    except (
        msgspec.MsgspecError,
        ValueError,
        TypeError,
        OverflowError,
        RecursionError,
        struct.error,
    ) as error:
        raise Garbage(f"{type(error).__name__}: {error}"[:200]) from None
    if not np.isfinite(found).all():
        raise Garbage("a prediction is no number")
    return found


def _read(endpoint: Endpoint, body: bytes, headers: Mapping[str, str], n: int) -> np.ndarray:
    if endpoint.protocol == "instances":
        given = msgspec.json.decode(body, type=_Predictions).predictions
        return _of_rows(np.array(_numbers(given), dtype=np.float32), n)
    n_json = int(headers[JSON_BYTES]) if JSON_BYTES in headers else len(body)
    if not 0 <= n_json <= len(body):
        raise Garbage("its JSON ends behind its end")
    at = n_json
    for output in msgspec.json.decode(body[:n_json], type=_Answer).outputs:
        size = output.parameters.get("binary_data_size")
        if size is not None and (type(size) is not int or not 0 <= size <= len(body) - at):
            raise Garbage("an output ends behind its end")
        data = None if size is None else body[at : at + size]
        at += size or 0
        if output.name == endpoint.output:
            return _of_rows(_numbers_of(output, data), n)
    raise Garbage(f"it has no output {endpoint.output!r}")


def _numbers_of(output: _Output, data: bytes | None) -> np.ndarray:
    if output.datatype not in DATATYPES:
        raise Garbage(f"its output is of the datatype {output.datatype[:20]!r}")
    if any(size < 0 for size in output.shape):
        raise Garbage("its output has no shape")
    if data is None:
        values = np.array(_numbers(output.data)).ravel()
    else:
        values = np.frombuffer(data, DATATYPES[output.datatype])
    if values.size != math.prod(output.shape):
        raise Garbage(f"its output has {values.size} values for the shape {output.shape[:8]}")
    return values.reshape(output.shape).astype(np.float32)


def _of_rows(found: np.ndarray, n: int) -> np.ndarray:
    if found.ndim == 0 or found.shape[0] != n:
        raise Garbage(f"it has predictions of shape {found.shape[:8]} for {n} rows")
    return found.reshape(n, -1) if found.ndim > 1 else found


def _numbers(given: Any) -> Any:
    """Return JSON that holds nothing but numbers, in lists of any depth."""
    if not isinstance(given, list):
        if type(given) not in (int, float, bool):
            raise Garbage("a prediction is no number")
        return given
    # By level, not value by value: most are flat.
    if set(map(type, given)) <= {int, float, bool}:
        return given
    return [_numbers(value) for value in given]


def _instances(rows: Rows) -> list[Any]:
    if isinstance(rows, np.ndarray):
        return rows.tolist()
    columns = [values.tolist() for values in rows.values()]
    return [dict(zip(rows, row, strict=True)) for row in zip(*columns, strict=True)]


def _values(tensor: Tensor, rows: Rows) -> np.ndarray:
    return rows if isinstance(rows, np.ndarray) else rows[tensor.name]


def _tensor(tensor: Tensor, values: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
    """Return an input with the values of its datatype."""
    n = len(values)
    shape = [n, *values.shape[1:]] if len(tensor.shape) == 1 or values.ndim > 1 else [n, 1]
    if tensor.datatype != TEXT:
        values = _converted(tensor, values)
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": shape}, values


def _converted(tensor: Tensor, values: np.ndarray) -> np.ndarray:
    dtype = np.dtype(DATATYPES[tensor.datatype])
    if dtype.kind == "f":
        return values.astype(dtype)
    with np.errstate(invalid="ignore"):
        converted = values.astype(dtype)
    if not np.array_equal(converted.astype(np.float64), values.astype(np.float64)):
        raise Unfit(f"the input {tensor.name!r} is {tensor.datatype}, and a value is not")
    return converted


def _apart(
    tensors: Sequence[tuple[dict[str, Any], np.ndarray]],
) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    return [head for head, _ in tensors], [values for _, values in tensors]


def _in_bytes(values: np.ndarray) -> bytes:
    if values.dtype != object:
        return np.ascontiguousarray(values).tobytes()
    texts = [text.encode() for text in values.tolist()]
    return b"".join(part for text in texts for part in (_LENGTH.pack(len(text)), text))
