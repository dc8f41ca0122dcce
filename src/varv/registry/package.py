"""Model packages: what a model is, where it came from, and its files, in one blob.

A blob is the line ``varv package 2``, a line of canonical JSON, and the files' bytes, one after the other in
the order in which the JSON names them. Nothing in it is executed or unpickled when it is opened; what loading
it does is up to its runtime (`registry.ports`). Packages of format 1, one JSON document around an ONNX model
of a binary classifier, open as the same type.

`training.packaging` makes packages, from estimators, and checks them. The digest of one is its identity;
equal training gives equal bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

import msgspec
import numpy as np

from varv.kernel.codec import canonical
from varv.kernel.environment import Environment
from varv.kernel.errors import Corrupt, InvalidInput
from varv.registry.signature import Rows, Signature
from varv.tasks import TaskSpec, task_of

LARGEST_BYTES = 512 * 1024 * 1024
MOST_FILES = 2_000
PROBE_TOLERANCE = 1e-4
"""Largest difference from its probe scores with which a package counts as the one that was made, for what
another platform may compute otherwise."""

_MAGIC = b"varv package 2\n"
_ANY_MAGIC = b"varv package "
_NAME = re.compile(r"\w[\w.+-]*(/\w[\w.+-]*)*")
_LONGEST_NAME = 200


class _About(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What a package says of its model."""

    task: TaskSpec
    estimator: str
    signature: Signature
    environment: Environment
    params: dict[str, Any]
    seed: int
    n_rows: int
    runtime: str
    not_onnx: str = ""
    started_from: int | None = None
    probe: tuple[tuple[float | str | None, ...], ...]
    probe_scores: tuple[tuple[float, ...], ...]


class Package(_About, frozen=True, kw_only=True, dict=True):
    """Everything that serving needs, and how it came to be.

    ``runtime`` is what loads the model from ``files``, by its name in the entry point group
    ``varv.runtimes``; ``not_onnx`` says why it is not ONNX's. ``started_from`` is the version that the
    training went on from, if it did. ``probe`` are a few rows, in the order of the
    signature's columns, and ``probe_scores`` what the estimator said of them, one number for each output of
    the task, so that any runtime can show that it computes the same.
    """

    files: dict[str, bytes]

    @cached_property
    def width(self) -> int:
        """How many numbers a prediction has."""
        return task_of(self.task).width

    def file(self, name: str) -> bytes:
        """Return the content of one file.

        Raises
        ------
        Corrupt
            If there is none of that name.
        """
        if name not in self.files:
            raise Corrupt(
                "package", self.estimator, f"has no file {name!r}", hint="build it again from its run"
            )
        return self.files[name]

    def folder(self, name: str) -> dict[str, bytes]:
        """Return the files below the folder `name`, by their names within it."""
        prefix = f"{name}/"
        return {
            path.removeprefix(prefix): data for path, data in self.files.items() if path.startswith(prefix)
        }

    def probe_rows(self) -> Rows:
        """Return the probe rows as the model is fed them."""
        return self.signature.rows(self.probe)

    def difference(self, predicted: np.ndarray) -> float:
        """Return how far predictions of the probe rows, shape (m, width), are from what the estimator said.

        The largest difference of a number, relative to it where it is above 1; NaN if one is missing.
        """
        said = np.array(self.probe_scores, dtype=np.float32).reshape(len(self.probe), self.width)
        return difference(said, predicted)


class _Manifest(_About, frozen=True, kw_only=True):
    """The package without its files, but with their sizes."""

    sizes: dict[str, int]


class _FirstFormat(msgspec.Struct, frozen=True, kw_only=True):
    format: Literal[1]
    estimator: str
    signature: Signature
    environment: Environment
    params: dict[str, Any]
    seed: int
    n_rows: int
    onnx: bytes
    probe: tuple[tuple[float | None, ...], ...]
    probe_scores: tuple[float, ...]


def difference(expected: np.ndarray, predicted: np.ndarray) -> float:
    """Return the largest difference of a number, relative to the expected one where that is above 1.

    Examples
    --------
    >>> round(difference(np.array([[0.5], [200.0]]), np.array([[0.501], [200.1]])), 6)
    0.001
    """
    if expected.shape != predicted.shape:
        return float("nan")
    apart = np.abs(predicted.astype(np.float64) - expected) / np.maximum(1.0, np.abs(expected))
    return float(apart.max(initial=0.0))


def packed(package: Package) -> bytes:
    """Return the blob of `package`.

    Raises
    ------
    InvalidInput
        If a file has a name that is not plain, or the whole is too large.
    """
    _check(package.files, InvalidInput)
    about = {name: getattr(package, name) for name in _About.__struct_fields__}
    sizes = {name: len(data) for name, data in sorted(package.files.items())}
    manifest = canonical(_Manifest(**about, sizes=sizes))
    blob = b"".join((_MAGIC, manifest, b"\n", *(package.files[name] for name in sizes)))
    if len(blob) > LARGEST_BYTES:
        hint = "make the model smaller"
        raise InvalidInput(
            "package", package.estimator, "is too large", size_bytes=len(blob), limit=LARGEST_BYTES, hint=hint
        )
    return blob


def open_package(data: bytes) -> Package:
    """Return the package that `data` holds.

    Raises
    ------
    Corrupt
        If the bytes are not a package, or are larger than 512 MiB.
    """
    if len(data) > LARGEST_BYTES:
        raise Corrupt("package", "", "is too large", size_bytes=len(data), limit=LARGEST_BYTES)
    try:
        if data.startswith(_MAGIC):
            return _opened(data)
        if data.startswith(_ANY_MAGIC):
            named = data[: data.find(b"\n")][:40].decode("ascii", "replace")
            raise Corrupt(
                "package", "", "is of a format that is not known", format=named, hint="upgrade varv"
            )
        return _lifted(msgspec.json.decode(data, type=_FirstFormat))
    except msgspec.MsgspecError as error:
        raise Corrupt(
            "package", "", "does not decode", why=str(error), hint="build it again from its run"
        ) from None


def _opened(data: bytes) -> Package:
    end = data.find(b"\n", len(_MAGIC))
    manifest = msgspec.json.decode(data[len(_MAGIC) : max(end, len(_MAGIC))], type=_Manifest)
    _check(manifest.sizes, Corrupt)
    at = end + 1
    files: dict[str, bytes] = {}
    for name, size in manifest.sizes.items():
        files[name] = data[at : at + size]
        at += size
    if at != len(data) or any(size < 0 for size in manifest.sizes.values()):
        hint = "build it again from its run"
        raise Corrupt("package", manifest.estimator, "does not decode", size_bytes=len(data), hint=hint)
    return Package(**{name: getattr(manifest, name) for name in _About.__struct_fields__}, files=files)


def _lifted(first: _FirstFormat) -> Package:
    return Package(
        task=TaskSpec("binary"),
        estimator=first.estimator,
        signature=first.signature,
        environment=first.environment,
        params=first.params,
        seed=first.seed,
        n_rows=first.n_rows,
        runtime="onnx",
        probe=first.probe,
        probe_scores=tuple((score,) for score in first.probe_scores),
        files={"model.onnx": first.onnx},
    )


def _check(names: Mapping[str, object], error: type[Corrupt | InvalidInput]) -> None:
    for name in names:
        # No dot begins a part, so no part is "..": a file cannot leave the folder that it is written to.
        if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
            hint = "use letters, digits, dots, dashes and underscores"
            raise error("file", name[:_LONGEST_NAME], "has a name that a package cannot hold", hint=hint)
    if len(names) > MOST_FILES:
        hint = f"keep them in at most {MOST_FILES}"
        raise error("package", "", "has too many files", n=len(names), hint=hint)
