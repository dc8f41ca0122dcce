"""Text in, text out: the generate extension of the Open Inference Protocol, for models whose requests are a
text.

What such a model answers is its prediction, said as a text. It is there at once, so a stream has one event.

Sources: Triton's extension ``generate``, and the protocol's ``generate_rest``, whose statuses are taken.
"""

from __future__ import annotations

from typing import Any

import msgspec

from varv.fronts.inference import oip
from varv.kernel.errors import InvalidInput
from varv.serving import Answering, Answers

Schema = dict[str, Any]


class Generate(msgspec.Struct):
    """A request; what else is at its top is a parameter, and parameters mean nothing to models but
    ``timeout``, in microseconds.
    """

    text_input: str
    id: str = ""
    parameters: dict[str, Any] = {}


class NoText(InvalidInput):
    """Is no model of a text."""


class Generated(msgspec.Struct, omit_defaults=True):
    """An answer."""

    id: str
    model_name: str
    model_version: str
    text_output: str
    done: bool | None = None
    """Said by each event of a stream."""


def text_column(answering: Answering) -> str | None:
    """Return the column of text that is all that a request needs, None if a request needs anything else."""
    required = [one for one in answering.columns.values() if one.required]
    return required[0].name if len(required) == 1 and required[0].dtype == "String" else None


def read(body: bytes, answering: Answering, request_id: str = "") -> oip.Asked:
    """Return what a body asks.

    Parameters
    ----------
    request_id
        What its header calls it.

    Raises
    ------
    NoText
        If the model needs anything else than a text.
    InvalidInput
        If it is not of this form.
    """
    column = text_column(answering)
    if column is None:
        needed = [f"{one.name} ({one.dtype})" for one in answering.columns.values() if one.required]
        problem = f"needs {', '.join(needed[:20]) or 'no column'}, and not one text"
        raise NoText("model", answering.model, problem, hint=f"ask /v2/models/{answering.model}/infer")
    asked = oip.decoded(body, Generate)
    timeout_us = oip.timeout_us(asked.parameters) if asked.parameters else 0
    return oip.Asked({column: [asked.text_input]}, oip.id_of(asked.id or request_id), (), timeout_us)


def written(asked: oip.Asked, answering: Answering, answered: Answers, *, done: bool | None = None) -> bytes:
    """Return an answer as JSON."""
    text, version = text_of(answering, answered), oip.versions_in(answered)
    return msgspec.json.encode(Generated(asked.id, answering.model, version, text, done))


def text_of(answering: Answering, answered: Answers) -> str:
    """Return the one prediction of an answer as a text: the class, the number, or JSON of several numbers; of
    an answer that is transformed its first text, or JSON of all that it shows.
    """
    if answered.shown:
        values = {name: column[0] for name, column in answered.shown.items()}
        first = next((value for value in values.values() if isinstance(value, str)), None)
        return first if first is not None else msgspec.json.encode(values).decode()
    for tensor in answering.task.tensors():
        if tensor.datatype == "BYTES":
            return str(tensor.values(answered.scores)[0])
    [said] = answering.task.plain(answered.scores)
    return said if isinstance(said, str) else msgspec.json.encode(said).decode()


def asked_schema() -> Schema:
    """Return the JSON Schema of a request."""
    text = {"type": "string", "description": "What the model reads."}
    name = {"type": "string", "maxLength": oip.LONGEST_ID, "description": "Comes back with the answer."}
    properties = {"text_input": text, "id": name, "parameters": {"type": "object"}}
    return {"type": "object", "required": ["text_input"], "properties": properties}


def answer_schema(*, stream: bool) -> Schema:
    """Return the JSON Schema of an answer, or of an event of a stream of them."""
    names = ("id", "model_name", "model_version", "text_output")
    properties: Schema = {name: {"type": "string"} for name in names}
    if stream:
        properties["done"] = {"type": "boolean"}
    return {"type": "object", "required": list(properties), "properties": properties}
