"""The OpenAPI 3.1 description of the data plane: each model in its own form, and the protocols for all."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from varv import __version__
from varv.fronts.inference import explaining, generate, oip, scoring, typed
from varv.fronts.inference.forms import BYTES
from varv.fronts.inference.parquet import PARQUET
from varv.fronts.inference.served import Inference
from varv.fronts.problems import STATUS
from varv.serving import Answering
from varv.serving.explaining import MOST_ROWS

Described = dict[str, Any]
_ANYTHING: Described = {}
# As OpenAPI 3.0 has it: its successor leaves the type out, which generators of clients stumble over.
_FILE: Described = {"type": "string", "format": "binary"}
_REFUSALS = {400: "The request is not sound.", 404: "There is no such model.", 413: "It is too large."}


def document(inference: Inference) -> Described:
    """Return the description of everything that may be asked."""
    several = [oip.InferRequest, scoring.Invocation, scoring.Predict, oip.Answer]
    (infer, invocation, predict, answer), components = msgspec.json.schema_components(
        several, ref_template="#/components/schemas/{name}"
    )
    components = _with_items(components)
    components["Problem"], components["Predictions"] = _PROBLEM, _PREDICTIONS
    names = list(inference.models)
    name, version = _parameter("model", {"enum": names} if names else {}), _parameter("version", {})
    paths: Described = {}
    for one in inference.models.values():
        paths |= _own_paths(one)
    paths |= _read_paths(name, version) | {
        "/v2/models/{model}/infer": {"post": _infer(infer, answer), "parameters": [name]},
        "/v2/models/{model}/versions/{version}/infer": {
            "post": {**_infer(infer, answer), "operationId": "inferVersion"},
            "parameters": [name, version],
        },
        "/invocations/{model}": {"post": _invocations(invocation), "parameters": [name]},
        "/v1/models/{model}:explain": {
            "post": _asked("explain", "Contributions, in KServe's first protocol.", predict, None),
            "parameters": [name, _VERSION],
        },
        "/v1/models/{model}:predict": {
            "post": _asked("predict", "KServe's first protocol.", predict, _SAID),
            "parameters": [name],
        },
    }
    info = {"title": "varv, predictions", "version": __version__}
    token = {"token": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": info,
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": token},
        # Whoever reads this knows whether one is needed.
        "security": [{}, {"token": []}],
    }


def _own_paths(answering: Answering) -> Described:
    """Return what one model may be asked in its own form."""
    model = answering.model
    found: Described = {f"/models/{model}/predict": {"post": _predict(answering)}}
    if generate.text_column(answering) is not None:
        for stream, act in enumerate(("generate", "generate_stream")):
            found[f"/v2/models/{model}/{act}"] = {"post": _generate(answering, act, stream=bool(stream))}
    found[f"/models/{model}/explain"] = {"post": _explain(answering), "parameters": [_VERSION]}
    return found


def _read_paths(name: Described, version: Described) -> Described:
    """Return what may be read of the server and its models.

    Parameters
    ----------
    name, version
        The parameters of a path.
    """
    server = {
        "/v2": _told("server", "What this server is."),
        "/v2/health/live": _told("live", "Whether the process lives."),
        "/v2/health/ready": _told("ready", "Whether every model would answer now.", {503}),
        "/v2/models": _told("models", "The models."),
    }
    model = {
        "": _told("model", "What a request to a model brings.", {404}),
        "/ready": _told("modelReady", "Whether a model would answer now.", {404, 503}),
        "/config": _told("config", "A model's configuration in Triton's terms.", {404}),
        "/stats": _told("stats", "How often and how long a model answered.", {404}),
    }
    of_version = _told("modelVersion", "As of the model, if the version is in force.", {404})
    return {
        **{path: {"get": told} for path, told in server.items()},
        **{f"/v2/models/{{model}}{end}": {"get": told, "parameters": [name]} for end, told in model.items()},
        "/v2/models/{model}/versions/{version}": {"get": of_version, "parameters": [name, version]},
    }


def _predict(answering: Answering) -> Described:
    named = re.sub(r"\W+", "_", answering.model)
    asked = typed.asked_schema(answering) | {"examples": [{"rows": [typed.example_row(answering)]}]}
    summary = f"Predictions of {answering.model}, in its own form."
    return _asked(f"predict_{named}", summary, asked, typed.answer_schema(answering))


def _infer(schema: Described, answer: Described) -> Described:
    described = _asked("infer", "The Open Inference Protocol.", schema, answer)
    # Tensors may come as bytes as well, which is left out: bodies of two forms, one of them a file, make
    # clients that cannot be imported (openapi-python-client 0.29).
    described["responses"]["200"]["content"][BYTES] = {"schema": _FILE}
    return described


def _invocations(schema: Described) -> Described:
    described = _asked("invocations", "MLflow's scoring protocol.", schema, _SAID)
    described["requestBody"]["content"] |= {
        "text/csv": {"schema": {"type": "string"}},
        PARQUET: {"schema": _FILE},
    }
    return described


def _generate(answering: Answering, act: str, *, stream: bool) -> Described:
    named = re.sub(r"\W+", "_", answering.model)
    summary = f"Text in, text out: {answering.model}."
    answer = generate.answer_schema(stream=stream)
    described = _asked(f"{act}_{named}", summary, generate.asked_schema(), answer, refusals={422, 424})
    if stream:
        described["responses"]["200"]["content"] = {"text/event-stream": {"schema": answer}}
    return described


def _explain(answering: Answering) -> Described:
    named = re.sub(r"\W+", "_", answering.model)
    asked = typed.asked_schema(answering) | {"examples": [{"rows": [typed.example_row(answering)]}]}
    asked["properties"]["rows"]["maxItems"] = min(answering.max_rows, MOST_ROWS)
    summary = f"What each feature contributed to predictions of {answering.model}."
    return _asked(f"explain_{named}", summary, asked, explaining.answer_schema(answering.task))


def _asked(
    operation: str,
    summary: str,
    schema: Described,
    answer: Described | None,
    *,
    refusals: set[int] | frozenset[int] = frozenset(),
) -> Described:
    """Return a description of what is sent as JSON, and answered or refused.

    Parameters
    ----------
    schema, answer
        Of what is sent, and of what comes back; None for an object of which no more is said.
    refusals
        Statuses beside the usual ones.
    """
    described = _told(operation, summary, {*_REFUSALS, 415, *STATUS.values(), *refusals}, answer)
    return {**described, "requestBody": {"required": True, "content": _in_json(schema)}}


def _told(
    operation: str,
    summary: str,
    refusals: set[int] | frozenset[int] = frozenset(),
    answer: Described | None = None,
) -> Described:
    answer = answer or {"type": ["object", "array"], "items": {}}
    problem = {"$ref": "#/components/schemas/Problem"}
    responses: Described = {"200": {"description": "The answer.", "content": _in_json(answer)}}
    for status in sorted(refusals):
        said = _REFUSALS.get(status, "See the error.")
        responses[str(status)] = {"description": said, "content": _in_json(problem)}
    return {"operationId": operation, "summary": summary, "responses": responses}


def _with_items(schema: Any) -> Any:
    """Return a schema whose lists all say what they hold, since generators of clients ask that."""
    if isinstance(schema, list):
        return [_with_items(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: _with_items(one) for name, one in schema.items()}
    return {"items": _ANYTHING, **made} if made.get("type") == "array" else made


def _in_json(schema: Described) -> Described:
    return {"application/json": {"schema": schema}}


def _parameter(name: str, more: Described) -> Described:
    schema = {"type": "string", "minLength": 1, **more}
    return {"name": name, "in": "path", "required": True, "schema": schema}


_VERSION: Described = {
    "name": "version",
    "in": "query",
    "required": False,
    "schema": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
}
_PROBLEM: Described = {
    "type": "object",
    "properties": {
        "error": {"type": "string", "description": "What is wrong, and what to do."},
        "error_code": {"type": "string"},
        "field": {"type": "string", "description": "The column or field at fault, if one is."},
        "hint": {"type": "string"},
    },
}
_PREDICTIONS: Described = {
    "type": "object",
    "required": ["predictions"],
    "properties": {
        "predictions": {"type": "array", "items": {}, "description": "Of each row what its task predicts."}
    },
}
_SAID: Described = {"$ref": "#/components/schemas/Predictions"}
