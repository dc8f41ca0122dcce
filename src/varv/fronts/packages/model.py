"""What is exported: one version of a model, as others serve it, and what they must know of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from varv.fronts.packages.graph import NO_TEXT, output_name, servable
from varv.kernel.codec import Digest
from varv.kernel.errors import InvalidInput
from varv.registry import Column, Package
from varv.tasks import task_of

Files = dict[str, bytes]
"""Content by path below the folder, parts separated by slashes."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a model as the registry has it.

    Parameters
    ----------
    digest
        Of its package.
    registered
        When it was registered, ISO 8601.
    origins
        For each column where varv has it from, in words; empty where that is not on record.
    computed
        Columns that varv computes: they are in no request.
    """

    model: str
    version: int
    digest: Digest
    registered: str
    package: Package
    origins: Mapping[str, str] = {}
    computed: tuple[str, ...] = ()


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a model as another server is given it: `package` is what it reads and answers by."""

    source: Source
    package: Package

    @property
    def model(self) -> str:
        """The name of the model."""
        return self.source.model

    @property
    def columns(self) -> tuple[Column, ...]:
        """What the model reads, in order, with the categories that it knows."""
        return self.source.package.signature.columns

    @property
    def output(self) -> str:
        """The name of the tensor that it answers."""
        return output_name(self.source.package)

    @property
    def numbers(self) -> tuple[str, ...]:
        """The names of the numbers that a prediction is made of."""
        outputs = task_of(self.package.task).outputs
        return outputs if len(outputs) > 1 else (self.output,)

    @property
    def inputs(self) -> tuple[tuple[str, str, int], ...]:
        """Name, datatype and width of each tensor that it reads."""
        if self.package.signature.form == "matrix":
            return (("X", "FP32", len(self.columns)),)
        return tuple((column.name, datatype(column), 1) for column in self.package.signature.columns)

    def probe_records(self) -> list[dict[str, Any]]:
        """Return the probe rows as JSON holds them, by column; a missing value as None."""
        return [
            {
                column.name: None if value == NO_TEXT else value
                for column, value in zip(self.columns, row, strict=True)
            }
            for row in self.package.probe
        ]

    def probe_columns(self) -> dict[str, np.ndarray]:
        """Return the probe rows as tensors, of shape (n, width), by input."""
        rows = self.package.probe_rows()
        if isinstance(rows, np.ndarray):
            return {"X": rows}
        return {name: values.reshape(-1, 1) for name, values in rows.items()}


def datatype(column: Column) -> str:
    """Return a column's datatype in the Open Inference Protocol."""
    if column.kind != "number":
        return "BYTES"
    return "INT64" if column.dtype == "int64" else "FP32"


def exported(source: Source, *, matrix: bool = False) -> Exported:
    """Return a version as another server is given it.

    Parameters
    ----------
    matrix
        Whether a model that reads nothing but numbers keeps its matrix.

    Raises
    ------
    InvalidInput
        If nothing but varv can serve it.
    """
    package = source.package
    if package.runtime != "onnx":
        why = package.not_onnx or "no ONNX form of it was made"
        hint = "let varv serve it, over the same protocols, or train it to ONNX: leave runtime= out"
        name = f"{source.model} v{source.version}"
        problem = f"runs by {package.runtime}, and only models in ONNX are written for other servers"
        raise InvalidInput("package", name, problem, hint=hint, why=why)
    return Exported(source=source, package=servable(package, matrix=matrix))
