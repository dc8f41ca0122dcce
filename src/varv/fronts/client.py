"""A client of a running server, in a few lines of httpx: every verb by its name, errors as they were
raised.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

import httpx
import msgspec

from varv.fronts.api import path_of
from varv.kernel.errors import Corrupt, Unavailable, VarvError, tree


class Client:
    """Calls the verbs of one server.

    Parameters
    ----------
    url
        Where its control plane listens, such as ``"http://127.0.0.1:8400"``.
    token
        Sent with every call, if given.
    timeout_s
        How long a call may take.
    http
        Used in place of a client made here.
    """

    def __init__(
        self, url: str, *, token: str = "", timeout_s: float = 60.0, http: httpx.Client | None = None
    ) -> None:
        self._url = url
        headers = {"authorization": f"Bearer {token}"} if token else {}
        # The server is at a known address; a proxy that the environment names is not on the way to it.
        self._http = http or httpx.Client(base_url=url, headers=headers, timeout=timeout_s, trust_env=False)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(self, verb: str, /, **fields: Any) -> dict[str, Any]:
        """Return the result of a verb, such as ``client.call("model.rollback", model="late-arrival")``.

        Raises
        ------
        VarvError
            What the server raised, of the same class.
        Unavailable
            If the server cannot be reached.
        """
        try:
            answer = self._http.post(path_of(verb), content=msgspec.json.encode(fields), headers=_JSON)
        except httpx.HTTPError as error:
            hint = "is varv up running? varv status says where"
            raise Unavailable("server", self._url, "cannot be reached", why=str(error), hint=hint) from None
        try:
            body = msgspec.json.decode(answer.content)
        except msgspec.DecodeError:
            raise Corrupt(
                "server", self._url, "does not answer as varv does", status=answer.status_code
            ) from None
        if answer.is_success:
            return body
        raise _raised(body["error"])

    def verbs(self) -> dict[str, str]:
        """Return every verb that the server offers and what it does."""
        paths = self._http.get("/api/openapi.json").raise_for_status().json()["paths"]
        return {path["post"]["operationId"]: path["post"]["summary"] for path in paths.values()}

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


_JSON = {"content-type": "application/json"}


def _raised(said: dict[str, Any]) -> VarvError:
    kinds = {kind.code: kind for kind in tree()}
    kind = kinds.get(said["code"], VarvError)
    return kind(said["kind"], said["name"], said["problem"], hint=said["hint"], **said["facts"])
