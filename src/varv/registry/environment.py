"""The environment of a run: interpreter, platform, and the versions of the libraries that it reaches."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable
from functools import cache
from importlib import metadata

import msgspec

from varv.kernel.codec import Digest, digest_of

_ALWAYS = ("numpy", "scikit-learn", "skl2onnx", "onnx", "onnxruntime", "polars", "varv")


class Environment(msgspec.Struct, frozen=True):
    """What a run was computed with; equal environments have equal digests."""

    python: str
    platform: str
    libraries: dict[str, str]

    @property
    def digest(self) -> Digest:
        """The digest of all three."""
        return digest_of(self)


def environment(libraries: Iterable[str] = ()) -> Environment:
    """Return the present environment, with the versions of `libraries` (top-level packages) and of our
    own.
    """
    names = {*_ALWAYS, *(name for top in libraries for name in _distributions().get(top, ()))}
    versions = {name: version for name in sorted(names) if (version := _version(name)) is not None}
    python = ".".join(map(str, sys.version_info[:3]))
    return Environment(python, f"{platform.system()}-{platform.machine()}".lower(), versions)


@cache
def _distributions() -> dict[str, list[str]]:
    return {top: sorted(set(names)) for top, names in metadata.packages_distributions().items()}


@cache
def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
