"""Calls webhooks: addresses that somebody else chose, dialled so that they cannot reach what only this host
can.

A name is resolved once, every address that it has must be public, and one of them is connected to; nobody is
redirected, no proxy is asked, a call has one deadline, and nothing of an answer but its status is kept.

Source: the Standard Webhooks conventions, as MLflow signs what it sends.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
from urllib.parse import urlsplit

from varv.adapters.endpoints.connections import Connections, Overlong, Unreached
from varv.home.tracking.hooks import Outcome, Signed
from varv.kernel.addresses import dialled, is_public, literal
from varv.kernel.clock import wall_seconds
from varv.kernel.errors import InvalidInput

LONGEST_S = 5.0
MOST_ANSWER_BYTES = 64 << 10
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})


class WebhookCaller:
    """Calls webhooks; a `home.tracking.hooks.Caller`.

    Parameters
    ----------
    inside
        Whether addresses that are not public may be called, and by plain HTTP.
    """

    def __init__(self, *, inside: bool = False) -> None:
        self._inside = inside

    def require(self, url: str) -> None:
        """Raise `InvalidInput` unless `url` may be called, as far as it shows before its name is resolved."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise InvalidInput("webhook address", url[:80], "is not valid") from None
        schemes = ("https", "http") if self._inside else ("https",)
        if parts.scheme not in schemes or not parts.hostname:
            hint = f"begin it with {' or '.join(f'{scheme}://' for scheme in schemes)} and a host"
            raise InvalidInput("webhook address", url[:80], "cannot be called", hint=hint)
        if "@" in parts.netloc or port == 0 or not url.isprintable() or " " in url or "\\" in url:
            hint = "leave out names, passwords, spaces and backslashes"
            raise InvalidInput("webhook address", url[:80], "is not plain", hint=hint)
        written = literal(parts.hostname)
        if written is not None and not self._inside and not is_public(written):
            raise InvalidInput("webhook address", url[:80], "is not public", hint="name a public host")

    def call(self, url: str, signed: Signed) -> Outcome:
        """Send a message once, and return what came of it; it takes five seconds at most."""
        try:
            self.require(url)
        except InvalidInput as error:
            return Outcome(why=str(error))
        parts = urlsplit(url)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connections = Connections(url, self._dial)
        try:
            reply = connections.ask(
                "POST",
                target,
                headers=headers(signed),
                body=signed.body,
                most_bytes=MOST_ANSWER_BYTES,
                until=wall_seconds() + LONGEST_S,
            )
        except (Unreached, Overlong) as error:
            return Outcome(why=str(error), again=isinstance(error, Unreached))
        finally:
            connections.close()
        return Outcome(status=reply.status, again=reply.status in _AGAIN)

    def _dial(self, address: tuple[str, int], timeout_s: float) -> socket.socket:
        return dialled(address, timeout_s, inside=self._inside)


def headers(signed: Signed) -> dict[str, str]:
    """Return the headers of a message: its id and its time, and a signature over both and the body.

    Examples
    --------
    >>> sent = Signed(id="d1", at_s=1700000000, body=b"{}", secret="s")
    >>> headers(sent)["X-MLflow-Signature"]
    'v1,Lma4n3cqLVjP3QUfDmV6idNmcJQgfZ025DNgTEilMSM='
    """
    named = {
        "content-type": "application/json",
        "user-agent": "varv-webhook",
        "X-MLflow-Delivery-Id": signed.id,
        "X-MLflow-Timestamp": str(signed.at_s),
    }
    if signed.secret:
        content = f"{signed.id}.{signed.at_s}.".encode() + signed.body
        found = hmac.new(signed.secret.encode(), content, hashlib.sha256).digest()
        named["X-MLflow-Signature"] = f"v1,{base64.b64encode(found).decode()}"
    return named
