"""Answers for one version of a model by ONNX Runtime alone: rows as columns in, predictions out.

Written by `varv package`; `model.onnx` and `signature.json` are the model. Texts become codes within the
graph, so what is here only brings values into tensors and refuses what the model does not read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# Before its import: it would report to its maker which models it runs.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

_NO_COLUMNS = "send the columns by their names"


class Scorer:
    """A version in memory.

    Parameters
    ----------
    folder
        With `model.onnx` and `signature.json`.
    threads
        With which one call computes.
    """

    def __init__(self, folder: str | Path, threads: int = 1) -> None:
        about = json.loads((Path(folder) / "signature.json").read_text(encoding="utf-8"))
        self.model: str = about["model"]
        self.version: int = about["version"]
        self.output: str = about["output"]["name"]
        self.numbers: list[str] = about["output"]["numbers"]
        self.datatypes: dict[str, str] = {one["name"]: one["datatype"] for one in about["inputs"]}
        self._missing: dict[str, str] = {one["name"]: one.get("missing", "") for one in about["columns"]}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(Path(folder) / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def predict(self, columns: Mapping[str, Sequence[Any]]) -> np.ndarray:
        """Return predictions, float32 of shape (n, numbers).

        Parameters
        ----------
        columns
            The values of each column that the model reads, all of one length; others are passed over.

        Raises
        ------
        ValueError
            If a column is missing, is of another length, or holds what is no value of its type.
        """
        fed = {name: self._tensor(name, kind, columns) for name, kind in self.datatypes.items()}
        lengths = {len(values) for values in fed.values()}
        if len(lengths) > 1:
            raise ValueError(f"columns have different lengths: {sorted(lengths)}")
        if lengths == {0}:
            return np.empty((0, len(self.numbers)), dtype=np.float32)
        return np.asarray(self._session.run([self.output], fed)[0])

    def records(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
        """Return the prediction of each row, its numbers by their names; raises `ValueError` as `predict`."""
        if not all(isinstance(row, Mapping) for row in rows):
            raise ValueError(f"rows are not objects; {_NO_COLUMNS}")
        missing = sorted({name for name in self.datatypes for row in rows if name not in row})
        if missing:
            raise ValueError(f"column {missing[0]!r} is missing; the model reads {', '.join(self.datatypes)}")
        found = self.predict({name: [row[name] for row in rows] for name in self.datatypes})
        return [dict(zip(self.numbers, row, strict=True)) for row in found.tolist()]

    def _tensor(self, name: str, kind: str, columns: Mapping[str, Sequence[Any]]) -> np.ndarray:
        if name not in columns:
            raise ValueError(f"column {name!r} is missing; the model reads {', '.join(self.datatypes)}")
        values = [None if _is_missing(value) else value for value in columns[name]]
        if kind == "BYTES":
            _require(name, values, (str,), "a text")
            texts = [self._missing[name] if value is None else value for value in values]
            return np.array(texts, dtype=object).reshape(-1, 1)
        _require(name, values, (bool, int, float, np.number, np.bool_), "a number")
        if kind == "INT64":
            return np.array([_whole(name, value) for value in values], dtype=np.int64).reshape(-1, 1)
        # What is beyond float32 is infinite then, and the graph takes it for missing, as varv does.
        with np.errstate(over="ignore"):
            return np.array([_fraction(value) for value in values]).astype(np.float32).reshape(-1, 1)


def _is_missing(value: Any) -> bool:
    # Dataframes write a missing value as NaN, also among texts, or as one that is not even equal to itself.
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value != value


def _whole(name: str, value: Any) -> int:
    if value is None or not np.isfinite(value) or value != int(value) or not -(2**63) <= value < 2**63:
        raise ValueError(f"column {name!r} holds what is no whole number")
    return int(value)


def _fraction(value: Any) -> float:
    try:
        return np.nan if value is None else float(value)
    except OverflowError:
        return np.inf


def _require(name: str, values: Sequence[Any], kinds: tuple[type, ...], noun: str) -> None:
    odd = next((value for value in values if value is not None and not isinstance(value, kinds)), None)
    if odd is not None:
        raise ValueError(f"column {name!r} holds {type(odd).__name__}, where the model reads {noun}")


class _ForMlflow:
    """The same, as MLflow's python_function asks it."""

    def __init__(self, folder: str) -> None:
        self._scorer = Scorer(folder)

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Return predictions of a dataframe, or of columns by name, as a dataframe."""
        import pandas

        if not hasattr(data, "columns") and not isinstance(data, Mapping):
            raise ValueError(f"{type(data).__name__} has no columns; {_NO_COLUMNS}")
        names = [name for name in self._scorer.datatypes if name in data]
        found = self._scorer.predict({name: np.ravel(data[name]).tolist() for name in names})
        return pandas.DataFrame(found, columns=self._scorer.numbers, index=getattr(data, "index", None))


def _load_pyfunc(path: str) -> _ForMlflow:
    return _ForMlflow(path)
