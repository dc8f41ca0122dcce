"""What the server says of itself, which clients ask before they use what not every server has."""

from __future__ import annotations

from typing import Any

from starlette.types import Receive, Scope, Send

from varv.fronts.mlflow.routes import API_3, Nothing, Route

LEVEL = "3.18.0"
"""The version of MLflow whose protocol this is: clients compare it."""


def _info(desk: object, asked: Nothing) -> dict[str, Any]:
    return {
        "store_type": "SqlStore",
        "workspaces_enabled": False,
        "multipart_uploads_enabled": False,
        "multipart_downloads_enabled": False,
        "artifacts_presigned_only": False,
        "artifact_serving_enabled": True,
        "trace_archival_enabled": False,
        "tracking_auth": "",
    }


routes = (Route("GET", f"{API_3}server-info", Nothing, _info),)


async def version(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the level of the protocol as plain text."""
    body = LEVEL.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
