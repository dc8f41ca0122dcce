"""The native REST front: ``POST /api/v1/<capability>/<act>`` for every verb, and OpenAPI made from the same
table.

A page of another site must not be able to act through its reader's browser: requests that a browser marks
as coming from elsewhere are refused, and bodies must say that they are JSON, which a form cannot.
"""

from __future__ import annotations

import hmac
import io
from collections.abc import Callable
from typing import Any

import msgspec
import polars as pl
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from varv import __version__
from varv.fronts.frames import Columns
from varv.fronts.gateway import Bodies, require_own_site
from varv.fronts.problems import (
    STATUS,
    error_headers,
    json_response,
    require_json,
    status_of,
)
from varv.kernel.errors import PermissionDenied, VarvError
from varv.kernel.verbs import MOST_REQUEST_BYTES, REVEAL, Verb, VerbTable

PREFIX = "/api/v1"
ARROW = "application/vnd.apache.arrow.stream"
"""What a client accepts that wants the rows of a result as a stream of Arrow instead of JSON."""
MOST_BYTES_TOGETHER = 16 << 20


def create_api(verbs: VerbTable, health: Callable[[], dict[str, Any]], *, token: str = "") -> list[Route]:
    """Return the routes of every verb, of ``/api/openapi.json`` and of ``/health``.

    Parameters
    ----------
    health
        Returns what ``/health`` says.
    token
        If set, every verb that is not a reading one wants it as a bearer token.
    """

    async def healthy(request: Request) -> Response:
        return json_response(health())

    async def described_api(request: Request) -> Response:
        return json_response(openapi(verbs))

    bodies = Bodies(MOST_REQUEST_BYTES, MOST_BYTES_TOGETHER)
    routes = [Route("/health", healthy), Route("/api/openapi.json", described_api)]
    acts = (
        Route(path_of(verb.name), _endpoint(verb, token, bodies), methods=["POST"], name=verb.name)
        for verb in verbs
    )
    return [*routes, *acts]


def path_of(verb: str) -> str:
    """Return the path of a verb.

    Examples
    --------
    >>> path_of("model.rollback")
    '/api/v1/model/rollback'
    """
    return f"{PREFIX}/{verb.replace('.', '/')}"


def openapi(verbs: VerbTable) -> dict[str, Any]:
    """Return the OpenAPI 3.1 description of all verbs."""
    types: list[Any] = [kind for verb in verbs for kind in (verb.request, verb.result)]
    schemas, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}", schema_hook=_any_value
    )
    paths = {}
    for number, verb in enumerate(verbs):
        asked, answered = schemas[2 * number], schemas[2 * number + 1]
        paths[path_of(verb.name)] = {
            "post": {
                "operationId": verb.name,
                "summary": verb.summary,
                "requestBody": {"required": True, "content": {"application/json": {"schema": asked}}},
                "responses": {
                    "200": {"description": "Done.", "content": {"application/json": {"schema": answered}}},
                    **({"207": {"description": _PARTLY}} if _can_be_partly(verb) else {}),
                    **{
                        str(status): {"description": "See the code in the error."}
                        for status in sorted(set(STATUS.values()))
                    },
                },
            }
        }
    info = {"title": "varv", "version": __version__}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": {"schemas": components}}


_PARTLY = "Some rows are accepted, as in 200, and others refused, which are named."


def _can_be_partly(verb: Verb[Any, Any]) -> bool:
    return any(field.name == "n_refused" for field in msgspec.structs.fields(verb.result))


def _any_value(kind: type) -> dict[str, Any]:
    """Return the schema of a field that may hold any JSON value, or a frame, and of no other type that has
    none.
    """
    if kind is pl.DataFrame:
        parts = msgspec.json.schema(Columns)["$defs"]
        return {**parts["Columns"], "properties": {"columns": {"type": "array", "items": parts["Column"]}}}
    if kind is not object:
        raise NotImplementedError
    return {"description": "any JSON value"}


def _endpoint(verb: Verb[Any, Any], token: str, bodies: Bodies) -> Callable[[Request], Any]:
    async def act(request: Request) -> Response:
        try:
            require_own_site(request)
            if verb.permission != "read":
                require_token(request, token)
            if verb.permission == REVEAL and not token:
                hint = "start varv up with a token, or ask where no server runs"
                raise PermissionDenied("verb", verb.name, "needs a server that has a token", hint=hint)
            require_json(request)
            async with bodies.receive(request) as body:
                result = await run_in_threadpool(lambda: verb.run(verb.decode(body)))
                if request.headers.get("accept") == ARROW and isinstance(
                    rows := getattr(result, "rows", None), pl.DataFrame
                ):
                    return _as_arrow(result, rows)
                return json_response(result, status=207 if getattr(result, "n_refused", 0) else 200)
        except VarvError as error:
            return json_response(
                {"error": error.described()}, status=status_of(error), headers=error_headers(error)
            )

    return act


def _as_arrow(result: msgspec.Struct, rows: pl.DataFrame) -> Response:
    """Return the rows of a result as a stream of Arrow, and what else it says in a header."""
    stream = io.BytesIO()
    rows.write_ipc_stream(stream, compat_level=pl.CompatLevel.oldest())
    rest = {name: getattr(result, name) for name in result.__struct_fields__ if name != "rows"}
    said = msgspec.json.encode(rest).decode("ascii")
    return Response(stream.getvalue(), headers={"x-varv-result": said}, media_type=ARROW)


def require_token(request: Request, token: str) -> None:
    """Refuse a request that does not carry the token of the server, if it has one.

    Raises
    ------
    PermissionDenied
        If it does not.
    """
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if token and not hmac.compare_digest(given.encode(), token.encode()):
        hint = "send authorization: Bearer <the token that varv up was started with>"
        raise PermissionDenied("request", request.url.path, "has not the right token", hint=hint)
