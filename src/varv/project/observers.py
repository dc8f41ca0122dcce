"""Observers, as they are declared: who is sent what a model is asked and answers."""

from __future__ import annotations

from urllib.parse import urlsplit

from varv.kernel.errors import InvalidDeclaration
from varv.serving.policy import ObservedPart, Observer

_MODES: tuple[ObservedPart, ...] = ("all", "request", "response")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class CloudEvents:
    """Sends what a model is asked and answers to an address, after the answer, as CloudEvents over HTTP.

    Parameters
    ----------
    url
        Where each is posted. An event of the type ``org.kubeflow.serving.inference.request`` or
        ``.response`` has the id of the request, and a body in the form of the Open Inference Protocol.
    mode
        ``"all"``, ``"request"`` or ``"response"``.
    share
        The share of requests that are sent, above 0 and up to 1, chosen by chance.
    private
        Whether nobody else can read what is sent there without TLS. Without it the address has to be https,
        or on this machine.
    token_variable
        The variable of the environment that holds a bearer token.

    Raises
    ------
    InvalidDeclaration
        If the address is none, or others could read what is sent there.

    Notes
    -----
    A thousand requests wait at most, of a hundred thousand rows; what finds no room is dropped and counted,
    as is what the address does not take. No answer waits for it. Columns that a model's log does not keep as
    they came are not sent either.
    """

    def __init__(
        self,
        url: str,
        *,
        mode: ObservedPart = "all",
        share: float = 1.0,
        private: bool = False,
        token_variable: str = "",
    ) -> None:
        _require_address(url, private=private, has_token=bool(token_variable))
        if mode not in _MODES:
            raise _wrong("mode", f"is {mode!r:.40}", f"write one of {', '.join(_MODES)}")
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
            raise _wrong("share", f"is {share!r:.40}", "give a share above 0 and up to 1")
        self.policy = Observer(url=url, mode=mode, share=float(share), token_variable=token_variable)


def _require_address(url: str, *, private: bool, has_token: bool) -> None:
    hint = "write https://host/path"
    try:
        parts = urlsplit(url)
        _ = parts.port
        is_sound = parts.scheme in ("http", "https") and bool(parts.hostname)
    except (ValueError, AttributeError, TypeError):
        raise _wrong("url", "is not an address", hint) from None
    if not is_sound or any(sign <= " " or sign >= "\x7f" for sign in url):
        raise _wrong("url", "is not an address", hint)
    if parts.username is not None or parts.query or parts.fragment:
        raise _wrong("url", "holds a password or a query", "name a variable that holds a token")
    is_open = parts.scheme == "http" and parts.hostname not in _LOOPBACK
    if is_open and (has_token or not private):
        problem = "is not https, so that others could read what is sent"
        raise _wrong("url", problem, "write https://, or private=True, without a token")


def _wrong(name: str, problem: str, hint: str) -> InvalidDeclaration:
    return InvalidDeclaration("observer", name, problem, hint=hint)
