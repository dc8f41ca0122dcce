"""The runtime of programs of torch.export.

The format has no safe way to be read: weights and inputs may be pickles, which PyTorch falls back to, and
shapes are expressions that are evaluated as Python. A program that varv wrote holds no pickle, and one that
does is refused here; the expressions remain, so a package of somebody else is loaded only if it is trusted.
"""

from __future__ import annotations

import io
import json
import re
import warnings
import zipfile
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from varv.adapters.runtimes.answers import as_predictions
from varv.adapters.runtimes.devices import no_gpu
from varv.kernel.errors import Corrupt, InvalidInput
from varv.kernel.plugins import required
from varv.registry import Package, Rows, Surroundings, n_rows

_PLAIN = re.compile(
    r"[^/]+/(archive_format|archive_version|byteorder|\.data/version|models/model\.json"
    r"|data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|data/sample_inputs/model\.pt)"
)


class TorchRuntime:
    """Loads packages into PyTorch, on the processor or a GPU."""

    runs_code: ClassVar[bool] = True

    def load(self, package: Package, *, threads: int = 1) -> TorchModel:
        """Bring a package into memory, on the processor; raises `Corrupt` if it holds a pickle, or PyTorch
        refuses it.
        """
        return self.load_in(package, Surroundings(), threads=threads)

    def load_in(self, package: Package, around: Surroundings, *, threads: int = 1) -> TorchModel:
        """Bring a package into memory, on a GPU if that is asked for.

        The threads are those of the process: PyTorch knows no others.

        Raises
        ------
        Corrupt
            If it holds a pickle, or PyTorch refuses it.
        FailedPrecondition
            If PyTorch is not installed, or a GPU is asked for and there is none that it can use.
        """
        torch = required("torch", kind="runtime", name="torch", extra="torch")
        on_gpu = around.device != "cpu" and torch.cuda.is_available()
        if around.device == "cuda" and not on_gpu:
            raise no_gpu("torch", "install PyTorch with CUDA")
        device = "cuda" if on_gpu else "cpu"
        data = package.file("model.pt2")
        try:
            _require_plain(data)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                program = torch.export.load(io.BytesIO(data))
                if on_gpu:
                    program = import_module("torch.export.passes").move_to_device_pass(program, device)
                module = program.module()
        except Corrupt:
            raise
        except Exception as error:
            # Its deserializer raises whatever it stumbles over.
            raise Corrupt("package", "torch", "is refused by the runtime", why=str(error)[:200]) from error
        return TorchModel(torch, module, package.width, device)


class TorchModel:
    """A program in memory.

    Parameters
    ----------
    torch
        The library.
    module
        The program.
    width
        How many numbers a prediction has.
    device
        Where it computes.
    """

    def __init__(self, torch: Any, module: Any, width: int, device: str) -> None:
        self._torch = torch
        self._device = device
        self._module = module
        self._width = width

    def predict(self, rows: Rows) -> np.ndarray:
        """Return predictions, float32 of shape (n, width)."""
        if not isinstance(rows, np.ndarray):
            raise InvalidInput("rows", "", "are columns, where the module reads a matrix")
        if not n_rows(rows):
            return np.empty((0, self._width), dtype=np.float32)
        with self._torch.no_grad():
            given = self._torch.from_numpy(np.ascontiguousarray(rows)).to(self._device)
            found = self._module(given).cpu().numpy()
        return as_predictions(found, len(rows), self._width)


def _require_plain(data: bytes) -> None:
    """Check that nothing in an archive would be unpickled.

    Raises
    ------
    Corrupt
        If something would.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            if not _PLAIN.fullmatch(entry.filename):
                raise _pickled(entry.filename)
            if entry.filename.endswith(".pt") and entry.file_size:
                raise _pickled(entry.filename)
            if entry.filename.endswith("_config.json"):
                config = json.loads(archive.read(entry))["config"]
                if any(payload.get("use_pickle") for payload in config.values()):
                    raise _pickled(entry.filename)


def _pickled(entry: str) -> Corrupt:
    hint = "export the module with varv"
    return Corrupt("package", "torch", f"has an entry {entry!r} that may be a pickle", hint=hint)
