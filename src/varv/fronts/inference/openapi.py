"""The OpenAPI 3.1 description of the data plane: each model in its own form, and the protocols for all."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from varv import __version__
from varv.fronts.inference import generate, oip, scoring, typed
from varv.fronts.inference.served import Inference
from varv.fronts.problems import STATUS
from varv.serving import Answering

Described = dict[str, Any]
_REFUSALS = {400: "The request is not sound.", 404: "There is no such model.", 413: "It is too large."}


def document(inference: Inference) -> Described:
    """Return the description of everything that may be asked."""
    requests, components = msgspec.json.schema_components(
        [oip.InferRequest, scoring.Invocation, scoring.Predict], ref_template="#/components/schemas/{name}"
    )
    components["Problem"] = _PROBLEM
    name, version = _parameter("model"), _parameter("version")
    paths: Described = {}
    for one in inference.models.values():
        paths[f"/models/{one.model}/predict"] = {"post": _predict(one)}
        if generate.text_column(one) is not None:
            for stream, act in enumerate(("generate", "generate_stream")):
                paths[f"/v2/models/{one.model}/{act}"] = {"post": _generate(one, act, stream=bool(stream))}
    paths |= {
        "/v2": {"get": _told("server", "What this server is.")},
        "/v2/health/live": {"get": _told("live", "Whether the process lives.")},
        "/v2/health/ready": {"get": _told("ready", "Whether every model would answer now.", {503})},
        "/v2/models": {"get": _told("models", "The models.")},
        "/v2/models/{model}": {
            "get": _told("model", "What a request to a model brings.", {404}),
            "parameters": [name],
        },
        "/v2/models/{model}/ready": {
            "get": _told("modelReady", "Whether a model would answer now.", {404, 503}),
            "parameters": [name],
        },
        "/v2/models/{model}/config": {
            "get": _told("config", "A model's configuration in Triton's terms.", {404}),
            "parameters": [name],
        },
        "/v2/models/{model}/stats": {
            "get": _told("stats", "How often and how long a model answered.", {404}),
            "parameters": [name],
        },
        "/v2/models/{model}/versions/{version}": {
            "get": _told("modelVersion", "As of the model, if the version is in force.", {404}),
            "parameters": [name, version],
        },
        "/v2/models/{model}/infer": {
            "post": _asked("infer", "The Open Inference Protocol.", requests[0]),
            "parameters": [name],
        },
        "/invocations/{model}": {
            "post": _asked("invocations", "MLflow's scoring protocol.", requests[1]),
            "parameters": [name],
        },
        "/v1/models/{model}:predict": {
            "post": _asked("predict", "KServe's first protocol.", requests[2]),
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


def _predict(answering: Answering) -> Described:
    named = re.sub(r"\W+", "_", answering.model)
    asked = typed.asked_schema(answering) | {"examples": [{"rows": [typed.example_row(answering)]}]}
    described = _asked(f"predict_{named}", f"Predictions of {answering.model}, in its own form.", asked)
    described["responses"]["200"]["content"] = _in_json(typed.answer_schema(answering.task))
    return described


def _generate(answering: Answering, act: str, *, stream: bool) -> Described:
    named = re.sub(r"\W+", "_", answering.model)
    summary = f"Text in, text out: {answering.model}."
    described = _asked(f"{act}_{named}", summary, generate.asked_schema(), {422, 424})
    kind = "text/event-stream" if stream else "application/json"
    answer = {kind: {"schema": generate.answer_schema(stream=stream)}}
    described["responses"]["200"]["content"] = answer
    return described


def _asked(operation: str, summary: str, schema: Described, more: set[int] | None = None) -> Described:
    """Return a description of what is sent as JSON, and answered or refused.

    Parameters
    ----------
    more
        Statuses of refusals beside the usual ones.
    """
    described = _told(operation, summary, {*_REFUSALS, 415, *STATUS.values(), *(more or ())})
    return {**described, "requestBody": {"required": True, "content": _in_json(schema)}}


def _told(operation: str, summary: str, refusals: set[int] | frozenset[int] = frozenset()) -> Described:
    problem = {"$ref": "#/components/schemas/Problem"}
    responses: Described = {
        "200": {"description": "The answer.", "content": _in_json({"type": ["object", "array"]})}
    }
    for status in sorted(refusals):
        said = _REFUSALS.get(status, "See the error.")
        responses[str(status)] = {"description": said, "content": _in_json(problem)}
    return {"operationId": operation, "summary": summary, "responses": responses}


def _in_json(schema: Described) -> Described:
    return {"application/json": {"schema": schema}}


def _parameter(name: str) -> Described:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


_PROBLEM: Described = {
    "type": "object",
    "properties": {
        "error": {"type": "string", "description": "What is wrong, and what to do."},
        "error_code": {"type": "string"},
        "field": {"type": "string", "description": "The column or field at fault, if one is."},
        "hint": {"type": "string"},
    },
}
