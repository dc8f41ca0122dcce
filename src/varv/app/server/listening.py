"""Where a server listens: the control plane's HTTP server, and sockets on ports that are free."""

from __future__ import annotations

import importlib.util
import socket

import uvicorn

from varv.app.server.protocol import Deadlines, bounded_protocol
from varv.app.server.tls import Certificates
from varv.app.server.tls_server import TlsServer
from varv.fronts.gateway import Gateway
from varv.kernel.errors import FailedPrecondition

SLOWEST_UPLOAD = 64 << 10
"""Bytes a second: artifacts come in bodies of any size."""


def control_plane(application: Gateway, certificates: Certificates | None) -> uvicorn.Server:
    """Return the server of the control plane, over TLS if it has certificates; it does not listen yet."""
    return TlsServer(
        uvicorn.Config(
            application,
            http=bounded_protocol(Deadlines(least_bytes_per_s=SLOWEST_UPLOAD)),  # type: ignore[bad-argument-type]
            loop="uvloop",
            ws="none",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
        ),
        certificates,
    )


def listener(host: str, port: int, option: str) -> socket.socket:
    """Return a listening socket.

    Raises
    ------
    FailedPrecondition
        If the port is taken.
    """
    made = _bound(host, port, option, socket.SO_REUSEADDR)
    made.listen(512)
    return made


def reserved(host: str, port: int, option: str) -> socket.socket:
    """Return a socket that listens to nothing, and keeps a port for those that bind it as well: gRPC's
    servers take no socket that is open.

    Raises
    ------
    FailedPrecondition
        If the port is taken, or gRPC is not installed.
    """
    if importlib.util.find_spec("grpc") is None:
        raise FailedPrecondition("setting", option, "needs gRPC", hint="pip install 'varv[grpc]'")
    probe = _bound(host, port, option, socket.SO_REUSEADDR)
    # Others that share the port would be no obstacle to sharing it, so it is tried alone first.
    found = probe.getsockname()[1]
    probe.close()
    return _bound(host, found, option, socket.SO_REUSEPORT)


def address_of(bound: socket.socket) -> str:
    """Return where a socket is bound, as gRPC has it.

    Examples
    --------
    >>> with reserved("127.0.0.1", 0, "grpc_port") as kept:
    ...     address_of(kept).startswith("127.0.0.1:")
    True
    """
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bound(host: str, port: int, option: str, shared: int) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, shared, 1)
    try:
        made.bind((host, port))
    except OSError as error:
        made.close()
        hint = f"choose another with --{option.replace('_', '-')}, or stop what uses it"
        raise FailedPrecondition("port", port, "cannot be used", why=error.strerror, hint=hint) from None
    return made
