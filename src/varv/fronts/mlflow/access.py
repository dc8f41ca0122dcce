"""Who may read runs, and who may write them: by the token of the control plane, or as a declared client.

Where neither is declared, everybody may, as everywhere on the control plane; a server that is open to others
should not be left so. Tokens come as clients of MLflow send them: as bearers, or as the password of basic
authentication.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping

from varv.fronts.access.door import Caller, Callers
from varv.fronts.mlflow.routes import ARTIFACTS
from varv.kernel.errors import PermissionDenied, Unauthenticated

OPEN = frozenset({"/version", "/api/3.0/mlflow/server-info"})
"""What says nothing of anybody, and is asked before a client knows whether it must say who it is."""
BY_ITS_OWN_TOKEN = f"{ARTIFACTS}mpu/part/"
"""What answers below this asks for a token of one upload, which only those got who may write."""
_LONGEST = 1024


class Gate:
    """Decides who may do what.

    Parameters
    ----------
    token
        Of the control plane, whose holder may do everything; nothing for none.
    callers
        Returns the declared clients by now; those with the role ``read`` may read, those with ``track`` write
        too.
    """

    def __init__(self, token: str, callers: Callable[[], Callers]) -> None:
        self._token = token.encode()
        self._callers = callers

    def require(self, headers: Mapping[bytes, bytes], path: str, *, writes: bool) -> None:
        """Refuse who may not.

        Raises
        ------
        Unauthenticated
            If nobody knows who asks.
        PermissionDenied
            If it may not do this.
        """
        callers = self._callers()
        if path in OPEN or path.startswith(BY_ITS_OWN_TOKEN) or (not self._token and callers.is_open):
            return
        header = _as_bearer(headers.get(b"authorization"))
        if self._token and header is not None and hmac.compare_digest(_token_in(header), self._token):
            return
        caller = callers[header] if not callers.is_open else None
        if caller is None or not caller.name:
            hint = "set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and _PASSWORD, to a valid token"
            raise Unauthenticated("request", path[:200], "needs a token", hint=hint)
        self._require_role(caller, path, writes=writes)

    def _require_role(self, caller: Caller, path: str, *, writes: bool) -> None:
        if not (caller.tracks or (caller.reads and not writes)):
            needed = "track" if writes else "read"
            hint = f"give it the role {needed} in varv.toml"
            raise PermissionDenied(
                "client", caller.name, f"may not use {path[:200]}", needs=needed, hint=hint
            )


def _token_in(header: bytes) -> bytes:
    scheme, _, token = header.partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else b""


def _as_bearer(header: bytes | None) -> bytes | None:
    """Return an ``Authorization`` header with the token that it brings in whichever form.

    Examples
    --------
    >>> _as_bearer(b"Basic YW5hOnNlY3JldA=="), _as_bearer(b"Bearer secret"), _as_bearer(None)
    (b'Bearer secret', b'Bearer secret', None)
    """
    if header is None or len(header) > _LONGEST:
        return None
    scheme, _, rest = header.partition(b" ")
    if scheme.lower() != b"basic":
        return header
    try:
        _, found, password = base64.b64decode(rest.strip(), validate=True).partition(b":")
    except binascii.Error:
        return None
    return b"Bearer " + password if found and password else None
