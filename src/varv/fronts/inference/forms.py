"""The forms in which predictions are asked for: how each is read, and how its answer is written.

They are functions of bytes, so that whoever receives a request can use them: the application, or the hot path
in front of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

import msgspec

from varv.fronts.inference import generate, oip, scoring, typed
from varv.fronts.inference.parquet import PARQUET, ParquetReader
from varv.fronts.problems import (
    TooMuchUnderWay,
    UnsupportedMedia,
    error_headers,
    in_json,
    not_json,
    status_of,
)
from varv.kernel.errors import InvalidInput, UserCodeFailed, VarvError
from varv.serving import Answering, Answers

JSON = "application/json"
BYTES = "application/octet-stream"
EVENTS = "text/event-stream; charset=utf-8"


class Given(NamedTuple):
    """What the headers of a request say that matters to its form."""

    path: str
    content_type: str = ""
    """With its parameters."""
    json_bytes: str | None = None
    request_id: str = ""


class Reply(NamedTuple):
    """The answer to a request."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: Mapping[str, str] = MappingProxyType({})


class Form(Protocol):
    """One way to ask for predictions."""

    def require(self, given: Given) -> None:
        """Refuse what is not of this form by its headers.

        Raises
        ------
        InvalidInput
            If it is not.
        """
        ...

    def read(self, body: bytes, given: Given, answering: Answering) -> oip.Asked:
        """Return what a body asks.

        Raises
        ------
        InvalidInput
            If it is not of this form.
        TooLarge
            If it has more rows than one request may.
        """
        ...

    def write(self, asked: oip.Asked, answering: Answering, answered: Answers) -> Reply:
        """Return an answer."""
        ...

    def refused(self, error: VarvError) -> Reply:
        """Return a refusal."""
        ...


class _Refusing:
    """What is refused in a body that clients of all protocols understand."""

    def refused(self, error: VarvError) -> Reply:
        """Return a refusal."""
        return refusal(error)


class Inferring(_Refusing):
    """The Open Inference Protocol, version 2."""

    def require(self, given: Given) -> None:
        """Refuse what is neither JSON nor bytes."""
        # Clients call JSON so too, once they may ask for bytes.
        if plain_type(given.content_type) not in ("", JSON, BYTES):
            raise not_json(given.path, given.content_type)

    def read(self, body: bytes, given: Given, answering: Answering) -> oip.Asked:
        """Return what a body asks."""
        return oip.read(body, given.json_bytes, answering, given.request_id)

    def write(self, asked: oip.Asked, answering: Answering, answered: Answers) -> Reply:
        """Return an answer."""
        body, json_bytes = oip.written(asked, answering, answered)
        headers = answer_headers(answered, asked.id)
        if json_bytes is None:
            return Reply(body, headers=headers)
        headers[oip.JSON_BYTES.lower()] = str(json_bytes)
        return Reply(body, content_type=BYTES, headers=headers)


class _Scoring(_Refusing):
    """What answers as scoring clients take it."""

    def write(self, asked: oip.Asked, answering: Answering, answered: Answers) -> Reply:
        """Return an answer."""
        plain = _transformed(answered) if answered.shown else answering.task.plain(answered.scores)
        told = {"predictions": plain}
        return Reply(msgspec.json.encode(told), headers=answer_headers(answered, asked.id))


def _transformed(answered: Answers) -> list[Any]:
    """Return what a transformation shows of each row: a value, or an object of several by their names."""
    columns = [list(values) for values in answered.shown.values()]
    if len(columns) == 1:
        return columns[0]
    return [dict(zip(answered.shown, row, strict=True)) for row in zip(*columns, strict=True)]


class Invoking(_Scoring):
    """MLflow's scoring protocol.

    Parameters
    ----------
    parquet
        Reads bodies of Parquet, which takes a thread; None where there is none to spare, and such a body is
        refused.
    """

    def __init__(self, parquet: ParquetReader | None = None) -> None:
        self._readers: dict[str, Callable[[bytes, Answering], scoring.Columns]] = {
            "": scoring.read_invocation,
            JSON: scoring.read_invocation,
            "text/csv": scoring.columns_of_csv,
        }
        if parquet is not None:
            self._readers[PARQUET] = parquet.columns

    def require(self, given: Given) -> None:
        """Refuse types and charsets that are not read."""
        said = _type_in_utf8(given.content_type)
        if said not in self._readers:
            hint = f"send {JSON}, text/csv or {PARQUET}"
            problem = "is of a type that is not read here"
            raise UnsupportedMedia("request", "body", problem, content_type=said[:80], hint=hint)

    def read(self, body: bytes, given: Given, answering: Answering) -> oip.Asked:
        """Return what a body asks."""
        columns = self._readers[_type_in_utf8(given.content_type)](body, answering)
        return oip.Asked(columns, oip.id_of(given.request_id), ())


class Predicting(_Scoring):
    """KServe's first protocol."""

    def require(self, given: Given) -> None:
        """Refuse what says that it is not JSON."""
        if plain_type(given.content_type) not in ("", JSON):
            raise not_json(given.path, given.content_type)

    def read(self, body: bytes, given: Given, answering: Answering) -> oip.Asked:
        """Return what a body asks."""
        return oip.Asked(scoring.read_predict(body, answering), oip.id_of(given.request_id), ())


class Typed(_Refusing):
    """The form of a model's own."""

    def require(self, given: Given) -> None:
        """Refuse what does not say that it is JSON."""
        if plain_type(given.content_type) != JSON:
            raise not_json(given.path, given.content_type)

    def read(self, body: bytes, given: Given, answering: Answering) -> oip.Asked:
        """Return what a body asks."""
        return typed.read(body, answering, given.request_id)

    def write(self, asked: oip.Asked, answering: Answering, answered: Answers) -> Reply:
        """Return an answer."""
        told = typed.written(asked, answering, answered)
        return Reply(msgspec.json.encode(told), headers=answer_headers(answered, asked.id))


class Generating:
    """Text in, text out.

    Parameters
    ----------
    stream
        Whether the answer is an event of a stream.
    """

    def __init__(self, *, stream: bool) -> None:
        self._stream = stream

    def require(self, given: Given) -> None:
        """Refuse what says that it is not JSON."""
        if plain_type(given.content_type) not in ("", JSON):
            raise not_json(given.path, given.content_type)

    def read(self, body: bytes, given: Given, answering: Answering) -> oip.Asked:
        """Return what a body asks."""
        return generate.read(body, answering, given.request_id)

    def write(self, asked: oip.Asked, answering: Answering, answered: Answers) -> Reply:
        """Return an answer."""
        headers = answer_headers(answered, asked.id)
        if not self._stream:
            return Reply(generate.written(asked, answering, answered), headers=headers)
        event = b"data: " + generate.written(asked, answering, answered, done=True) + b"\n\n"
        return Reply(event, content_type=EVENTS, headers=headers)

    def refused(self, error: VarvError) -> Reply:
        """Return a refusal, with the statuses that this extension has for some."""
        told = refusal(error)
        # Not of those with a status of their own, such as what is too large.
        status = _GENERATE_STATUS.get(type(error), told.status)
        return told._replace(status=status)


_GENERATE_STATUS: dict[type[VarvError], int] = {InvalidInput: 422, UserCodeFailed: 424, TooMuchUnderWay: 429}


def refusal(error: VarvError) -> Reply:
    """Return an error as a reply, in a body that clients of all protocols understand."""
    field = error.name if error.kind in ("column", "field") else ""
    body = {**error.described(), "error": str(error), "message": str(error), "field": field}
    body["error_code"] = error.code.upper()
    return Reply(in_json(body), status_of(error), headers=error_headers(error))


def answer_headers(answered: Answers, request_id: str) -> dict[str, str]:
    """Return the headers that say who answered what."""
    # A client chooses the id, and a header holds printable ASCII without spaces around it.
    is_plain = request_id.isascii() and request_id.isprintable() and request_id == request_id.strip()
    flagged = {"x-varv-flagged": quote(oip.flagged_in(answered), safe=",")} if answered.flagged else {}
    return {
        "x-request-id": request_id if is_plain else quote(request_id),
        "x-varv-version": oip.versions_in(answered),
        "x-varv-epoch": str(answered.epoch),
        "x-varv-arm": oip.arms_in(answered),
        "x-varv-captured": "true" if answered.captured else "false",
        **flagged,
    }


@lru_cache(256)
def plain_type(content_type: str) -> str:
    """Return a content type without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def takes_a_thread(content_type: str) -> bool:
    """Return whether a body of a type is never read on the event loop."""
    return plain_type(content_type) == PARQUET


@lru_cache(256)
def _type_in_utf8(content_type: str) -> str:
    """Return a content type without its parameters.

    Raises
    ------
    UnsupportedMedia
        If it has a charset other than UTF-8, or another parameter.
    """
    _, _, parameters = content_type.partition(";")
    for parameter in filter(None, map(str.strip, parameters.split(";"))):
        name, _, value = parameter.partition("=")
        if name.strip().lower() != "charset" or value.strip(' "').lower() not in ("utf-8", "utf8"):
            hint = "send UTF-8, and no other parameter than charset"
            raise UnsupportedMedia("header", "content-type", "is not read", given=parameter[:80], hint=hint)
    return plain_type(content_type)
