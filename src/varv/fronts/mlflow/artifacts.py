"""Artifacts through the server: uploads and downloads of any size, lists, and deletions.

A client names a file by a whole path, such as ``1/<run>/artifacts/model/MLmodel``. That is taken apart here
into the run or the logged model that it belongs to, which must exist, and a path below it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from varv.fronts.mlflow.errors import NotOffered
from varv.fronts.mlflow.experiments import given
from varv.fronts.mlflow.routes import ARTIFACTS as API_ARTIFACTS
from varv.fronts.mlflow.routes import Route
from varv.kernel.blobs import Blobs, Draft
from varv.kernel.codec import Digest
from varv.kernel.errors import InvalidInput, NotFound, Unavailable
from varv.kernel.recorder import Recorder, Write
from varv.runs import artifacts, reading
from varv.runs.artifacts import Artifact
from varv.runs.experiments import ARTIFACTS

PREFIX = "/api/2.0/mlflow-artifacts/artifacts"
WRITTEN_AT_ONCE = 1 << 20
"""Bytes of an upload that are held until they are written."""
_TEXTS = frozenset({".txt", ".json", ".csv", ".yaml", ".yml", ".md", ".log", ".py", ".toml", ".cfg"})
_PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}
Do = Callable[[Write[Any]], Any]
"""Has a piece of work done, to be awaited."""


class Owned(NamedTuple):
    """Whose an artifact is, and its path below that."""

    owner: str
    path: str


class ListRequest(msgspec.Struct):
    """Names a run, and a folder of its artifacts."""

    run_id: str = ""
    run_uuid: str = ""
    path: str = ""
    page_token: str = ""


class Shelf:
    """The artifacts of a home.

    Parameters
    ----------
    recorder
        Writes the index, and gives connections to read it.
    blobs
        Hold the bytes.
    roots
        For each kind of owner but runs, by the folder that its roots are in: returns where the artifacts of
        the one of an id are, and None if there is none.
    """

    def __init__(
        self,
        recorder: Recorder,
        blobs: Blobs,
        roots: Mapping[str, Callable[[sqlite3.Connection, str], str | None]] | None = None,
    ) -> None:
        self.recorder = recorder
        self.blobs = blobs
        self._roots = {"": _root_of_run, **(roots or {})}

    def owned(self, db: sqlite3.Connection, whole: str) -> Owned:
        """Return whose a whole path is.

        Raises
        ------
        NotFound
            If it is nobody's.
        InvalidInput
            If it is no path.
        """
        whole = whole.rstrip("/")
        artifacts.require_path(whole)
        parts = whole.split("/")
        for place, part in enumerate(parts):
            if part != "artifacts" or place < 2:
                continue
            kind = parts[place - 2] if place > 2 and parts[place - 2] in self._roots else ""
            owner, root = parts[place - 1], f"{ARTIFACTS}/{'/'.join(parts[: place + 1])}"
            if self._roots[kind](db, owner) == root:
                return Owned(owner_of(kind, owner), "/".join(parts[place + 1 :]))
        hint = "begin with the artifact location of a run or a logged model"
        raise NotFound("artifact path", whole[:200], "belongs to nothing here", hint=hint)

    def find(self, whole: str) -> Artifact:
        """Return the file under a whole path."""
        with self.recorder.reading() as db:
            owned = self.owned(db, whole)
            if not owned.path:
                raise NotFound("artifact", whole[:200], "is a folder", hint="list it")
            return artifacts.find(db, owned.owner, owned.path)


def owner_of(kind: str, id: str) -> str:
    """Return how the index names an owner."""
    return f"{kind or 'runs'}/{id}"


def _root_of_run(db: sqlite3.Connection, run: str) -> str | None:
    joined = "run JOIN experiment ON experiment.no = run.experiment"
    query = f"SELECT experiment.artifacts FROM {joined} WHERE run.id = ?"
    row = db.execute(query, (run,)).fetchone()
    return None if row is None else f"{row[0]}/{run}/artifacts"


# Lists, in two forms


def document(one: Artifact, below: str = "") -> dict[str, Any]:
    """Return a file or a folder as the protocol lists it, its path from `below`."""
    told: dict[str, Any] = {"path": one.path[len(below) :].lstrip("/"), "is_dir": one.is_folder}
    return told | {"file_size": one.size} if one.size else told


def _list(shelf: Shelf, asked: ListRequest) -> dict[str, Any]:
    run = asked.run_id or asked.run_uuid
    if not run:
        given(asked, "run_id")
    with shelf.recorder.reading() as db:
        root = reading.run(db, run).artifacts
        files = artifacts.listed(db, owner_of("", run), asked.path.rstrip("/"))
    told: dict[str, Any] = {"root_uri": root}
    return told | ({"files": [document(one) for one in files]} if files else {})


class Signed(msgspec.Struct):
    """Names a file that is to be sent past the server."""

    run_id: str = ""
    path: str = ""


def _signed(shelf: Shelf, asked: Signed) -> None:
    given(asked, "run_id", "path")
    raise InvalidInput("upload", asked.path[:200], "past the server is not supported", hint="send it here")


routes = (
    Route("GET", "artifacts/list", ListRequest, _list),
    Route("POST", "artifacts/presigned-upload-url", Signed, _signed),
    Route("POST", "artifacts/presigned-download-url", Signed, _signed),
)
SIGNED = f"{API_ARTIFACTS}presigned/"


class Transfers:
    """Answers uploads and downloads, below `PREFIX`.

    Parameters
    ----------
    do
        Has work done by the recorder.
    """

    def __init__(self, shelf: Shelf, do: Do) -> None:
        self._shelf = shelf
        self._do = do

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        whole = scope["path"].partition("/mlflow-artifacts/artifacts")[2].lstrip("/")
        method = scope["method"]
        if method == "PUT" and whole:
            await self._put(Request(scope, receive), whole)
            await _send_empty(send)
        elif method == "DELETE" and whole:
            owned = self._owned(whole)
            await self._do(artifacts.remove(owned.owner, owned.path))
            await send_json(send, {})
        elif method == "GET" and whole:
            await self.send(whole, send)
        elif method == "GET":
            named = parse_qs(scope["query_string"].decode("latin-1")).get("path", [""])[0]
            await send_json(send, self._listed(named))
        else:
            raise InvalidInput(
                "request", scope["path"][:200], f"cannot be {method}", hint="use GET, PUT or DELETE"
            )

    def _owned(self, whole: str) -> Owned:
        with self._shelf.recorder.reading() as db:
            return self._shelf.owned(db, whole)

    def _listed(self, whole: str) -> dict[str, Any]:
        with self._shelf.recorder.reading() as db:
            owned = self._shelf.owned(db, whole)
            files = artifacts.listed(db, owned.owner, owned.path)
        return {"files": [document(one, owned.path) for one in files]} if files else {}

    async def _put(self, request: Request, whole: str) -> None:
        owned = self._owned(whole)
        artifacts.require_path(owned.path)
        digest, size = await stored(request, self._shelf.blobs.draft())
        await put(self._shelf, self._do, owned, digest, size)

    async def signed(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a download past the server, as a server does that keeps files itself: its clients then ask
        for each here.

        Raises
        ------
        NotOffered
            Unless the request is wrong already.
        """
        whole = scope["path"].partition("/mlflow-artifacts/")[2].partition("/")[2]
        artifacts.require_path(whole)
        raise NotOffered("artifact", whole[:200], "past the server is not supported", hint="ask for it here")

    async def page(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a page that asks for a file of a run by its path below the run."""
        asked = parse_qs(scope["query_string"].decode("latin-1"))
        run, path = (asked.get(name, [""])[0] for name in ("run_uuid", "path"))
        run = run or asked.get("run_id", [""])[0]
        if not run or not path:
            raise InvalidInput("request", scope["path"], "needs run_uuid and path", hint="send both")
        with self._shelf.recorder.reading() as db:
            found = artifacts.find(db, owner_of("", reading.run(db, run).id), path)
        await self._sent(found, send)

    async def send(self, whole: str, send: Send) -> None:
        """Send the file under a whole path."""
        await self._sent(self._shelf.find(whole), send)

    async def _sent(self, found: Artifact, send: Send) -> None:
        assert found.digest is not None, "files have one"
        chunks = self._shelf.blobs.chunks(found.digest)
        headers = [*headers_of(found.path), (b"content-length", b"%d" % (found.size or 0))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        # Bytes that are not what was stored raise before the last part, and the connection ends without it.
        while chunk := await run_in_threadpool(_next, chunks):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def stored(request: Request, draft: Draft) -> tuple[Digest, int]:
    """Return the digest and size of a body that was written as it came; what is written overlaps what
    comes.
    """
    try:
        waiting = bytearray()
        writing: asyncio.Future[None] | None = None
        async for chunk in request.stream():
            waiting += chunk
            if len(waiting) >= WRITTEN_AT_ONCE:
                if writing is not None:
                    await writing
                writing = asyncio.ensure_future(run_in_threadpool(draft.write, bytes(waiting)))
                waiting.clear()
        if writing is not None:
            await writing
        return await run_in_threadpool(_kept, draft, bytes(waiting))
    finally:
        draft.drop()


async def put(shelf: Shelf, do: Do, owned: Owned, digest: Digest, size: int) -> None:
    """Put a blob under a path.

    Raises
    ------
    Unavailable
        If the blob is gone.
    """
    await do(artifacts.keep(owned.owner, owned.path, digest, size))
    if not shelf.blobs.has(digest):
        # A purge has deleted the same bytes of another before these were on record.
        raise Unavailable("artifact", owned.path[:200], "was not kept", hint="send it again")


def headers_of(path: str) -> list[tuple[bytes, bytes]]:
    """Return headers by which a browser saves a file instead of showing or running it."""
    name = path.rpartition("/")[2]
    suffix = name[name.rfind(".") :].lower() if "." in name else ""
    # All that a browser may be told that a file is: it runs none of these.
    kind = _PICTURES.get(suffix, "text/plain" if suffix in _TEXTS else "application/octet-stream")
    name = name.encode("ascii", "replace").decode().replace('"', "_").replace("?", "_")
    return [
        (b"content-type", kind.encode()),
        (b"content-disposition", f'attachment; filename="{name}"'.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"sandbox; default-src 'none'"),
    ]


def _kept(draft: Draft, rest: bytes) -> tuple[Digest, int]:
    draft.write(rest)
    return draft.keep()


def _next(chunks: Iterator[bytes]) -> bytes:
    return next(chunks, b"")


async def _send_empty(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def send_json(send: Send, answer: object) -> None:
    """Send an answer as JSON."""
    body = msgspec.json.encode(answer)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
