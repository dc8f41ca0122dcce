"""Draining: a worker that another takes over from accepts no more connections and finishes those it has.

Each connection is answered once more, with the word that it is the last time, so that its caller opens
another, which a new worker accepts. One that stays silent is closed after a while, as idle ones always are.
"""

from __future__ import annotations

import threading

import uvicorn

from varv.app.server.protocol import Sweep
from varv.kernel.clock import wall_seconds

_LOOK_S = 0.02


def drain(server: uvicorn.Server, sweep: Sweep, timeout_s: float) -> None:
    """Accept no more connections, and return once those that are open have ended, or after `timeout_s`.

    Called from another thread than the server's; `sweep` makes its connections.
    """
    for listening in server.servers:
        # Behind what this loop has accepted already; the socket is shared, and stays open elsewhere.
        listening.get_loop().call_soon_threadsafe(listening.close)
        listening.get_loop().call_soon_threadsafe(sweep.drain)
    pause, until = threading.Event(), wall_seconds() + timeout_s
    pause.wait(_LOOK_S)
    while server.server_state.connections and wall_seconds() < until:
        pause.wait(_LOOK_S)
