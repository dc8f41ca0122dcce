"""Uploads in parts through the server: clients create one, send its parts in parallel, and complete it.

A part is sent to an address of this server, as to a store of objects: without the client's credentials, which
its library keeps from addresses that it was handed. A token in the headers that creating it answered takes
their place, for this upload only and for a day.
"""

from __future__ import annotations

import asyncio
import ntpath
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from varv.fronts.gateway import Bodies
from varv.fronts.mlflow.access import BY_ITS_OWN_TOKEN
from varv.fronts.mlflow.artifacts import Do, Owned, Shelf, put, send_json, stored
from varv.fronts.mlflow.errors import NoSuchEndpoint
from varv.fronts.mlflow.experiments import given
from varv.fronts.mlflow.nesting import require_shallow
from varv.fronts.mlflow.routes import ARTIFACTS
from varv.kernel.codec import Digest
from varv.kernel.errors import InvalidInput
from varv.runs import artifacts
from varv.runs.uploads import MOST_PART_BYTES, Uploads, too_large

PREFIX = f"{ARTIFACTS}mpu/"
TOKEN_HEADER = "x-varv-upload"
MOST_BYTES = 8 << 20
"""Of what completes an upload: ten thousand parts with their addresses are 3 MB."""
A = TypeVar("A", bound=msgspec.Struct)


class Create(msgspec.Struct):
    """Names a file below the path of the request, and in how many parts it comes."""

    path: str = ""
    num_parts: int = 1


class Sent(msgspec.Struct):
    """A part that was sent."""

    part_number: int
    etag: str = ""


class Complete(msgspec.Struct):
    """Names an upload, and all its parts."""

    path: str = ""
    upload_id: str = ""
    parts: list[Sent] = []


class Abort(msgspec.Struct):
    """Names an upload."""

    path: str = ""
    upload_id: str = ""


class PartUploads:
    """Answers what is below `PREFIX`.

    Parameters
    ----------
    do
        Has work done by the recorder.
    """

    def __init__(self, shelf: Shelf, uploads: Uploads, do: Do) -> None:
        self._shelf, self._uploads, self._do = shelf, uploads, do
        self._bodies = Bodies(MOST_BYTES, 4 * MOST_BYTES)
        self._completing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        act, _, rest = scope["path"].partition("/mlflow-artifacts/mpu/")[2].partition("/")
        acts = {"create": self._create, "complete": self._complete, "abort": self._abort}
        request = Request(scope, receive)
        if scope["method"] == "PUT" and act == "part":
            await self._part(request, rest, send)
        elif scope["method"] == "POST" and act in acts:
            await send_json(send, await acts[act](request, rest))
        else:
            allowed = ["PUT"] if act == "part" else ["POST"] if act in acts else []
            problem = f"does not take {scope['method']}"
            raise NoSuchEndpoint("path", scope["path"][:200], problem, allowed=allowed)

    async def _create(self, request: Request, folder: str) -> dict[str, Any]:
        asked = await self._asked(request, Create)
        owned = self._owned(folder, asked.path)
        begin = self._uploads.begin
        begun = await run_in_threadpool(begin, owned.owner, owned.path, asked.num_parts)
        base = f"{_base_of(request)}{BY_ITS_OWN_TOKEN}{begun.id}"
        headers = {TOKEN_HEADER: begun.token}
        credentials = [
            {"url": f"{base}/{number}", "part_number": number, "headers": headers}
            for number in range(1, asked.num_parts + 1)
        ]
        return {"upload_id": begun.id, "credentials": credentials}

    async def _part(self, request: Request, rest: str, send: Send) -> None:
        id, _, number = rest.partition("/")
        token = request.headers.get(TOKEN_HEADER, "")
        place = int(number) if number.isascii() and number.isdecimal() and len(number) < 10 else 0
        draft = await run_in_threadpool(self._uploads.part, id, place, token)
        said = request.headers.get("content-length", "")
        if said.isdecimal() and (len(said) > 18 or int(said) > MOST_PART_BYTES):
            draft.drop()
            raise too_large(int(said))
        digest, _ = await stored(request, draft)
        headers = [(b"etag", f'"{digest}"'.encode()), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def _complete(self, request: Request, folder: str) -> dict[str, Any]:
        asked = await self._asked(request, Complete)
        given(asked, "upload_id")
        owned = self._owned(folder, asked.path)
        parts = {one.part_number: Digest(one.etag.strip('"')) for one in asked.parts}
        # Who waits too long asks again, and should not have the same done twice at a time.
        lock = self._completing.setdefault(asked.upload_id, asyncio.Lock())
        async with lock:
            whole = await run_in_threadpool(
                self._uploads.complete, asked.upload_id, owned.owner, owned.path, parts
            )
            if not whole.is_settled:
                await put(self._shelf, self._do, owned, whole.digest, whole.size)
                await run_in_threadpool(self._uploads.settle, asked.upload_id, whole.digest, whole.size)
        return {}

    async def _abort(self, request: Request, folder: str) -> dict[str, Any]:
        asked = await self._asked(request, Abort)
        given(asked, "upload_id")
        owned = self._owned(folder, asked.path)
        await run_in_threadpool(self._uploads.abort, asked.upload_id, owned.owner, owned.path)
        return {}

    async def _asked(self, request: Request, kind: type[A]) -> A:
        async with self._bodies.receive(request) as body:
            require_shallow(body, request.url.path[:200])
            try:
                asked = msgspec.json.decode(body or b"{}", type=kind, strict=False)
            except (msgspec.MsgspecError, RecursionError) as error:
                path = request.url.path[:200]
                raise InvalidInput("request", path, "is not valid", why=str(error)[:200]) from None
        given(asked, "path")
        return asked

    def _owned(self, folder: str, path: str) -> Owned:
        """Return whose a file is. Of the path that clients say only the name counts: some say where the file
        lies on their machine.
        """
        whole = f"{folder.rstrip('/')}/{ntpath.basename(path)}"
        artifacts.require_path(whole)
        with self._shelf.recorder.reading() as db:
            owned = self._shelf.owned(db, whole)
        artifacts.require_path(owned.path)
        return owned


def _base_of(request: Request) -> str:
    """Return the address by which a client calls this server, behind a proxy too."""
    headers = request.headers
    scheme = headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    host = headers.get("x-forwarded-host", "").partition(",")[0].strip() or headers.get("host", "")
    prefix = headers.get("x-forwarded-prefix", "").strip().rstrip("/")
    scheme = scheme if scheme in ("http", "https") else request.url.scheme
    return f"{scheme}://{host}{prefix}"
