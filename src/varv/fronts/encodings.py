"""Compressed bodies: ``Content-Encoding`` of requests, ``Accept-Encoding`` of answers."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from varv.fronts.problems import TooLarge, UnsupportedMedia
from varv.kernel.errors import InvalidInput

FEWEST_BYTES = 8 << 10
"""Shorter answers go out as they are: clients accept encodings by default, and each kilobyte takes some ten
microseconds that others wait for.
"""
_LEVEL = 1
# What HTTP calls deflate has zlib's frame (RFC 9110, 8.4.1.2).
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


def inflated(request: Request, body: bytes, most_bytes: int) -> bytes:
    """Return the body of a request as it was before it was compressed.

    Raises
    ------
    UnsupportedMedia
        If it was compressed in a way that is not known here.
    TooLarge
        If it is longer than allowed; no more than that is ever in memory.
    InvalidInput
        If it is not what its head says.
    """
    named = request.headers.get("content-encoding", "").strip().lower()
    if named in ("", "identity"):
        return body
    if named not in _WINDOWS:
        hint = f"send {', '.join(_WINDOWS)} or nothing"
        raise UnsupportedMedia("header", "content-encoding", "is not known", given=named[:40], hint=hint)
    inflating = zlib.decompressobj(_WINDOWS[named])
    try:
        whole = inflating.decompress(body, most_bytes + 1)
    except zlib.error as error:
        raise InvalidInput("request", "body", f"is not {named}", why=str(error)[:100]) from None
    if len(whole) > most_bytes:
        raise TooLarge("request", request.url.path, "is too large", most_bytes=most_bytes, hint="send less")
    if not inflating.eof or inflating.unused_data:
        raise InvalidInput("request", "body", f"is not {named}", why="it is cut, or goes on after its end")
    return whole


def deflated(request: Request, response: Response) -> Response:
    """Compress an answer, if its caller takes that and it is long enough to be worth it."""
    response.body, headers = compressed(request.headers.get("accept-encoding"), bytes(response.body))
    if headers:
        response.headers.update({**headers, "content-length": str(len(response.body))})
    return response


def compressed(accepted: str | None, body: bytes) -> tuple[bytes, Mapping[str, str]]:
    """Return a body as it goes out to a caller who accepts some encodings, and the headers that say so."""
    if accepted is None or len(body) < FEWEST_BYTES:
        return body, {}
    named = next((one for one in _WINDOWS if _accepts(accepted, one)), None)
    if named is None:
        return body, {}
    deflating = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOWS[named])
    headers = {"content-encoding": named, "vary": "accept-encoding"}
    return deflating.compress(body) + deflating.flush(), headers


def _accepts(header: str, name: str) -> bool:
    for one in header.lower().split(","):
        coding, _, parameters = one.partition(";")
        if coding.strip() == name:
            return parameters.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
