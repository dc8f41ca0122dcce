"""The server of one worker: HTTP, and beside it on the same event loop calls over gRPC, if there are any."""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING

import uvicorn

from varv.app.server.tls import Certificates
from varv.app.server.tls_server import TlsServer
from varv.fronts.inference import Inference, Together
from varv.fronts.inference.pauses import Pauses
from varv.kernel.errors import FailedPrecondition

if TYPE_CHECKING:
    import grpc.aio

MOST_CALLS = 1000
PAUSE_WITHIN_S = 0.5
"""How long a worker looks for a moment at which no call is on its way to it."""


class DataServer(TlsServer):
    """Answers predictions.

    Parameters
    ----------
    config
        Of the HTTP server.
    inference
        What answers.
    together
        Collects requests, those over HTTP among them.
    address
        The address for calls over gRPC, which other workers may have bound too; nothing for none.
    drain_s
        How long calls under way may take once it ends.
    certificates
        What it shows its callers; None for no TLS.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        inference: Inference,
        together: Together,
        address: str,
        drain_s: float,
        certificates: Certificates | None = None,
    ) -> None:
        super().__init__(config, certificates)
        self._inference = inference
        self._together = together
        self._address = address
        self._drain_s = drain_s
        self._calls: grpc.aio.Server | None = None
        self._pauses = Pauses()
        self._is_stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self.takes_calls = threading.Event()
        """Set once calls over gRPC reach this worker, if there are any; HTTP's socket waits for it open."""

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer until told to stop.

        Raises
        ------
        FailedPrecondition
            If the address for gRPC cannot be bound.
        """
        self._loop = asyncio.get_running_loop()
        if self._address:
            self._calls = await self._started()
        self.takes_calls.set()
        try:
            await super().serve(sockets)
        finally:
            if self._calls is not None:
                await self._stop_calls(self._calls)

    def end_calls(self) -> Future[None]:
        """Take no more calls over gRPC, from another thread; done once those under way have ended."""
        if self._loop is None or self._calls is None:
            done: Future[None] = Future()
            done.set_result(None)
            return done
        return asyncio.run_coroutine_threadsafe(self._stop_calls(self._calls), self._loop)

    async def _stop_calls(self, calls: grpc.aio.Server) -> None:
        if not self._is_stopping:
            self._is_stopping = True
            await self._pauses.next(PAUSE_WITHIN_S)
        await calls.stop(self._drain_s)

    async def _started(self) -> grpc.aio.Server:
        # Only here: it takes a tenth of a second to import, and some megabytes.
        from varv.fronts.inference.app import MOST_BYTES
        from varv.fronts.inference.rpc.service import create_server

        calls = create_server(
            self._inference,
            most_bytes=MOST_BYTES,
            most_calls=MOST_CALLS,
            together=self._together,
            pauses=self._pauses,
        )
        bound = 0
        with suppress(RuntimeError):
            if self._certificates is None:
                bound = calls.add_insecure_port(self._address)
            else:
                bound = calls.add_secure_port(self._address, self._certificates.credentials())
        if not bound:
            raise FailedPrecondition("address", self._address, "cannot be bound for gRPC")
        await calls.start()
        return calls
