"""How errors look over HTTP: one table from codes to statuses, and one body."""

from __future__ import annotations

import msgspec
import polars as pl
from starlette.requests import Request
from starlette.responses import Response

from varv.fronts.frames import columns_of
from varv.kernel.errors import InvalidInput, Unavailable, VarvError

STATUS = {
    "invalid_input": 400,
    "invalid_declaration": 400,
    "unauthenticated": 401,
    "permission_denied": 403,
    "not_found": 404,
    "expired": 410,
    "erased": 410,
    "already_exists": 409,
    "conflict": 409,
    "failed_precondition": 409,
    "rate_limited": 429,
    "corrupt": 500,
    "user_code_failed": 500,
    "internal": 500,
    "unavailable": 503,
    "interrupted": 503,
    "storage_full": 507,
    "deadline_exceeded": 504,
}
"""HTTP status of each error code."""


class TooLarge(InvalidInput):
    """Is larger than allowed."""

    code = "invalid_input"


class UnsupportedMedia(InvalidInput):
    """Is in a form that is not known here."""

    code = "invalid_input"


class TooMuchUnderWay(Unavailable):
    """Comes while too much of others is under way."""

    code = "unavailable"


_OF_CLASS: dict[type[VarvError], int] = {TooLarge: 413, UnsupportedMedia: 415}


def status_of(error: VarvError | type[VarvError]) -> int:
    """Return the HTTP status of an error, or of a class of them."""
    kind = error if isinstance(error, type) else type(error)
    return _OF_CLASS.get(kind, STATUS[kind.code])


def json_response(value: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return `value` as JSON: frames by their columns; what else JSON has no form for is written as text."""
    return Response(in_json(value), status, headers, media_type="application/json")


def in_json(value: object) -> bytes:
    """Return `value` as JSON: frames by their columns; what else JSON has no form for is written as text."""
    return msgspec.json.encode(value, enc_hook=_in_json)


def _in_json(value: object) -> object:
    return columns_of(value) if isinstance(value, pl.DataFrame) else str(value)


def error_headers(error: VarvError) -> dict[str, str]:
    """Return what a client can do about an error: when to try again, or how to say who it is."""
    if error.code == "unauthenticated":
        return {"www-authenticate": "Bearer"}
    return {"retry-after": str(error.facts.get("retry_after_s", 1))} if error.retryable else {}


def require_json(request: Request, *, said: bool = True) -> None:
    """Refuse a body that is not JSON.

    Parameters
    ----------
    said
        Whether a body must say that it is. Clients of inference protocols do not always do.

    Raises
    ------
    InvalidInput
        If the content type is another.
    """
    given = content_type(request)
    if given != "application/json" and (said or given):
        raise not_json(request.url.path, given)


def not_json(path: str, content_type: str) -> InvalidInput:
    """Return the refusal of a body that is something else."""
    hint = "send content-type: application/json"
    return InvalidInput("request", path, "is not JSON", content_type=content_type[:80], hint=hint)


def content_type(request: Request) -> str:
    """Return what a body is said to be, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
