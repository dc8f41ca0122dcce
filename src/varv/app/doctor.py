"""The doctor: whether this machine and this home are fit for varv, and where each setting came from."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from varv import __version__
from varv.app.server_file import Running, running_server
from varv.app.settings import Loaded, plain

LEAST_PYTHON = (3, 11)
LEAST_FREE_BYTES = 1 << 30
_LIBRARIES = (
    "numpy",
    "polars",
    "scikit-learn",
    "onnxruntime",
    "starlette",
    "uvicorn",
    "msgspec",
    "cryptography",
)


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at; `verdict` is ``ok``, ``note`` or ``bad``."""

    name: str
    verdict: str
    found: str
    hint: str = ""


class SettingFound(msgspec.Struct, frozen=True, kw_only=True):
    """A setting in force and what it was taken from."""

    name: str
    value: str | int | float
    source: str


class DoctorReport(msgspec.Struct, frozen=True, kw_only=True):
    """All checks, and all settings."""

    ok: bool
    checks: tuple[Check, ...]
    settings: tuple[SettingFound, ...]


def examine(loaded: Loaded) -> DoctorReport:
    """Return what was found; nothing is changed, and no network is used."""
    settings = loaded.settings
    server = running_server(settings)
    checks = (
        _python(),
        _libraries(),
        _home(settings.home),
        _disk(settings.home),
        _server(server),
        _port("control port", settings.host, settings.port, server),
        _port("inference port", settings.host, settings.inference_port, server),
        _browser(),
    )
    values = plain(settings)
    found = tuple(SettingFound(name=name, value=values[name], source=loaded.sources[name]) for name in values)
    return DoctorReport(ok=all(check.verdict != "bad" for check in checks), checks=checks, settings=found)


def _python() -> Check:
    good = sys.version_info[:2] >= LEAST_PYTHON
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}, varv {__version__}"
    return Check(
        name="python", verdict="ok" if good else "bad", found=found, hint="" if good else "use 3.11 or later"
    )


def _libraries() -> Check:
    found: list[str] = []
    missing: list[str] = []
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    hint = f"install {', '.join(missing)}" if missing else ""
    return Check(name="libraries", verdict="bad" if missing else "ok", found=", ".join(found), hint=hint)


def _home(home: Path) -> Check:
    nearest = next((path for path in (home, *home.absolute().parents) if path.exists()), Path("/"))
    writable = nearest.is_dir() and os.access(nearest, os.W_OK)
    state = (
        "holds a ledger"
        if (home / "ledger.db").exists()
        else "is empty"
        if home.exists()
        else "is not there yet"
    )
    hint = "" if writable else "choose another with --home"
    return Check(name="home", verdict="ok" if writable else "bad", found=f"{home} {state}", hint=hint)


def _disk(home: Path) -> Check:
    nearest = next(path for path in (home.absolute(), *home.absolute().parents) if path.exists())
    free = shutil.disk_usage(nearest).free
    low = free < LEAST_FREE_BYTES
    hint = "make room: a year of flights takes half a gigabyte" if low else ""
    return Check(
        name="disk", verdict="note" if low else "ok", found=f"{free / (1 << 30):.1f} GiB free", hint=hint
    )


def _server(server: Running | None) -> Check:
    found = "not running" if server is None else f"pid {server.pid} at {server.url}"
    return Check(name="server", verdict="ok", found=found)


def _port(name: str, host: str, port: int, server: Running | None) -> Check:
    if server is not None and port in (server.port, server.inference_port):
        return Check(name=name, verdict="ok", found=f"{port} is that of the running server")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            option = "--inference-port" if name.startswith("inference") else "--port"
            return Check(
                name=name, verdict="bad", found=f"{port}: {error.strerror}", hint=f"choose another: {option}"
            )
    return Check(name=name, verdict="ok", found=f"{port} is free")


def _browser() -> Check:
    names: Sequence[str] = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    hint = "" if found else "only the tests of the console need it"
    return Check(name="browser", verdict="ok" if found else "note", found=found or "no Chromium", hint=hint)
