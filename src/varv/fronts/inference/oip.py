"""The Open Inference Protocol, version 2: its requests and answers, with tensors in JSON or as bytes.

A body is a JSON text, or one followed by the bytes of its tensors in their order; a header says where they
begin. Whoever gets bytes asks for them: for all outputs, or for one of them.

Sources: the protocol's ``inference_rest``, and Triton's extensions ``binary_data``, ``classification`` and
``schedule_policy``, of which ``timeout`` is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from varv.fronts.datatypes import datatype_of, typed_values
from varv.fronts.inference.tensors import HALVES, array_of, bytes_of, values_of
from varv.fronts.problems import TooLarge
from varv.kernel.errors import InvalidInput
from varv.kernel.ids import new_secret
from varv.serving import Answering, Answers
from varv.serving.matrix import matrix_of, matrix_of_singles
from varv.serving.scores import Scores
from varv.serving.transforms import DATATYPES, Field
from varv.tasks import OutputTensor

JSON_BYTES = "Inference-Header-Content-Length"
"""The header that says how long the JSON before the bytes is."""
LONGEST_ID = 1024
_EMPTY: dict[str, Any] = {"BYTES": "", "INT64": 0, "BOOL": False}
_NO_BYTES = memoryview(b"")
ABOUT = {"version": "INT32", "arm": "BYTES", "key": "BYTES"}
"""What every answer says beside the prediction."""


class Tensor(msgspec.Struct):
    """One input: the values of one request column."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] = {}


class Output(msgspec.Struct):
    """An output that the caller asks for."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct):
    """A request."""

    inputs: list[Tensor]
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[Output] = []


class Wanted(NamedTuple):
    """An output, in the form in which it is asked for."""

    name: str
    binary: bool
    n_classes: int
    """So many of the highest numbers, as texts; 0 for all as numbers."""


class Asked(NamedTuple):
    """A request as it was understood: columns of one length, and what is to be said."""

    columns: Mapping[str, Sequence[Any]]
    id: str
    outputs: tuple[Wanted, ...]
    """Nothing for all of them, in JSON."""
    timeout_us: int = 0
    """How long the caller waits for the answer; 0 for as long as it takes."""

    @property
    def n_rows(self) -> int:
        """How many rows are asked for."""
        return len(next(iter(self.columns.values()), ()))


class Said(NamedTuple):
    """The body of an answer, and how much of it is JSON, None if all is."""

    body: bytes
    json_bytes: int | None


def decoded(body: bytes | memoryview, kind: type[Any]) -> Any:
    """Return what a body of JSON holds.

    Raises
    ------
    InvalidInput
        If it is not JSON, or of another form; the field is named.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        field = path.strip(".`") or "body"
        raise InvalidInput(
            "field", field, f"is not valid: {problem}", hint="see the model's metadata"
        ) from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidInput(
            "request",
            "body",
            "is not JSON",
            why=str(error)[:200],
            hint="write null where a number is missing",
        ) from None


def id_of(given: str) -> str:
    """Return the id of a request: the caller's, whatever it holds, or a new one."""
    if len(given) > LONGEST_ID:
        raise InvalidInput("field", "id", "is too long", hint=f"send {LONGEST_ID} characters at most")
    return given or new_secret(12).hex()


def alone(value: object) -> object:
    """Return the value of a row of one, and any other value as it is."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def read(body: bytes, json_bytes: str | None, answering: Answering, request_id: str = "") -> Asked:
    """Return what a body asks.

    Parameters
    ----------
    json_bytes
        What the header says of the body, if it is there.
    request_id
        Of the request, unless it says one itself.

    Raises
    ------
    InvalidInput
        If it is not of the protocol, or asks for what there is not.
    TooLarge
        If it has more rows than one request may.
    """
    size = _json_bytes(json_bytes, len(body))
    if size == 0 and json_bytes is not None:
        return _raw(body, answering, request_id)
    if size == len(body):
        return understood(decoded(body, InferRequest), _NO_BYTES, answering, request_id)
    whole = memoryview(body)
    return understood(decoded(whole[:size], InferRequest), whole[size:], answering, request_id)


def understood(asked: InferRequest, data: memoryview, answering: Answering, request_id: str = "") -> Asked:
    """Return what a request asks, of whose tensors some may be bytes; it raises as `read`.

    Parameters
    ----------
    data
        The bytes of these tensors, one after the other.
    request_id
        Of the request, unless it says one itself.
    """
    columns = _columns(asked.inputs, data, answering)
    wanted = _wanted(asked, answering) if asked.outputs or asked.parameters else ()
    waits_us = timeout_us(asked.parameters) if asked.parameters else 0
    return Asked(columns, id_of(asked.id or request_id), wanted, waits_us)


class Shown(msgspec.Struct, omit_defaults=True):
    """One output of an answer."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | None = None
    parameters: dict[str, int] | None = None


class Answer(msgspec.Struct):
    """An answer, with the values of every output that was asked for in its ``data``."""

    id: str
    model_name: str
    model_version: str
    parameters: dict[str, Any]
    outputs: list[Shown]


def said(asked: Asked, answering: Answering, answered: Answers) -> Answer:
    """Return an answer to what was asked."""
    if not asked.outputs:
        outputs = [_predicted(tensor, answered.scores) for tensor in answering.tensors]
        if answered.shown:
            outputs += [_transformed(field, answered) for field in answering.fields]
        outputs += [_about(name, answered) for name in ABOUT]
    else:
        outputs = [_output(wanted, answering, answered) for wanted in asked.outputs]
    parameters = {
        "epoch": answered.epoch,
        "arm": arms_in(answered),
        "share": answered.share,
        "captured": answered.captured,
    }
    if answered.flagged:
        parameters["flagged"] = flagged_in(answered)
    return Answer(asked.id, answering.model, versions_in(answered), parameters, outputs)


def written(asked: Asked, answering: Answering, answered: Answers) -> Said:
    """Return the body of an answer."""
    told = said(asked, answering, answered)
    parts: list[bytes] = []
    if asked.outputs:
        for wanted, output in zip(asked.outputs, told.outputs, strict=True):
            if wanted.binary:
                part = bytes_of(output.datatype, without_nulls(output))
                output.data, output.parameters = None, {"binary_data_size": len(part)}
                parts.append(part)
    head = msgspec.json.encode(told)
    return Said(b"".join([head, *parts]), len(head)) if parts else Said(head, None)


def without_nulls(output: Shown) -> list[Any]:
    """Return the values of an output for a form that has nulls for fractions only: an empty text, 0, or
    false in the place of others.
    """
    values, empty = output.data or [], _EMPTY.get(output.datatype)
    if empty is None or None not in values:
        return values
    return [empty if value is None else value for value in values]


def timeout_us(parameters: Mapping[str, Any]) -> int:
    """Return how long a caller waits for its answer, in microseconds; 0 for as long as it takes.

    Raises
    ------
    InvalidInput
        If it is no whole number, or less than none.
    """
    timeout = parameters.get("timeout", 0)
    if type(timeout) is not int or not 0 <= timeout < 1 << 63:
        raise InvalidInput("field", "timeout", "is no time to wait", hint="send whole microseconds")
    return timeout


def versions_in(answered: Answers) -> str:
    """Return the versions that answered."""
    versions = answered.versions
    return str(versions[0]) if len(versions) == 1 else ",".join(map(str, sorted(set(versions))))


def arms_in(answered: Answers) -> str:
    """Return the arms that answered."""
    arms = answered.arms
    return arms[0] if len(arms) == 1 else ",".join(sorted(set(arms)))


def flagged_in(answered: Answers) -> str:
    """Return the columns of which some value broke a check."""
    return ",".join(sorted(answered.flagged))


def outputs_of(answering: Answering) -> dict[str, str]:
    """Return the outputs of a model's answers, and the datatype of each."""
    predicted = {one.name: one.datatype for one in answering.tensors}
    return predicted | {one.name: DATATYPES[one.kind] for one in answering.fields} | ABOUT


def about(answered: Answers) -> dict[str, list[Any]]:
    """Return what every answer says beside the prediction, row by row."""
    return {name: _said_beside(name, answered) for name in ABOUT}


# Requests


def _json_bytes(given: str | None, size: int) -> int:
    if given is None:
        return size
    if not given.isdecimal() or len(given) > 18 or int(given) > size:
        hint = "say how many bytes of the body are JSON"
        raise InvalidInput("header", JSON_BYTES, "does not fit the body", given=given[:20], hint=hint)
    return int(given)


def _raw(body: bytes, answering: Answering, request_id: str) -> Asked:
    """Return what a body without any JSON asks: it is the one tensor of a model of one column."""
    required = [one for one in answering.columns.values() if one.required]
    if len(required) != 1:
        hint = "send the JSON of the protocol before the bytes"
        raise InvalidInput("request", "body", "names no column", n_columns=len(required), hint=hint)
    column, datatype = required[0], datatype_of(required[0].dtype)
    values = values_of(column.name, datatype, memoryview(body))
    _require_rows(len(values), answering.max_rows)
    names = outputs_of(answering)
    found = {column.name: typed_values(column.name, datatype, values, column)}
    return Asked(found, id_of(request_id), tuple(Wanted(name, binary=True, n_classes=0) for name in names))


def _require_rows(n: int, most: int) -> None:
    if n > most:
        raise TooLarge("request", "inputs", f"has {n} rows", hint=f"{most} at most; send it in parts")


def _columns(inputs: Sequence[Tensor], data: memoryview, answering: Answering) -> Mapping[str, Sequence[Any]]:
    if not inputs:
        raise InvalidInput("field", "inputs", "is empty", hint="send one tensor for each request column")
    first = inputs[0]
    if len(inputs) == 1 and len(first.shape) == 2 and first.shape[1] > 1 and answering.positional:
        return _matrix(first, data, answering)
    found: dict[str, Sequence[Any]] = {}
    n, at = first.shape[0] if first.shape else 0, 0
    for tensor in inputs:
        name, size = tensor.name, None
        if name in found or n < 1 or tensor.shape not in ([n], [n, 1]):
            raise _misshapen(tensor, is_known=name in found)
        _require_rows(n, answering.max_rows)
        if tensor.parameters or tensor.data is None:
            size = _binary_size(tensor, len(data) - at)
        values = _values(tensor, None if size is None else data[at : at + size])
        if len(values) != n:
            problem = f"has {len(values)} values for the shape [{n}]"
            raise InvalidInput("column", name[:80], problem, hint="make them agree")
        known_as = _known_as(tensor.datatype, size)
        found[name] = typed_values(name[:80], known_as, values, answering.columns.get(name))
        at += size or 0
    _require_end(data, at)
    return found


def _misshapen(tensor: Tensor, *, is_known: bool) -> InvalidInput:
    name = tensor.name[:80]
    if is_known:
        return InvalidInput("column", name, "is given twice", hint="send one tensor for each column")
    problem = f"has the shape {tensor.shape[:4]}"
    return InvalidInput("column", name, problem, hint="give every tensor the same shape [n], n at least 1")


def _require_end(data: memoryview, at: int) -> None:
    if at < len(data):
        hint = "say the size of each tensor in its parameter binary_data_size"
        raise InvalidInput("request", "body", f"has {len(data) - at} bytes of no tensor", hint=hint)


def _matrix(tensor: Tensor, data: memoryview, answering: Answering) -> Mapping[str, Sequence[Any]]:
    """Return the columns of the one tensor that holds all that a request needs, row by row."""
    names, (n, width) = answering.positional, tensor.shape
    if n < 1 or width != len(names):
        hint = f"send [n, {len(names)}]: {', '.join(names[:20])}"
        raise InvalidInput("column", tensor.name[:80], f"has the shape {tensor.shape}", hint=hint)
    _require_rows(n, answering.max_rows)
    values: Sequence[Any]
    if tensor.data is not None and not tensor.parameters:
        size, known_as = 0, tensor.datatype
        values = tensor.data if len(tensor.data) == n * width else _flat(tensor.data, width)
    else:
        size = _binary_size(tensor, len(data)) or 0
        if size == 4 * n * width == len(data) and tensor.datatype == "FP32":
            return matrix_of_singles(names, array_of(tensor.name, "FP32", data).reshape(n, width))
        values, known_as = _values(tensor, data[:size]), _known_as(tensor.datatype, size)
    _require_end(data, size)
    if len(values) != n * width:
        problem = f"has {len(values)} values for the shape {tensor.shape}"
        raise InvalidInput("column", tensor.name[:80], problem, hint="make them agree")
    typed = typed_values(tensor.name[:80], known_as, values, answering.columns[names[0]])
    return matrix_of(names, typed)


def _flat(data: Sequence[Any], width: int) -> Sequence[Any]:
    """Return the values of a matrix, which may be given row by row."""
    if data and all(type(row) is list and len(row) == width for row in data):
        return [value for row in data for value in row]
    return data


def _binary_size(tensor: Tensor, left: int) -> int | None:
    """Return how many bytes a tensor is, None if its values are in the JSON."""
    size, name = tensor.parameters.get("binary_data_size"), tensor.name[:80]
    if size is None:
        if tensor.data is None:
            raise InvalidInput("column", name, "has no data", hint="send data, or binary_data_size and bytes")
        return None
    if tensor.data is not None:
        raise InvalidInput("column", name, "has data twice", hint="send data or binary_data_size, not both")
    if type(size) is not int or not 0 <= size <= left:
        hint = f"{left} bytes are left of the body"
        raise InvalidInput("column", name, "has a binary_data_size that does not fit the body", hint=hint)
    return size


def _values(tensor: Tensor, data: memoryview | None) -> list[Any]:
    if data is not None:
        return values_of(tensor.name[:80], tensor.datatype, data)
    given = tensor.data or []
    return [alone(value) for value in given] if list in set(map(type, given)) else given


def _known_as(datatype: str, size: int | None) -> str:
    """Return the datatype as which values go on: halves are exact as whole fractions, once they are read."""
    return "FP32" if size is not None and datatype in HALVES else datatype


def _wanted(asked: InferRequest, answering: Answering) -> tuple[Wanted, ...]:
    known = outputs_of(answering)
    all_binary = _flag(asked.parameters, "binary_data_output", default=False)
    if not asked.outputs:
        return tuple(Wanted(name, all_binary, 0) for name in known) if all_binary else ()
    found = []
    for output in asked.outputs:
        if output.name not in known:
            hint = f"there are {', '.join(known)}"
            raise InvalidInput("field", "outputs", f"asks for {output.name[:80]!r}", hint=hint)
        n_classes = output.parameters.get("classification", 0)
        if type(n_classes) is not int or n_classes < 0:
            raise InvalidInput("field", "classification", "is no number of classes", hint="send 1 or more")
        is_made = any(one.name == output.name for one in answering.fields)
        if n_classes and (is_made or known[output.name] == "BYTES"):
            hint = "ask for it of an output of numbers"
            raise InvalidInput("field", "classification", f"is asked of {output.name!r}", hint=hint)
        binary = _flag(output.parameters, "binary_data", default=all_binary)
        found.append(Wanted(output.name, binary, n_classes))
    return tuple(found)


def _flag(parameters: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise InvalidInput("field", name, "is neither true nor false", hint="send true or false")
    return value


# Answers


def _output(wanted: Wanted, answering: Answering, answered: Answers) -> Shown:
    if wanted.name in ABOUT:
        return _about(wanted.name, answered)
    field = next((one for one in answering.fields if one.name == wanted.name), None)
    if field is not None:
        return _transformed(field, answered)
    tensor = next(one for one in answering.tensors if one.name == wanted.name)
    output = _predicted(tensor, answered.scores)
    return _classified(output, wanted.n_classes, answering.task.outputs) if wanted.n_classes else output


def _predicted(tensor: OutputTensor, predicted: Scores) -> Shown:
    shape = [len(predicted), *tensor.tail]
    return Shown(tensor.name, tensor.datatype, shape, tensor.values(predicted))


def _transformed(field: Field, answered: Answers) -> Shown:
    values = list(answered.shown[field.name])
    return Shown(field.name, DATATYPES[field.kind], [len(values)], values)


def _about(name: str, answered: Answers) -> Shown:
    return Shown(name, ABOUT[name], [len(answered.keys)], _said_beside(name, answered))


def _said_beside(name: str, answered: Answers) -> list[Any]:
    values = {"version": answered.versions, "arm": answered.arms, "key": answered.keys}[name]
    return values if type(values) is list else list(values)


def _classified(output: Shown, n_classes: int, labels: Sequence[str]) -> Shown:
    """Return an output as its highest numbers, each as ``value:index:label``."""
    numbers = np.array(output.data, np.float64).reshape(output.shape[0], -1)
    width = numbers.shape[1]
    best = np.argsort(-numbers, axis=1, kind="stable")[:, :n_classes]
    named: Iterable[str] = labels if len(labels) == width else [""] * width
    names = list(named)
    texts = [
        f"{numbers[row, index]:f}:{index}" + (f":{names[index]}" if names[index] else "")
        for row in range(len(numbers))
        for index in best[row].tolist()
    ]
    return Shown(output.name, "BYTES", list(best.shape), texts)
