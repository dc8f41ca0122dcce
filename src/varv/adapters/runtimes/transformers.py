"""The runtime of models of transformers that classify or score one text, offline and without code of theirs.

Weights are safetensors; the library is told to read nothing from a network and to run nothing that it finds
beside them. What is no file of the list is refused before the library sees it.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np

from varv.adapters.runtimes.answers import as_predictions
from varv.adapters.runtimes.devices import no_gpu
from varv.kernel.errors import Corrupt, InvalidInput
from varv.kernel.plugins import required
from varv.registry import Package, Rows, Surroundings, n_rows
from varv.registry.transformers_files import ABOUT, FOLDER, NAMES, TransformersAbout, names_code

MOST_TOKENS = 512
MOST_ROWS = 64
"""Of one call of the model; texts of one call are as long as its longest."""
_OFFLINE = {"local_files_only": True, "trust_remote_code": False}


class TransformersRuntime:
    """Loads packages into PyTorch, on the processor or a GPU."""

    runs_code: ClassVar[bool] = False

    def load(self, package: Package, *, threads: int = 1) -> TransformersModel:
        """Bring a package into memory, on the processor; it raises as `load_in`."""
        return self.load_in(package, Surroundings(), threads=threads)

    def load_in(self, package: Package, around: Surroundings, *, threads: int = 1) -> TransformersModel:
        """Bring a package into memory, on a GPU if that is asked for.

        Raises
        ------
        Corrupt
            If it holds a file that is not data, or the library refuses it.
        FailedPrecondition
            If the library is not installed, or a GPU is asked for and there is none.
        """
        library = required("transformers", kind="runtime", name="transformers", extra="transformers")
        torch = required("torch", kind="runtime", name="transformers", extra="transformers")
        on_gpu = around.device != "cpu" and torch.cuda.is_available()
        if around.device == "cuda" and not on_gpu:
            raise no_gpu("transformers", "install PyTorch with CUDA")
        files = package.folder(FOLDER)
        try:
            about = msgspec.json.decode(package.file(ABOUT), type=TransformersAbout)
            _require_data(files)
            with tempfile.TemporaryDirectory(prefix="varv-model-") as made, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for name, data in files.items():
                    (Path(made) / name).write_bytes(data)
                tokenizer = library.AutoTokenizer.from_pretrained(made, use_fast=True, **_OFFLINE)
                model = library.AutoModelForSequenceClassification.from_pretrained(
                    made, use_safetensors=True, dtype=torch.float32, **_OFFLINE
                )
        except Corrupt:
            raise
        except Exception as error:
            # The library raises whatever it stumbles over.
            raise Corrupt(
                "package", "transformers", "is refused by the runtime", why=str(error)[:200]
            ) from error
        model = model.eval().to("cuda" if on_gpu else "cpu")
        return TransformersModel(torch, model, tokenizer, package, about.order)


class TransformersModel:
    """A model and its tokenizer in memory.

    Parameters
    ----------
    torch
        The library.
    model, tokenizer
        Of transformers.
    package
        What they are of.
    order
        Of each class, where it is among the labels.
    """

    def __init__(
        self, torch: Any, model: Any, tokenizer: Any, package: Package, order: tuple[int, ...]
    ) -> None:
        self._torch = torch
        self._model = model
        self._tokenizer = tokenizer
        self._width = package.width
        self._classes = package.task.name in ("binary", "multiclass")
        self._order = list(order)
        known = getattr(model.config, "max_position_embeddings", MOST_TOKENS)
        self._most_tokens = min(MOST_TOKENS, known if isinstance(known, int) and known > 0 else MOST_TOKENS)

    def predict(self, rows: Rows) -> np.ndarray:
        """Return predictions, float32 of shape (n, width)."""
        if isinstance(rows, np.ndarray) or len(rows) != 1:
            raise InvalidInput("rows", "", "are no single text, which is what the model reads")
        n = n_rows(rows)
        if not n:
            return np.empty((0, self._width), dtype=np.float32)
        [texts] = rows.values()
        parts = [self._logits(texts[at : at + MOST_ROWS].tolist()) for at in range(0, n, MOST_ROWS)]
        return as_predictions(self._predicted(np.concatenate(parts)), n, self._width)

    def _logits(self, texts: list[str]) -> np.ndarray:
        given = self._tokenizer(
            texts,
            padding=len(texts) > 1,
            truncation=True,
            max_length=self._most_tokens,
            return_tensors="pt",
        ).to(self._model.device)
        with self._torch.no_grad():
            return self._model(**given).logits.float().cpu().numpy()

    def _predicted(self, logits: np.ndarray) -> np.ndarray:
        if not self._classes:
            return logits
        if logits.shape[1] == 1:
            return 1.0 / (1.0 + np.exp(-logits))
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        return shares[:, self._order] if self._order else shares


def _require_data(files: dict[str, bytes]) -> None:
    """Check that a package holds nothing but data.

    Raises
    ------
    Corrupt
        If it holds something else, or names code.
    """
    odd = sorted(set(files) - set(NAMES))
    hint = "save the model as safetensors, with a fast tokenizer"
    if odd:
        raise Corrupt("package", "transformers", f"has a file {odd[0]!r} that may hold code", hint=hint)
    for name in ("config.json", "tokenizer_config.json"):
        config = json.loads(files.get(name, b"{}"))
        if not isinstance(config, dict) or names_code(config):
            raise Corrupt("package", "transformers", f"has a {name} that names code", hint=hint)
