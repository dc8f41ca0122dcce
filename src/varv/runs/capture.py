"""What a run was made from: source, arguments, environment, machine, variables and data.

`captured` looks, in some fifty milliseconds; `differences` says in what two captures differ. A capture is
kept with its run as the artifact `CAPTURE`, its patch as `PATCH`, and the digest of the former as the tag
`TAG`. `runs.source` asks git, `kernel.environment` and `kernel.machine` say what is installed and below it.
"""

from __future__ import annotations

import hashlib
import os
import pwd
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from varv.kernel.codec import Digest, canonical, digest
from varv.kernel.environment import Environment, installed
from varv.kernel.errors import Corrupt, InvalidInput
from varv.kernel.machine import Machine, machine
from varv.runs.model import Difference
from varv.runs.source import Source, source_of

CAPTURE, PATCH, CONFIG, OUTPUT = (
    "varv/capture.json",
    "varv/source.patch",
    "varv/config.json",
    "varv/output.txt",
)
"""Artifacts of a run that was captured."""
TAG = "varv.capture"
LOCKS = ("uv.lock", "pylock.toml", "requirements.lock")
"""Files that say what to install, the best one first."""
_VARIABLES = (
    "OMP_",
    "MKL_",
    "OPENBLAS_",
    "GOMP_",
    "KMP_",
    "NUMEXPR_",
    "VECLIB_",
    "POLARS_MAX_",
    "RAYON_NUM_",
)
_NAMED = frozenset(
    {
        "PYTHONHASHSEED",
        "CUBLAS_WORKSPACE_CONFIG",
        "CUDA_VISIBLE_DEVICES",
        "CUDA_DEVICE_ORDER",
        "NVIDIA_TF32_OVERRIDE",
        "TF_DETERMINISTIC_OPS",
        "TF_ENABLE_ONEDNN_OPTS",
        "LANG",
        "LC_ALL",
        "TZ",
    }
)


class Lock(msgspec.Struct, frozen=True):
    """The file that says what to install: its path from the root of the source, and its digest."""

    path: str
    digest: Digest


class Capture(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known of how a result came about."""

    version: int = 1
    file: str
    """The script, from the working folder."""
    arguments: tuple[str, ...] = ()
    source: Source
    environment: Environment
    """Interpreter, platform and all distributions."""
    contents: dict[str, Digest] = {}
    """Digests of what distributions consist of."""
    local: tuple[str, ...] = ()
    """Distributions that came from no index."""
    lock: Lock | None = None
    machine: Machine
    paths: tuple[str, ...] = ()
    """Where ``PYTHONPATH`` has it look for modules; from the root of the source if they are in it."""
    variables: dict[str, str] = {}
    """Those that bear on numbers and their order."""
    data: dict[str, Digest] = {}
    """Data that was declared, by path from the working folder."""
    outputs: tuple[str, ...] = ()
    """Files that the script was declared to write, from the working folder."""
    predictions: str = ""
    """The one of them that holds predictions on a pinned probe set."""

    @property
    def digest(self) -> Digest:
        """Of the whole."""
        return digest(canonical(self))


class Captured(NamedTuple):
    """A capture, with the patch of its source."""

    capture: Capture
    patch: bytes

    def tags(self) -> dict[str, str]:
        """Return the tags of a run that was captured, under the names that clients of MLflow know."""
        source = self.capture.source
        known = {
            TAG: self.capture.digest,
            "mlflow.source.name": self.capture.file,
            "mlflow.source.type": "LOCAL",
            "mlflow.source.git.commit": source.commit,
            "mlflow.source.git.branch": source.branch,
            "mlflow.source.git.repoURL": source.remote,
            "mlflow.user": user(),
        }
        return {name: value for name, value in known.items() if value}

    def artifacts(self) -> dict[str, bytes]:
        """Return what is kept beside the run, by path."""
        kept = {CAPTURE: canonical(self.capture)}
        return kept | ({PATCH: self.patch} if self.patch else {})


def captured(
    folder: Path,
    file: str,
    arguments: Sequence[str],
    variables: Mapping[str, str],
    *,
    python: Path | None = None,
    home: Path | None = None,
    data: Sequence[str] = (),
    outputs: Sequence[str] = (),
    predictions: str = "",
) -> Captured:
    """Return what a run in `folder` is made from.

    Parameters
    ----------
    file, arguments
        What runs.
    variables
        The environment that it runs in.
    python
        The interpreter, if it is not that of this process.
    home
        The folder of the home, which is no source.
    data
        Files that it reads, from the folder; to digest them takes as long as to read them.
    outputs, predictions
        Files that it writes.

    Raises
    ------
    InvalidInput
        If a data file is not there.
    """
    taken = source_of(folder, variables, without=home)
    paths = [place for place in variables.get("PYTHONPATH", "").split(os.pathsep) if place]
    found = installed(python, paths=[str(folder / path) for path in paths])
    return Captured(
        Capture(
            # From the working folder: in a checkout the whole path would be that of another file.
            file=os.path.relpath(folder / file, folder),
            arguments=tuple(arguments),
            source=taken.source,
            environment=found.environment,
            contents=found.contents,
            local=found.local,
            lock=_lock(taken.root, folder),
            machine=machine((*paths, *found.paths)),
            paths=tuple(_from_root(path, folder, taken.root) for path in paths),
            variables={name: value for name, value in sorted(variables.items()) if bears(name)},
            data={path: _digest_of_file(folder / path, path) for path in data},
            outputs=tuple(outputs),
            predictions=predictions,
        ),
        taken.patch,
    )


def read_capture(kept: bytes, stated: str) -> Capture:
    """Return a capture from the bytes of its artifact.

    Raises
    ------
    Corrupt
        If it is not the one that the run's tag states.
    """
    try:
        found = msgspec.json.decode(kept, type=Capture)
    except msgspec.MsgspecError as error:
        raise Corrupt("artifact", CAPTURE, "is no capture", why=str(error)) from None
    if found.digest != stated:
        raise Corrupt("artifact", CAPTURE, "is not what was captured", stated=stated, found=found.digest)
    return found


def differences(before: Capture, after: Capture) -> tuple[Difference, ...]:
    """Return in what two captures differ, component by component."""
    pairs: list[tuple[str, object, object]] = [
        ("commit", before.source.commit, after.source.commit),
        ("patch", before.source.patch, after.source.patch),
        ("script", before.file, after.file),
        ("arguments", " ".join(before.arguments), " ".join(after.arguments)),
        ("python", before.environment.python, after.environment.python),
        ("platform", before.environment.platform, after.environment.platform),
        ("lock", before.lock and before.lock.digest, after.lock and after.lock.digest),
    ]
    for name in Machine.__struct_fields__:
        pairs += [(f"machine {name}", getattr(before.machine, name), getattr(after.machine, name))]
    pairs += _by_name("distribution", before.environment.libraries, after.environment.libraries)
    for name in before.contents.keys() & after.contents.keys():
        if before.environment.libraries.get(name) == after.environment.libraries.get(name):
            pairs.append((f"files of {name}", before.contents[name], after.contents[name]))
    pairs += _by_name("variable", before.variables, after.variables)
    pairs += _by_name("data", before.data, after.data)
    found = (_difference(*pair) for pair in pairs)
    return tuple(sorted(filter(None, found), key=lambda one: one.component))


def user() -> str:
    """Return the name of who runs this process."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _by_name(
    kind: str, before: Mapping[str, str], after: Mapping[str, str]
) -> Iterator[tuple[str, object, object]]:
    for name in before.keys() | after.keys():
        yield f"{kind} {name}", before.get(name), after.get(name)


def _difference(component: str, before: object, after: object) -> Difference | None:
    if before == after:
        return None
    if isinstance(before, tuple) and isinstance(after, tuple):
        # Of long lists, such as what a processor can do, only what the other has not.
        before, after = sorted(set(before) - set(after)), sorted(set(after) - set(before))
        return Difference(component, " ".join(map(str, before)), " ".join(map(str, after)))
    return Difference(component, "" if before is None else str(before), "" if after is None else str(after))


def bears(name: str) -> bool:
    """Return whether a variable bears on numbers or their order."""
    return name in _NAMED or name.startswith(_VARIABLES)


def _from_root(path: str, folder: Path, root: Path) -> str:
    whole = (folder / path).resolve()
    return str(whole.relative_to(root.resolve())) if whole.is_relative_to(root.resolve()) else str(whole)


def _lock(root: Path, folder: Path) -> Lock | None:
    """Return the lock nearest to the working folder."""
    for place in (folder, *folder.parents):
        for name in LOCKS:
            if (file := place / name).is_file():
                path = file.resolve().relative_to(root.resolve()).as_posix()
                return Lock(path, _digest_of_file(file, path))
        if place.samefile(root):
            break
    return None


def _digest_of_file(place: Path, path: str) -> Digest:
    try:
        with place.open("rb") as file:
            return Digest(hashlib.file_digest(file, "sha256").hexdigest())
    except OSError as error:
        hint = "give a file, from the working folder"
        raise InvalidInput("data", path, "cannot be read", why=error.strerror, hint=hint) from None
