"""Where a running server can be reached: a small file in the home, written when it starts and removed when
it stops.
"""

from __future__ import annotations

import os

import msgspec

from varv.app.settings import Settings
from varv.kernel.blobs import write_atomically
from varv.kernel.faults import Faults


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A server: its process and its addresses."""

    pid: int
    host: str
    port: int
    inference_port: int
    grpc_port: int = -1
    tls: bool = False

    @property
    def url(self) -> str:
        """Where the control plane listens."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        host = f"[{host}]" if ":" in host else host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


def announce(settings: Settings, port: int, inference_port: int, grpc_port: int) -> None:
    """Write where this process can be reached."""
    running = Running(
        pid=os.getpid(),
        host=settings.host,
        port=port,
        inference_port=inference_port,
        grpc_port=grpc_port,
        tls=bool(settings.tls_certificate),
    )
    write_atomically(settings.server_file, msgspec.json.encode(running), Faults())


def withdraw(settings: Settings) -> None:
    """Remove what this process has announced."""
    settings.server_file.unlink(missing_ok=True)


def running_server(settings: Settings) -> Running | None:
    """Return the server of a home, or None if there is none; what a killed one left behind does not count."""
    try:
        found = msgspec.json.decode(settings.server_file.read_bytes(), type=Running)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    return found if _is_alive(found.pid) else None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
