"""Settings: one frozen tree, and where each value came from. The only module that reads the environment.

The order is: built-in defaults, then ``varv.toml``, then ``VARV_*`` variables, then flags; the later one
wins. A name that nobody knows is an error, since a setting that is silently ignored is worse than none.
OpenTelemetry's standard variables come before our own.
Clients of the data plane stand in the file too, and are read by `app.clients`.
"""

from __future__ import annotations

import ctypes
import difflib
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from varv.app.clients import TABLE, clients_of, tables_in
from varv.app.otel_variables import endpoint_of, pairs_of, standard_settings
from varv.fronts.access.cors import Origins
from varv.kernel.errors import InvalidInput
from varv.kernel.sizes import size_bytes
from varv.kernel.tracing import SAMPLERS

FILE = "varv.toml"
_PREFIX = "VARV_"
SECRETS = ("token", "otlp_headers")
"""Settings that are shown nowhere."""
_M_ARENA_MAX = -8  # malloc.h


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that can be set; `docs` says what each is for."""

    project: str = ""
    """The project that `varv up` and `varv replay` take if they name none: a Python file, or a folder of
    them. In ``varv.toml`` it is relative to that file."""
    home: Path = Path(".varv")
    """The folder that holds everything: ledger, data, packages, captures."""
    host: str = "127.0.0.1"
    """The address that both servers listen on."""
    allowed_hosts: str = ""
    """Further names by which both servers may be called, with commas between. A server on ``0.0.0.0`` may
    be called by any name until one is set."""
    allowed_origins: str = ""
    """Sites whose pages may ask the data plane from a browser, such as ``https://shop.example``, with commas
    between."""
    port: int = 8400
    """The port of the control plane: console and API."""
    inference_port: int = 8480
    """The port of the data plane: predictions."""
    grpc_port: int = -1
    """The port of the data plane over gRPC, which needs ``varv[grpc]``; there is none if it is -1."""
    workers: int = 1
    """Processes that answer predictions; they share one port."""
    token: str = ""
    """If set, every request that changes something, or takes rows out in bulk, must carry it as a bearer
    token."""
    seal_every_s: float = 5.0
    """How often captured predictions and outcomes are taken into the ledger."""
    max_rows: int = 10_000
    """The most rows of one prediction request or one batch of outcomes."""
    capture: str = "when_possible"
    """What becomes of a prediction for which the disk has no room: with ``when_possible`` it is answered,
    marked as not captured, and counted; with ``required`` it is refused with status 507."""
    capture_window_ms: int = 50
    """How long an answered prediction may take to reach the disk, in milliseconds: a power cut costs no more
    than the last so many. With 0 it is there before its answer goes out. The end of a process costs none."""
    device: str = "auto"
    """Where models of ONNX and PyTorch compute when they answer: ``cpu``, ``cuda``, or with ``auto`` on a GPU
    where there is one that their libraries can use."""
    model_time_s: float = 10.0
    """How long a model that runs code of its own may take for one call, before its process is ended and
    started anew."""
    model_memory: str = "2GiB"
    """How much memory the process of such a model may use before it is ended and started anew."""
    models_memory: str = ""
    """How much memory the models of one worker may take together, such as ``4GiB``: whichever was not asked
    for longest goes, and is loaded again by the next request for it. Without, all stay."""
    training_time_s: float = 3600.0
    """How long one fit may take before it is ended, unless its ``Train`` says ``time``."""
    training_memory: str = "4GiB"
    """How much memory one fit may use, all its processes together, unless its ``Train`` says ``memory``."""
    training_nice: int = 10
    """How far trainings stand back behind what serves, as ``nice`` counts: 0 is not at all, 19 the most."""
    online_store: str = "sqlite"
    """Where features are kept for whoever has no history in memory: ``sqlite`` for files in the home, or the
    address of a Redis, ``redis://host:port/0``."""
    online_views: str = ""
    """Feature views that requests read from there instead of memory, since they do not fit into it; names
    with commas between."""
    archive: str = ""
    """Where files of old rows go that nobody looks at from day to day: a folder, such as one on another disk,
    or ``s3://bucket/path``, which needs ``varv[objects]``; without, the folder ``archive`` of the home. In
    ``varv.toml`` a folder is relative to that file. What went elsewhere before is still found there."""
    deprecate_v1: bool = False
    """Whether answers of KServe's first protocol say that it is not to be used any more, and what follows
    it."""
    webhooks_inside: bool = False
    """Whether webhooks may call addresses that are not public, and by plain HTTP: whoever may set one reaches
    with it what this host reaches."""
    log_format: str = "text"
    """``text`` for people, ``json`` for machines."""
    tls_certificate: str = ""
    """The file of the certificate, as PEM, with which both ports speak TLS, over gRPC too; with those between
    it and an authority that callers trust. In ``varv.toml`` it is relative to that file, as are the next
    two. Read again when it changes."""
    tls_key: str = ""
    """The file of its private key, without a password."""
    tls_client_authority: str = ""
    """The file of the authorities that have to vouch for whoever calls the data plane, which then needs a
    certificate too; anybody may call if it is empty."""
    access_log: str = "off"
    """Which requests get a line of JSON on standard error: ``off`` none, ``problems`` those that are refused
    or slow, ``all`` those and of the others ``access_log_share``."""
    access_log_share: float = 1.0
    """The share of requests without a problem that get a line, from 0 to 1."""
    access_log_slow_ms: int = 1000
    """From how many milliseconds on a request is slow."""
    otlp_endpoint: str = ""
    """The OpenTelemetry collector that gets traces and metrics, such as ``http://127.0.0.1:4318``; there are
    none without it."""
    otlp_headers: str = ""
    """Headers for the collector, ``name=value`` with commas between; never shown."""
    otlp_certificate: str = ""
    """The file of the authorities that vouch for the collector; the system's if it is empty."""
    otlp_timeout_s: float = 10.0
    """How long the collector may take to answer."""
    service_name: str = "varv"
    """What traces and metrics say that they are from."""
    resource_attributes: str = ""
    """What else they say of that, ``name=value`` with commas between."""
    trace_sampler: str = "parentbased_traceidratio"
    """Which requests are traced: ``always_on``, ``always_off`` or ``traceidratio``; with ``parentbased_``
    before it those whose caller says so, and only the others by the rest. What the loop does is traced unless
    it is ``always_off``."""
    trace_ratio: float = 0.01
    """The share that ``traceidratio`` takes."""
    metrics_every_s: float = 60.0
    """How often metrics are sent; never if it is 0."""
    metrics_temporality: str = "cumulative"
    """Whether what only grows is sent as ``cumulative`` since the start, or as ``delta``."""
    fault: str = ""
    """A crash point for tests, ``point:nth`` or ``point:nth:kill``."""

    @property
    def server_file(self) -> Path:
        """The file in which a running `varv up` says where it can be reached."""
        return self.home / "server.json"


@dataclass(frozen=True)
class Loaded:
    """Settings, and for each of them what it was taken from."""

    settings: Settings
    sources: Mapping[str, str]
    file: Path = Path(FILE)
    """The ``varv.toml`` that was read, or that would be if there were one."""


def load_settings(
    flags: Mapping[str, object], *, environ: Mapping[str, str] | None = None, folder: Path | None = None
) -> Loaded:
    """Return the settings in force.

    Parameters
    ----------
    flags
        Values given on the command line; None means not given.
    environ
        The environment; that of this process by default.
    folder
        Where ``varv.toml`` is looked for, the working folder by default; beside the home folder it is found
        as well.

    Raises
    ------
    InvalidInput
        If a name is unknown or a value has the wrong type or lies out of range.

    Examples
    --------
    >>> found = load_settings({"port": 9000}, environ={"VARV_WORKERS": "2"}, folder=Path("/nowhere"))
    >>> found.settings.port, found.settings.workers, found.sources["workers"], found.sources["home"]
    (9000, 2, 'VARV_WORKERS', 'default')
    """
    environ = dict(os.environ) if environ is None else environ
    folder = Path() if folder is None else folder
    given_flags = {name: value for name, value in flags.items() if value is not None}
    from_environ = _from_environ(environ)
    home = Path(str(given_flags.get("home", from_environ.get("home", (Settings.home, ""))[0])))
    values: dict[str, object] = {}
    sources = {field.name: "default" for field in fields(Settings)}
    places = [home.parent / FILE, folder / FILE]
    file = next((place for place in places if place.is_file()), places[0])
    for name, value in _from_file(file).items() if file.is_file() else ():
        values[name], sources[name] = value, str(file)
    for name, (value, variable) in (*standard_settings(environ).items(), *from_environ.items()):
        values[name], sources[name] = value, variable
    for name, value in given_flags.items():
        values[name], sources[name] = value, f"--{name.replace('_', '-')}"
    typed = {name: _typed(name, value, sources[name]) for name, value in values.items()}
    return Loaded(Settings(**typed), sources, file)


def plain(settings: Settings) -> dict[str, str | int | float]:
    """Return every setting as a plain value; secrets only as whether they are set."""
    found: dict[str, str | int | float] = {}
    for field in fields(Settings):
        value = getattr(settings, field.name)
        found[field.name] = value if isinstance(value, int | float) else str(value)
    return {**found, **{name: "set" if found[name] else "" for name in SECRETS}}


def _from_file(place: Path) -> Mapping[str, object]:
    found = tables_in(place)
    # A server reads them again with each change; here it is seen to that they are sound.
    clients_of(found.pop(TABLE, {}), str(place))
    for name in found:
        _require_known(name, place.name)
    for name in ("project", "archive", "tls_certificate", "tls_key", "tls_client_authority"):
        if isinstance(path := found.get(name), str) and path and "://" not in path:
            found[name] = str(place.parent / path)
    return found


def _from_environ(environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    found = {}
    for variable, value in sorted(environ.items()):
        if variable.startswith(_PREFIX):
            name = variable.removeprefix(_PREFIX).lower()
            _require_known(name, variable)
            found[name] = (value, variable)
    return found


def _require_known(name: str, where: str) -> None:
    known = [field.name for field in fields(Settings)]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the settings are {', '.join(known)}"
        raise InvalidInput("setting", name, "does not exist", where=where, hint=hint)


_LIMITS: dict[str, tuple[float, float]] = {
    "port": (0, 65535),
    "inference_port": (0, 65535),
    "grpc_port": (-1, 65535),
    "workers": (1, 64),
    "seal_every_s": (0.05, 3600),
    "max_rows": (1, 1_000_000),
    "capture_window_ms": (0, 60_000),
    "model_time_s": (0.01, 3600),
    "training_time_s": (1, 31_536_000),
    "training_nice": (0, 19),
    "access_log_share": (0, 1),
    "access_log_slow_ms": (0, 3_600_000),
    "otlp_timeout_s": (0.1, 300),
    "trace_ratio": (0, 1),
    "metrics_every_s": (0, 86_400),
}
_MAY_BE_EMPTY = {
    "token",
    "fault",
    "allowed_hosts",
    "allowed_origins",
    "project",
    "tls_certificate",
    "tls_key",
    "tls_client_authority",
    "otlp_endpoint",
    "otlp_headers",
    "otlp_certificate",
    "resource_attributes",
    "models_memory",
    "online_views",
}
_CHOICES = {
    "log_format": ("text", "json"),
    "capture": ("when_possible", "required"),
    "access_log": ("off", "problems", "all"),
    "trace_sampler": SAMPLERS,
    "device": ("auto", "cpu", "cuda"),
    "metrics_temporality": ("cumulative", "delta"),
}


def _online_place(value: str) -> str:
    if value != "sqlite" and not value.startswith(("redis://", "rediss://")):
        raise InvalidInput(
            "setting", "online_store", "names no store", hint="write sqlite, or redis://host:port/0"
        )
    return value


_FORMS: Mapping[str, Callable[[str], object]] = {
    "model_memory": size_bytes,
    "models_memory": lambda value: size_bytes(value) if value else None,
    "training_memory": size_bytes,
    "allowed_origins": Origins,
    "otlp_headers": pairs_of,
    "resource_attributes": pairs_of,
    "online_store": _online_place,
    "otlp_endpoint": lambda value: endpoint_of(value) if value else "",
}
"""What reads a setting of which not every text is one."""


def _typed(name: str, value: object, source: str) -> Any:
    kind = type(getattr(Settings, name))
    if kind is bool:
        return _truth(name, value, source)
    if kind in (int, float):
        return _number(name, value, source, whole=kind is int)
    if not isinstance(value, str | Path) or (name not in _MAY_BE_EMPTY and not str(value)):
        raise InvalidInput("setting", name, "is not a text", given=repr(value)[:60], source=source)
    if name in _CHOICES and value not in _CHOICES[name]:
        hint = f"write {', '.join(_CHOICES[name][:-1])} or {_CHOICES[name][-1]}"
        raise InvalidInput("setting", name, f"is {str(value)[:40]!r}", source=source, hint=hint)
    if name in _FORMS:
        _require_sound(name, str(value), source, _FORMS[name])
    return str(value) if kind is str else Path(value)


def _truth(name: str, value: object, source: str) -> bool:
    said = str(value).lower()
    if said not in ("true", "false"):
        hint = "write true or false"
        raise InvalidInput("setting", name, "is not valid", given=said[:60], source=source, hint=hint)
    return said == "true"


def _require_sound(name: str, value: str, source: str, read: Callable[[str], object]) -> None:
    try:
        read(value)
    except InvalidInput as error:
        shown = "" if name in SECRETS else value[:60]
        raise InvalidInput(
            "setting", name, error.problem, given=shown, source=source, hint=error.hint
        ) from None


def _number(name: str, value: object, source: str, *, whole: bool) -> int | float:
    low, high = _LIMITS[name]
    try:
        number = (
            float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
        )
    except ValueError:
        number = None
    if number is None or not low <= number <= high or (whole and number != int(number)):
        hint = f"give a {'whole ' if whole else ''}number from {low:g} to {high:g}"
        raise InvalidInput("setting", name, "is not valid", given=str(value)[:60], source=source, hint=hint)
    return int(number) if whole else number


def variables() -> dict[str, str]:
    """Return the environment of this process, for processes that it starts."""
    return dict(os.environ)


def return_memory() -> None:
    """Let processes that this one starts give back memory that they do not need any more, and let threads
    share two heaps, here too.

    Arrays that grow are made anew, a little larger each time, and the C library keeps what it freed of up to
    32 MB for a next one that does not fit. From a quarter of a megabyte on it is now asked of the system, and
    given back, and what the library of frames freed is given back within half a second. Every thread has a
    heap of its own, up to eight a core, and each keeps what its busiest moment needed: a twentieth of a
    replay's memory.
    """
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(256 << 10))
    # Polars has an allocator of its own, which reads this as the library is loaded.
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:500,muzzy_decay_ms:0")
    n_heaps = os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    # The environment is read as a process begins, which for this one was before.
    with suppress(AttributeError, OSError, ValueError):  # another C library, or no number
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, int(n_heaps))


def share_processors() -> None:
    """Let threads of numeric libraries spin briefly and then sleep, unless the environment says otherwise.

    OpenMP's threads spin for milliseconds by default: on a machine that does anything else at the same time,
    training then takes up to ten times as long. Asleep at once, they take twice as long when it does nothing
    else. A thousand turns, microseconds, lose in neither case. Must run before such a library is imported.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        # GNU's runtime knows more than the two extremes.
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
