"""The running server of a home, asked by commands and functions of the same machine."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from varv.app.server.server_file import Running
from varv.app.settings import Settings
from varv.kernel.errors import Unavailable

if TYPE_CHECKING:
    from varv.fronts.client import Client

WITHIN_S = 3600.0
"""How long a server may take to replace or judge rows."""


@contextmanager
def asking(server: Running, settings: Settings, *, timeout_s: float = 60.0) -> Generator[Client]:
    """Give a client of a running server."""
    from varv.fronts.client import Client

    verify = None
    if server.tls:
        from varv.app.server.tls import pinned

        verify = pinned(settings.tls_certificate)
    with Client(server.url, token=settings.token, timeout_s=timeout_s, verify=verify) as client:
        yield client


def call(
    server: Running, settings: Settings, verb: str, asked: msgspec.Struct, *, timeout_s: float = 60.0
) -> object:
    """Ask a running server for a verb."""
    try:
        with asking(server, settings, timeout_s=timeout_s) as client:
            return client.call(verb, **msgspec.to_builtins(asked))
    except Unavailable as error:
        error.facts.setdefault("pid", server.pid)
        raise
