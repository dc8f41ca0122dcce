"""The runtime of ONNX models: ONNX Runtime, on the processor or a GPU.

A large model is written once in the engine's own form (`adapters.runtimes.ort_file`), which holds what this
machine made of it, and every process maps that file: its weights are in memory once, and loading it takes
milliseconds. The form depends on the machine and on the engine's version, so it is never registered.

A model has one input ``X``, the matrix, or one input of shape (n, 1) for each column that it is fed; of its
last output the last columns are the predictions. Operators of other libraries are never registered, and a
model from memory reads no file, so nothing that is loaded here runs code of its own.
"""

from __future__ import annotations

import fcntl
import os
import platform
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from varv.adapters.runtimes.answers import as_predictions
from varv.adapters.runtimes.devices import no_gpu
from varv.adapters.runtimes.engine import engine
from varv.adapters.runtimes.ort_file import write_ort
from varv.kernel.codec import digest
from varv.kernel.errors import Corrupt, StorageFull
from varv.kernel.ids import new_secret
from varv.kernel.storage import storing
from varv.registry import Package, Rows, Surroundings, n_rows

LARGE_BYTES = 16 << 20
"""From here on a model is mapped; a smaller one is quicker when its weights are packed anew in memory."""
MOST_FILES = 16
_CUDA = "CUDAExecutionProvider"
_MAPS = (
    "session.use_memory_mapped_ort_model",
    "session.use_ort_model_bytes_for_initializers",
    "session.disable_prepacking",
)


class OnnxRuntime:
    """Loads packages into ONNX Runtime."""

    runs_code: ClassVar[bool] = False

    def load(self, package: Package, *, threads: int = 1) -> OnnxModel:
        """Bring a package into memory, on the processor; raises `Corrupt` if the engine refuses it."""
        return self.load_in(package, Surroundings(), threads=threads)

    def load_in(self, package: Package, around: Surroundings, *, threads: int = 1) -> OnnxModel:
        """Bring a package into memory: on a GPU if that is asked for; a large one on the processor as a file
        that other processes map too, or in memory only where that file cannot be made.

        Raises
        ------
        Corrupt
            If the engine refuses it.
        FailedPrecondition
            If a GPU is asked for and there is none that the engine can use.
        """
        onnx = package.file("model.onnx")
        if around.device != "cpu":
            session = _session_on_gpu(onnx, _options(threads))
            if session is not None:
                return OnnxModel(session, package.width)
            if around.device == "cuda":
                raise no_gpu("onnx", "install onnxruntime-gpu in place of onnxruntime")
        if around.mapped is None or len(onnx) < LARGE_BYTES:
            return OnnxModel(_session(onnx, _options(threads)), package.width)
        return OnnxModel(_mapped_session(onnx, around.mapped, threads), package.width)


class OnnxModel:
    """A model that ONNX Runtime holds.

    Parameters
    ----------
    session
        The engine's session.
    width
        How many numbers a prediction has.
    """

    def __init__(self, session: Any, width: int) -> None:
        self._session = session
        self._width = width
        self._input: str = session.get_inputs()[0].name
        self._output: str = session.get_outputs()[-1].name

    def predict(self, rows: Rows) -> np.ndarray:
        """Return predictions, float32 of shape (n, width)."""
        n = n_rows(rows)
        if not n:
            return np.empty((0, self._width), dtype=np.float32)
        if isinstance(rows, np.ndarray):
            fed = {self._input: rows}
        else:
            fed = {name: values.reshape(-1, 1) for name, values in rows.items()}
        try:
            found = self._session.run([self._output], fed)[0]
        except _engine_errors() as error:
            raise Corrupt("package", "onnx", "fails in the runtime", why=str(error)[:200]) from None
        return as_predictions(found, n, self._width)


def _options(threads: int) -> Any:
    options = engine().SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Whatever it would print is in the error that it raises.
    options.log_severity_level = 4
    return options


def _session(model: bytes | str, options: Any) -> Any:
    """Return a session of a model, or of the file of one that `_written` wrote."""
    try:
        return engine().InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except _engine_errors() as error:
        raise Corrupt("package", "onnx", "is refused by the runtime", why=str(error)[:200]) from None


def _session_on_gpu(onnx: bytes, options: Any) -> Any:
    """Return a session that computes on a GPU, None if the engine has none."""
    if _CUDA not in engine().get_available_providers():
        return None
    # Not in its shorter floating point numbers: a probe would be off by more than it may.
    providers = [(_CUDA, {"use_tf32": "0"}), "CPUExecutionProvider"]
    try:
        session = engine().InferenceSession(onnx, options, providers=providers)
    except _engine_errors() as error:
        raise Corrupt("package", "onnx", "is refused by the runtime", why=str(error)[:200]) from None
    # The engine says nothing if it finds no device, and computes on the processor.
    return session if _CUDA in session.get_providers() else None


def _mapped_session(onnx: bytes, folder: Path, threads: int) -> Any:
    """Return a session of a model whose file other processes map too."""
    path, options = _place_of(onnx, folder), _options(threads)
    for name in _MAPS:
        options.add_session_config_entry(name, "1")
    try:
        _require_written(onnx, path)
        return _session(str(path), options)
    except (StorageFull, Corrupt):
        # Torn by a crash of the machine, or not to be written: the package itself is whole.
        path.unlink(missing_ok=True)
        return _session(onnx, _options(threads))


def _place_of(onnx: bytes, folder: Path) -> Path:
    """Return the file of a model in the engine's own form, which is this machine's."""
    return folder / f"{digest(onnx)}-{engine().__version__}-{platform.machine()}.ort"


def _require_written(onnx: bytes, path: Path) -> None:
    """Write the file of a model, unless it is there."""
    with storing("model file", path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _alone_in(path.parent):
        if path.exists():
            # Of those that nobody asks for, the ones that were asked for longest ago go first.
            os.utime(path)
        else:
            _write(onnx, path)


@contextmanager
def _alone_in(folder: Path) -> Generator[None]:
    """Let the workers of a machine, which load a model at the same time, wait for the first of them."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(onnx: bytes, path: Path) -> None:
    draft = path.with_suffix(f".{new_secret(8).hex()}")
    try:
        with storing("model file", path):
            write_ort(onnx, draft)
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    _forget_old(path.parent)


def _forget_old(folder: Path) -> None:
    """Remove files beyond the most that are kept; whoever has mapped one goes on with it."""
    # Others do the same, so a file may be gone by now.
    with suppress(FileNotFoundError):
        found = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
        for path in found[:-MOST_FILES]:
            path.unlink()


@cache
def _engine_errors() -> tuple[type[Exception], ...]:
    engine()
    library = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    # Each status of the engine is an exception of its own, derived from Exception alone.
    own = [
        value for value in vars(library).values() if isinstance(value, type) and issubclass(value, Exception)
    ]
    return (*own, RuntimeError, ValueError)
