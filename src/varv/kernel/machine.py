"""The machine that something is computed on, as far as it bears on the last bits of a result.

Read from files of the kernel and of installed packages; no numeric library is imported for it, so it costs
milliseconds. What is not known is empty.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import msgspec

_NVIDIA = Path("/proc/driver/nvidia")
_BLAS = re.compile(r'"blas":\s*\{[^}]*?"name":\s*"([^"]*)"[^}]*?"version":\s*"([^"]*)"', re.DOTALL)


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Processor, libraries of the system and devices."""

    processor: str = ""
    """Its model, as it calls itself."""
    flags: tuple[str, ...] = ()
    """What it can do, by which numeric libraries choose their kernels."""
    n_processors: int = 1
    """How many of them this process may use, which is how many threads libraries start."""
    memory_bytes: int = 0
    system: str = ""
    """Name and release of the operating system's kernel."""
    libc: str = ""
    blas: str = ""
    """What numpy was built against."""
    devices: tuple[str, ...] = ()
    """GPUs, by their models."""
    driver: str = ""
    """Of the GPUs."""


def machine(paths: Iterable[str]) -> Machine:
    """Return this machine, as seen by an interpreter that looks for packages in `paths`."""
    model, flags = _processor()
    return Machine(
        processor=model,
        flags=flags,
        n_processors=n_processors(),
        memory_bytes=memory_bytes(),
        system=f"{platform.system()} {platform.release()}",
        libc=_libc(),
        blas=_blas(paths),
        devices=_devices(),
        driver=_driver(),
    )


def n_processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _processor() -> tuple[str, tuple[str, ...]]:
    said = _text(Path("/proc/cpuinfo")).partition("\n\n")[0]
    fields = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
    named = {name.strip().lower(): value.strip() for name, value in fields.items()}
    flags = named.get("flags") or named.get("features") or ""
    return named.get("model name") or platform.processor(), tuple(sorted(flags.split()))


def memory_bytes() -> int:
    """Return how much memory the machine has; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0


def _libc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError, AttributeError):
        return "-".join(platform.libc_ver())


def _blas(paths: Iterable[str]) -> str:
    for folder in paths:
        if said := _text(Path(folder) / "numpy" / "__config__.py"):
            found = _BLAS.search(said)
            return " ".join(found.groups()) if found else ""
    return ""


@cache
def _devices() -> tuple[str, ...]:
    found = []
    for place in sorted(_NVIDIA.glob("gpus/*/information")):
        model = re.search(r"^Model:\s*(.+)$", _text(place), re.MULTILINE)
        found.append(model[1].strip() if model else "GPU")
    return tuple(found)


@cache
def _driver() -> str:
    return _text(Path("/sys/module/nvidia/version")).strip()


def _text(place: Path) -> str:
    try:
        return place.read_text(errors="replace")
    except OSError:
        return ""
