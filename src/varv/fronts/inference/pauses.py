"""Pauses between calls: the moments at which a server may stop without a call being on its way to it.

A server of gRPC that stops cancels what has arrived and was not looked at yet. Right after an answer, while
no other call is under way, a caller who waits for answers has sent nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Pauses:
    """Counts calls under way; used on one event loop."""

    def __init__(self) -> None:
        self._n_calls = 0
        self._waiting: asyncio.Future[None] | None = None

    def begin(self) -> None:
        """Count a call that is under way from now on."""
        self._n_calls += 1

    def end(self) -> None:
        """Count a call that is not any more."""
        self._n_calls -= 1
        if not self._n_calls and self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def next(self, within_s: float) -> None:
        """Wait for the end of a call after which none is under way, at most so long: who is not asked at all
        has no such moment, and who is asked by many may have none.
        """
        self._waiting = asyncio.get_running_loop().create_future()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._waiting, within_s)
        self._waiting = None
