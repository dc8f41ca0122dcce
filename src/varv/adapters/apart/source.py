"""A function as its process is handed it: the source that defines it, and where in it."""

from __future__ import annotations

import msgspec


class FunctionSource(msgspec.Struct, frozen=True):
    """Where a function is defined."""

    module: str
    name: str
    files: tuple[tuple[str, str], ...]
    """Source by path below the project's folder; none where the module is installed."""
