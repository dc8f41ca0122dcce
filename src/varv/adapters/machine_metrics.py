"""What a machine is doing, under the names that MLflow gives such metrics: read from the kernel's files and
from NVIDIA's management library where there is one. Nothing has to be installed for it.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

_MB = 1e6
_TICKS = slice(0, 8)
_IDLE = slice(3, 5)
_NVML = "libnvidia-ml.so.1"


class MachineMetrics:
    """Reads the machine again and again; rates are since the reading before.

    Parameters
    ----------
    folder
        On the disk whose room is told.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ticks = _ticks()
        self._network = _network()
        self._devices = _Devices()

    def read(self) -> dict[str, float]:
        """Return what can be read, by name."""
        return {**self._processor(), **_memory(), **self._disk(), **self._traffic(), **self._devices.read()}

    def _processor(self) -> dict[str, float]:
        before, self._ticks = self._ticks, _ticks()
        if not before or not self._ticks:
            return {}
        spent = [now - then for now, then in zip(self._ticks, before, strict=True)]
        share = 1 - sum(spent[_IDLE]) / sum(spent) if sum(spent) else 0.0
        return {"system/cpu_utilization_percentage": 100 * share}

    def _disk(self) -> dict[str, float]:
        try:
            disk = os.statvfs(self._folder)
        except OSError:
            return {}
        used, free = (disk.f_blocks - disk.f_bfree) * disk.f_frsize, disk.f_bavail * disk.f_frsize
        return {
            "system/disk_usage_percentage": 100 * used / max(used + free, 1),
            "system/disk_usage_megabytes": used / _MB,
            "system/disk_available_megabytes": free / _MB,
        }

    def _traffic(self) -> dict[str, float]:
        now = _network()
        if now is None or self._network is None:
            return {}
        received, sent = (n - first for n, first in zip(now, self._network, strict=True))
        return {
            "system/network_receive_megabytes": received / _MB,
            "system/network_transmit_megabytes": sent / _MB,
        }


def _ticks() -> list[int]:
    """Return the ticks of all processors by what they were spent on: user, nice, system, idle, waiting."""
    first = _text("/proc/stat").partition("\n")[0].split()
    return [int(field) for field in first[1:][_TICKS]]


def _memory() -> dict[str, float]:
    fields = {}
    for line in _text("/proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        fields[name] = int(value.split()[0]) * 1024
    if "MemTotal" not in fields or "MemAvailable" not in fields:
        return {}
    used = fields["MemTotal"] - fields["MemAvailable"]
    return {
        "system/system_memory_usage_megabytes": used / _MB,
        "system/system_memory_usage_percentage": 100 * used / fields["MemTotal"],
    }


def _network() -> tuple[int, int] | None:
    """Return the bytes that were received and sent by all interfaces but the loopback."""
    lines = _text("/proc/net/dev").splitlines()[2:]
    if not lines:
        return None
    received = sent = 0
    for line in lines:
        name, _, counts = line.partition(":")
        if name.strip() != "lo":
            numbers = counts.split()
            received, sent = received + int(numbers[0]), sent + int(numbers[8])
    return received, sent


def _text(place: str) -> str:
    try:
        return Path(place).read_text()
    except OSError:
        return ""


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class _Devices:
    """GPUs, by the C interface of NVML, which is stable under these names."""

    def __init__(self) -> None:
        self._handles: list[ctypes.c_void_p] = []
        self._nvml: Any = None
        try:
            nvml = ctypes.CDLL(_NVML)
        except OSError:
            return
        n = ctypes.c_uint()
        if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetCount_v2(ctypes.byref(n)):
            return
        self._nvml = nvml
        for i in range(n.value):
            handle = ctypes.c_void_p()
            if nvml.nvmlDeviceGetHandleByIndex_v2(i, ctypes.byref(handle)) == 0:
                self._handles.append(handle)

    def read(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for i, handle in enumerate(self._handles):
            for name, value in self._of(handle).items():
                found[f"system/gpu_{i}_{name}"] = value
        return found

    def _of(self, handle: ctypes.c_void_p) -> dict[str, float]:
        found: dict[str, float] = {}
        used, memory = _Utilization(), _Memory()
        drawn, limit = ctypes.c_uint(), ctypes.c_uint()
        # Each returns 0 if it knows; what a device does not know is left out.
        if self._nvml.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(used)) == 0:
            found["utilization_percentage"] = used.gpu
        if self._nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) == 0 and memory.total:
            found["memory_usage_megabytes"] = memory.used / _MB
            found["memory_usage_percentage"] = 100 * memory.used / memory.total
        if self._nvml.nvmlDeviceGetPowerUsage(handle, ctypes.byref(drawn)) == 0:
            found["power_usage_watts"] = drawn.value / 1000
            if self._nvml.nvmlDeviceGetEnforcedPowerLimit(handle, ctypes.byref(limit)) == 0 and limit.value:
                found["power_usage_percentage"] = 100 * drawn.value / limit.value
        return found
