"""The doctor: whether this machine and this home are fit for varv, and where each setting came from."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from varv import __version__
from varv.app.compose import open_ledger, open_views
from varv.app.server.server_file import Running, running_server
from varv.app.server.tls import expires_at_s, said_of, sound_pem, tls_files_of
from varv.app.settings import Loaded, Settings, plain
from varv.data import DatasetsView
from varv.home.accounts import LOUD_SHARE, text_notices
from varv.home.data_status import PartStatus, data_status, quarantined_by_reason
from varv.kernel.clock import DAY, SystemClock
from varv.kernel.errors import VarvError
from varv.kernel.views import Views
from varv.loop.views import LoopView

LEAST_PYTHON = (3, 11)
SOON = 14 * DAY
"""Before its end a certificate is to be renewed."""
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
        _store(settings.home),
        _disk(settings.home),
        _server(server),
        _port("control port", settings.host, settings.port, server),
        _port("inference port", settings.host, settings.inference_port, server),
        *([_port("grpc port", settings.host, settings.grpc_port, server)] if settings.grpc_port >= 0 else []),
        *_tls(settings),
        _browser(),
        *_data(settings.home),
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


def _data(home: Path) -> list[Check]:
    """Look at what became of rows, where there is a ledger that can be read."""
    if not (home / "ledger.db").exists():
        return []
    try:
        ledger = open_ledger(home, read_only=True)
    except VarvError as error:
        return [Check(name="data", verdict="bad", found=str(error), hint="see varv verify")]
    try:
        views = open_views(ledger, home)
        parts, reasons = data_status(views), quarantined_by_reason(views)
        notices = _text_features(views)
    except VarvError as error:
        return [Check(name="data", verdict="bad", found=str(error), hint="see varv verify")]
    finally:
        ledger.close()
    return [_quarantine(parts, reasons), *_unused(parts), *notices]


def _quarantine(parts: Sequence[PartStatus], reasons: Mapping[str, int]) -> Check:
    n_rows = sum(one.n_quarantined for one in parts)
    if not n_rows:
        return Check(name="quarantine", verdict="ok", found="empty")
    named = ", ".join(f"{reason} ({n:,})" for reason, n in list(reasons.items())[:5])
    hint = "varv quarantine show, then release, replace or drop"
    return Check(name="quarantine", verdict="note", found=f"{n_rows:,} rows: {named}", hint=hint)


def _unused(parts: Sequence[PartStatus]) -> list[Check]:
    """Point out parts of whose rows many repeat a key, or are about no row."""
    found = []
    for one in parts:
        name, n_all = f"rows of {one.dataset}/{one.part}", one.n_rows + one.n_different
        causes = (
            (
                one.n_different,
                "repeat a key with other values",
                "look at the key; the first row with it stands",
            ),
            (
                one.n_waiting,
                "are about a row that is not there",
                "see whether both name rows by the same key",
            ),
            (one.n_early, "say something from before their row", "look at the clocks of their senders"),
        )
        for n, cause, hint in causes:
            if n > LOUD_SHARE * n_all:
                text = f"{n:,} of {n_all:,} {cause}"
                found.append(Check(name=name, verdict="note", found=text, hint=hint))
    return found


def _text_features(views: Views) -> list[Check]:
    with views.reading(LoopView) as loops:
        definitions = [record.definition[1:] for record in loops.loops.values()]
    with views.reading(DatasetsView) as view:
        datasets = [str(one.dataset) for one in view.datasets()]
        found = [text for name in datasets for one in definitions for text in text_notices(view, name, one)]
    return [Check(name="features", verdict="note", found=text) for text in dict.fromkeys(found)]


def _store(home: Path) -> Check:
    from varv.app.verifying import verify_report

    if not (home / "ledger.db").exists():
        return Check(name="store", verdict="ok", found="nothing is stored yet")
    found = verify_report(home, quick=True)
    if found.ok:
        told = f"the ledger is as it was written: {found.n_entries:,} entries"
        return Check(name="store", verdict="ok", found=told, hint="varv verify checks all files too")
    return Check(name="store", verdict="bad", found=str(found.findings[0]), hint="run varv verify")


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
    if server is not None and port in (server.port, server.inference_port, server.grpc_port):
        return Check(name=name, verdict="ok", found=f"{port} is that of the running server")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            option = _OPTIONS[name]
            return Check(
                name=name, verdict="bad", found=f"{port}: {error.strerror}", hint=f"choose another: {option}"
            )
    return Check(name=name, verdict="ok", found=f"{port} is free")


def _tls(settings: Settings) -> Sequence[Check]:
    """Return what is to be said of the certificate, nothing if there is none."""
    try:
        files = tls_files_of(settings)
        if files is None:
            return ()
        pem = sound_pem(files, SystemClock())
    except VarvError as error:
        return (Check(name="certificate", verdict="bad", found=str(error), hint=error.hint),)
    soon = 1_000_000 * expires_at_s(pem) < SystemClock().now() + SOON
    hint = "renew it; the server reads it when it changes" if soon else ""
    return (Check(name="certificate", verdict="note" if soon else "ok", found=said_of(pem), hint=hint),)


_OPTIONS = {"control port": "--port", "inference port": "--inference-port", "grpc port": "--grpc-port"}


def _browser() -> Check:
    names: Sequence[str] = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    hint = "" if found else "only the tests of the console need it"
    return Check(name="browser", verdict="ok" if found else "note", found=found or "no Chromium", hint=hint)
