"""The environment of a run made again: the present one if it is equal, or else one from its lock.

Requirements are single distributions with versions; options, addresses and paths among them are refused, and
nothing is passed through a shell. uv makes it where it is installed, venv and pip otherwise. Both find
packages where their own settings say.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from varv.app.scripts.checkout import within
from varv.kernel.environment import installed
from varv.kernel.errors import FailedPrecondition, InvalidInput
from varv.runs.capture import Capture

_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[A-Za-z0-9._,\s-]*\])?\s*"
    r"==\s*(?P<version>[A-Za-z0-9.!+_-]+)\s*(?P<marker>;[^\\]*)?"
)
_HASH = re.compile(r"--hash=(sha256|sha384|sha512):[0-9a-f]+")
_PYTHON = re.compile(r"\d+\.\d+\.\d+[A-Za-z0-9]*")
_WITHIN_S = 3600.0


def matches(capture: Capture, root: Path) -> bool:
    """Return whether the present environment has everything that a run had, to the last file, with what is
    in the folders of its source that it looked in.
    """
    here = installed(paths=[str(root / path) for path in capture.paths])
    equal = here.contents == capture.contents and here.local == capture.local
    return equal and here.environment == capture.environment


def made(capture: Capture, root: Path, place: Path, variables: Mapping[str, str]) -> Path:
    """Return the interpreter of an environment at `place`, made by the lock of a run.

    Parameters
    ----------
    root
        Of the run's source, which its lock is in.
    variables
        The environment that installers run in.

    Raises
    ------
    FailedPrecondition
        If it cannot be made.
    InvalidInput
        If a requirement is none, or names something else than a version of a distribution.
    """
    version = capture.environment.python
    if not _PYTHON.fullmatch(version):
        raise InvalidInput("interpreter", version[:40], "is no version of Python")
    lock = None if capture.lock is None else within(root, capture.lock.path)
    beside = str(Path(sys.executable).parent)
    uv = shutil.which("uv", path=f"{variables.get('PATH', '')}{os.pathsep}{beside}")
    if uv and lock is not None and lock.name == "uv.lock":
        synced = {**variables, "UV_PROJECT_ENVIRONMENT": str(place), "VIRTUAL_ENV": str(place)}
        _do((uv, "sync", "--frozen", "--no-progress", "--python", version), lock.parent, synced)
        return place / "bin" / "python"
    lines = _requirements(capture, lock)
    listed = place.with_name(f"{place.name}.txt")
    listed.write_text("".join(f"{line}\n" for line in lines))
    hashes = ("--require-hashes",) if lines and all("--hash=" in line for line in lines) else ()
    python = str(place / "bin" / "python")
    if uv:
        _do((uv, "venv", "--no-progress", "--no-project", "--python", version, str(place)), root, variables)
        install: Sequence[str] = (uv, "pip", "install", "--no-progress", "--python", python)
    else:
        if sys.version.split()[0] != version:
            hint = f"install uv, which finds other interpreters, or run varv by Python {version}"
            raise FailedPrecondition("interpreter", version, "is not the one that runs varv", hint=hint)
        _do((sys.executable, "-m", "venv", str(place)), root, variables)
        install = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    if lines:
        _do((*install, "--no-deps", *hashes, "-r", str(listed)), root, variables)
    return Path(python)


def requirements_in(text: str) -> list[str]:
    r"""Return the lines of a file of requirements that pins versions, each with its hashes.

    Raises
    ------
    InvalidInput
        If a line is anything else: an option, an address, a path, or a range of versions.

    Examples
    --------
    >>> requirements_in("numpy==2.1.0 ; python_version > '3.9' --hash=sha256:ab\n# made by uv\n")
    ["numpy==2.1.0; python_version > '3.9' --hash=sha256:ab"]
    >>> requirements_in("-r other.txt\n")
    Traceback (most recent call last):
    varv.kernel.errors.InvalidInput: requirement '-r other.txt' is refused; pin a version: name==1.0
    """
    lines = []
    for whole in re.sub(r"\\\r?\n", " ", text).splitlines():
        line = re.sub(r"(^|\s)#.*$", "", whole).strip()
        if line:
            lines.append(_checked(line))
    return lines


def _checked(line: str) -> str:
    hashes = [word for word in line.split() if word.startswith("--hash=")]
    plain = " ".join(word for word in line.split() if not word.startswith("--hash="))
    found = _REQUIREMENT.fullmatch(plain)
    if not found or not all(map(_HASH.fullmatch, hashes)) or "--" in (found["marker"] or ""):
        raise InvalidInput("requirement", line[:120], "is refused", hint="pin a version: name==1.0")
    marker = f"; {found['marker'][1:].strip()}" if found["marker"] else ""
    return " ".join((f"{found['name']}=={found['version']}{marker}", *hashes))


def _requirements(capture: Capture, lock: Path | None) -> Iterable[str]:
    if lock is not None and lock.name == "requirements.lock":
        return requirements_in(lock.read_text())
    # Without a lock of ours: what was installed, as far as an index has it.
    pinned = capture.environment.libraries.items()
    return [_checked(f"{name}=={version}") for name, version in pinned if name not in capture.local]


def _do(command: Sequence[str], folder: Path, variables: Mapping[str, str]) -> None:
    # What the present environment is would be taken for the one to install into.
    own = {name: value for name, value in variables.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        answer = subprocess.run(
            list(command), cwd=folder, env=own, capture_output=True, timeout=_WITHIN_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FailedPrecondition("environment", command[0], "cannot be made", why=str(error)[:300]) from None
    if answer.returncode:
        why = answer.stderr.decode(errors="replace").strip()[-500:]
        hint = "compare with the present environment by --environment present"
        raise FailedPrecondition("environment", "recorded", "cannot be made", why=why, hint=hint)
