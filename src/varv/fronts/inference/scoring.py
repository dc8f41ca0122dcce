"""Dataframes that scoring clients send: MLflow's in JSON and CSV, and KServe's first protocol.

Of the four forms in JSON there is exactly one in a request. ``instances`` and ``inputs`` name columns like
the others. Rows without names hold the columns that a request needs, in the order of the model's metadata,
if these are all numbers; a model of one column takes plain values too.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import chain
from typing import Any

import msgspec
import polars as pl

from varv.data.values import ExpectedColumn
from varv.fronts.inference.oip import alone, decoded
from varv.fronts.problems import TooLarge
from varv.kernel.errors import InvalidInput
from varv.serving import Answering
from varv.serving.matrix import matrix_of

Columns = Mapping[str, Sequence[Any]]
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


class Split(msgspec.Struct):
    """A dataframe as MLflow's ``dataframe_split``."""

    data: list[list[Any]]
    columns: list[str] | None = None
    index: list[Any] = []


class Invocation(msgspec.Struct, forbid_unknown_fields=True):
    """A request of MLflow's scoring protocol."""

    dataframe_records: list[dict[str, Any]] | None = None
    dataframe_split: Split | None = None
    instances: list[Any] | None = None
    inputs: list[Any] | dict[str, Any] | None = None
    params: dict[str, Any] | None = None


class Predict(msgspec.Struct):
    """A request of KServe's first protocol, which is that of TensorFlow Serving."""

    instances: list[Any] | None = None
    inputs: list[Any] | dict[str, Any] | None = None
    signature_name: str = ""


def columns_of(asked: Invocation | Predict, answering: Answering) -> Columns:
    """Return the columns that a request holds in one of the forms.

    Raises
    ------
    InvalidInput
        If it holds none or several, or what it holds is no dataframe.
    TooLarge
        If it has more rows than one request may.
    """
    given = [name for name in FORMS if getattr(asked, name, None) is not None]
    if len(given) != 1:
        hint = f"send exactly one of {', '.join(name for name in FORMS if hasattr(asked, name))}"
        raise InvalidInput("field", "body", "holds no dataframe" if not given else "holds several", hint=hint)
    form, value = given[0], getattr(asked, given[0])
    if isinstance(value, Split):
        require_rows(len(value.data), answering.max_rows)
        if value.columns is None:
            return _of_values(form, value.data, answering)
        return _of_split(value.columns, value.data)
    if isinstance(value, dict):
        return _of_columns(value, answering.max_rows)
    require_rows(len(value), answering.max_rows)
    if all(isinstance(row, dict) for row in value):
        return _of_records(value)
    return _of_values(form, value, answering)


def columns_of_csv(body: bytes, answering: Answering) -> Columns:
    """Return the columns of a CSV text with a head; an empty field is null, and texts become what their
    columns hold.

    Raises
    ------
    InvalidInput
        If it is no such text, or a field is not of its column's kind.
    TooLarge
        If it has more rows than one request may.
    """
    try:
        head = next(csv.reader([body.split(b"\n", 1)[0].decode("utf-8-sig").strip("\r")]), [])
        frame = pl.read_csv(BytesIO(body), infer_schema=False, n_rows=answering.max_rows + 1)
    except (pl.exceptions.PolarsError, UnicodeDecodeError, csv.Error) as error:
        why = str(error).partition("\n")[0][:200]
        raise InvalidInput(
            "request", "body", "is not CSV", why=why, hint="send a head of names, then rows"
        ) from None
    _require_names(head, "the head")
    require_rows(frame.height, answering.max_rows)
    return {series.name: parsed(series, answering.columns.get(series.name)) for series in frame}


def read_invocation(body: bytes, answering: Answering) -> Columns:
    """Return the columns of a request to MLflow's scoring protocol in JSON; it raises as `columns_of`."""
    return columns_of(decoded(body, Invocation), answering)


def read_predict(body: bytes, answering: Answering) -> Columns:
    """Return the columns of a request to KServe's first protocol; it raises as `columns_of`."""
    return columns_of(decoded(body, Predict), answering)


def require_rows(n_rows: int, most: int) -> None:
    """Refuse no rows (`InvalidInput`), or too many (`TooLarge`)."""
    if n_rows > most:
        raise TooLarge("request", "body", f"has {n_rows} rows", hint=f"{most} at most; send it in parts")
    if n_rows == 0:
        raise InvalidInput("field", "body", "has no rows", hint="send at least one")


def _require_names(names: Sequence[str], where: str) -> None:
    if len(set(names)) < len(names):
        raise InvalidInput("field", where, "names a column twice", hint="name each once")


def _of_split(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Columns:
    _require_names(names, "dataframe_split.columns")
    for number, row in enumerate(rows):
        if len(row) != len(names):
            hint = f"send {len(names)}"
            problem = f"has {len(row)} values"
            raise InvalidInput("field", "dataframe_split.data", problem, row=number, hint=hint)
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def _of_records(records: Sequence[Mapping[str, Any]]) -> Columns:
    names = list(records[0])
    for number, record in enumerate(records):
        if record.keys() != records[0].keys():
            odd = sorted(record.keys() ^ records[0].keys())[0]
            hint = "send null where there is no value"
            raise InvalidInput("column", odd[:80], "is not in every record", row=number, hint=hint)
    return {name: [record[name] for record in records] for name in names}


def _of_columns(columns: Mapping[str, Any], most: int) -> Columns:
    found = {name: values if isinstance(values, list) else [values] for name, values in columns.items()}
    n_rows = len(next(iter(found.values()), ()))
    require_rows(n_rows, most)
    for name, values in found.items():
        if len(values) != n_rows:
            hint = "give every column as many"
            problem = f"has {len(values)} values beside {n_rows}"
            raise InvalidInput("column", name[:80], problem, hint=hint)
    return {name: [alone(value) for value in values] for name, values in found.items()}


def _of_values(form: str, rows: Sequence[Any], answering: Answering) -> Columns:
    """Return rows without names as the columns that a request needs."""
    names = answering.positional
    if len(names) > 1 and all(type(row) is list for row in rows):
        odd = next((number for number, row in enumerate(rows) if len(row) != len(names)), None)
        if odd is not None:
            hint = f"send {len(names)}: {', '.join(names[:20])}"
            raise InvalidInput("field", form, f"has {len(rows[odd])} values", row=odd, hint=hint)
        values = rows[0] if len(rows) == 1 else list(chain.from_iterable(rows))
        if set(map(type, values)) <= _NUMBERS:
            return matrix_of(names, values)
        return {name: [row[place] for row in rows] for place, name in enumerate(names)}
    required = [one.name for one in answering.columns.values() if one.required]
    if len(required) != 1:
        hint = "send each row as an object, with its values by the names of their columns"
        raise InvalidInput("field", form, "holds rows without names", n_columns=len(required), hint=hint)
    return {required[0]: [alone(row) for row in rows]}


_NUMBERS = {int, float, type(None)}
_TRUTHS = {"true": True, "True": True, "TRUE": True, "1": True} | {
    "false": False,
    "False": False,
    "FALSE": False,
    "0": False,
}


def parsed(series: pl.Series, column: ExpectedColumn | None) -> list[Any]:
    """Return texts as what their column holds; what reads as no number is told by its row."""
    if column is None or column.dtype == "String" or column.dtype.startswith("Datetime"):
        return series.to_list()
    if column.dtype == "Boolean":
        values: list[Any] = [None if text is None else _TRUTHS.get(text) for text in series.to_list()]
    else:
        whole = pl.UInt64 if column.dtype.startswith("U") else pl.Int64
        numbers = series.cast(whole, strict=False).to_list() if "Int" in column.dtype else []
        fractions = series.cast(pl.Float64, strict=False).fill_nan(None).to_list()
        values = [
            fraction if number is None else number
            for number, fraction in zip(numbers or [None] * len(fractions), fractions, strict=True)
        ]
    for row, (value, text) in enumerate(zip(values, series.to_list(), strict=True)):
        if value is None and text is not None and text.lower() != "nan":
            wanted = "truth value" if column.dtype == "Boolean" else "number"
            hint = f"send {column.dtype}, or nothing where there is none"
            raise InvalidInput("column", series.name, f"holds a text that is no {wanted}", row=row, hint=hint)
    return values
