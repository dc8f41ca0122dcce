"""Where a server listens: the control plane's HTTP server, and sockets on ports that are free."""

from __future__ import annotations

import socket

import uvicorn

from varv.app.server.protocol import bounded_protocol
from varv.fronts.gateway import Gateway
from varv.kernel.errors import FailedPrecondition


def control_plane(application: Gateway) -> uvicorn.Server:
    """Return the server of the control plane; it does not listen yet."""
    return uvicorn.Server(
        uvicorn.Config(
            application,
            http=bounded_protocol(),  # type: ignore[bad-argument-type]
            ws="none",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
        )
    )


def listener(host: str, port: int, option: str) -> socket.socket:
    """Return a listening socket.

    Raises
    ------
    FailedPrecondition
        If the port is taken.
    """
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except OSError as error:
        made.close()
        hint = f"choose another with --{option.replace('_', '-')}, or stop what uses it"
        raise FailedPrecondition("port", port, "cannot be used", why=error.strerror, hint=hint) from None
    made.listen(512)
    return made
