"""The environment that something is computed in: interpreter, platform, and the versions of libraries.

`environment` describes what a function of this process reaches, `installed` all that an interpreter could
import, of this process or of another one. The hardware is in `kernel.machine`.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

import msgspec

from varv.kernel.codec import Digest, digest, digest_of
from varv.kernel.errors import FailedPrecondition

_ALWAYS = ("numpy", "scikit-learn", "skl2onnx", "onnx", "onnxruntime", "polars", "varv")
_DESCRIPTION = ".dist-info"
_ANSWERS_WITHIN_S = 60.0
_ASK = """import json, platform, sys
print(json.dumps([platform.python_version(), f"{platform.system()}-{platform.machine()}".lower(), sys.path]))
"""


class Environment(msgspec.Struct, frozen=True):
    """What a run was computed with; equal environments have equal digests."""

    python: str
    platform: str
    libraries: dict[str, str]

    @property
    def digest(self) -> Digest:
        """The digest of all three."""
        return digest_of(self)


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """An environment as a whole: every distribution that can be imported."""

    environment: Environment
    contents: dict[str, Digest]
    """For each distribution that says so, the digest of what its files are by its own record; the same for
    whoever installs the same wheel."""
    local: tuple[str, ...]
    """Distributions that came from a folder or an address rather than from an index."""
    paths: tuple[str, ...]
    """Where the interpreter looks."""


def environment(libraries: Iterable[str] = ()) -> Environment:
    """Return the present environment, with the versions of `libraries` (top-level packages) and of our
    own.
    """
    names = {*_ALWAYS, *(name for top in libraries for name in _distributions().get(top, ()))}
    versions = {name: version for name in sorted(names) if (version := _version(name)) is not None}
    python = ".".join(map(str, sys.version_info[:3]))
    return Environment(python, f"{platform.system()}-{platform.machine()}".lower(), versions)


def installed(python: Path | None = None, *, paths: Sequence[str] = ()) -> Installed:
    """Return everything that is installed for an interpreter.

    Parameters
    ----------
    python
        The interpreter, which is asked in a process of its own; this one by default.
    paths
        Further folders that it will look in first, as ``PYTHONPATH`` names them; of another interpreter.

    Raises
    ------
    FailedPrecondition
        If the interpreter does not answer.
    """
    if python is None:
        version, name, found = platform.python_version(), environment().platform, sys.path
    else:
        version, name, found = _asked(python)
    versions: dict[str, str] = {}
    contents: dict[str, Digest] = {}
    local: list[str] = []
    for place in _described((*paths, *found)):
        # By the folder's name: to parse what is in it takes ten times as long.
        called, _, its_version = place.name.removesuffix(_DESCRIPTION).partition("-")
        called = called.lower().replace("_", "-").replace(".", "-")
        if not its_version or called in versions:
            continue  # the first of a name is the one that is imported
        versions[called] = its_version
        if record := _read(place / "RECORD"):
            contents[called] = _content(record)
        if _is_local(_read(place / "direct_url.json")):
            local.append(called)
    libraries = dict(sorted(versions.items()))
    whole = Environment(version, name, libraries)
    return Installed(environment=whole, contents=contents, local=tuple(sorted(local)), paths=tuple(found))


def _described(paths: Iterable[str]) -> Iterable[Path]:
    for folder in dict.fromkeys(paths):
        with suppress(OSError):
            yield from sorted(place for place in Path(folder).iterdir() if place.name.endswith(_DESCRIPTION))


def _read(place: Path) -> bytes:
    try:
        return place.read_bytes()
    except OSError:
        return b""


def _asked(python: Path) -> tuple[str, str, list[str]]:
    command = [str(python), "-I", "-c", _ASK]
    try:
        answer = subprocess.run(command, capture_output=True, timeout=_ANSWERS_WITHIN_S, check=True)
        version, name, paths = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        problem = "does not say what it is"
        raise FailedPrecondition("interpreter", python.name, problem, why=str(error)[:300]) from None
    return version, name, paths


def _content(record: bytes) -> Digest:
    """Return a digest of what a wheel installed, without what its installer added: scripts that name the
    interpreter's folder, compiled files, and the notes of the installer itself.
    """
    files = (line for line in record.splitlines() if b",sha256=" in line and b".dist-info/" not in line)
    return digest(b"\n".join(sorted(line for line in files if not line.startswith(b".."))))


def _is_local(direct_url: bytes) -> bool:
    # What names an archive elsewhere is a wheel that can be had again.
    return bool(direct_url) and (b'"archive_info"' not in direct_url or b'"file:' in direct_url)


@cache
def _distributions() -> dict[str, list[str]]:
    return {top: sorted(set(names)) for top, names in metadata.packages_distributions().items()}


@cache
def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
