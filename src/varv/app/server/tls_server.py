"""A server of uvicorn that may speak TLS: handshakes have a deadline, and certificates are looked after."""

from __future__ import annotations

import asyncio
import resource
import socket
from functools import partial
from typing import Any

import uvicorn

from varv.app.server.tls import HANDSHAKE_S, LOOK_EVERY_S, Certificates

MOST_FILES = 65_536


def make_room() -> None:
    """Let this process have as many connections open as it may: those whose handshake is under way are not
    among those that the sweep counts.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class TlsServer(uvicorn.Server):
    """Answers over TLS if it has certificates, else plainly.

    Parameters
    ----------
    config
        Of the server.
    certificates
        What it shows its callers; None for no TLS.
    """

    def __init__(self, config: uvicorn.Config, certificates: Certificates | None = None) -> None:
        if certificates is not None:
            make_room()
            context = certificates.context
            config.ssl_context_factory = lambda *_: context
        super().__init__(config)
        self._certificates = certificates
        self._looking: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        if self._certificates is None or sockets is None:
            await super().startup(sockets)
            return
        await super().startup([])
        loop, config = asyncio.get_running_loop(), self.config
        kind: Any = config.http_protocol_class
        made = partial(kind, config=config, server_state=self.server_state, app_state=self.lifespan.state)
        for one in sockets:
            # Uvicorn leaves a caller a minute for its handshake, which the sweep does not see.
            server = await loop.create_server(
                made,
                sock=one,
                ssl=self._certificates.context,
                ssl_handshake_timeout=HANDSHAKE_S,
                ssl_shutdown_timeout=HANDSHAKE_S,
                backlog=config.backlog,
            )
            self.servers.append(server)
        self._looking = loop.create_task(self._look(self._certificates))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, and let what is under way finish."""
        if self._looking is not None:
            self._looking.cancel()
        await super().shutdown(sockets)

    async def _look(self, certificates: Certificates) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            certificates.look()
