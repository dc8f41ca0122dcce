"""Values as Kafka Connect and Debezium write them: what a schema says that a number or a text stands for.

Times become ISO 8601 in UTC, decimals numbers. What holds no such value, as a time beyond the year 9999,
stays as it is and will not fit its column.

Sources: Kafka Connect's logical types ``org.apache.kafka.connect.data.*``; Debezium's documentation of its
semantic types ``io.debezium.time.*`` and ``io.debezium.data.*``.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import decimal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import polars as pl

from varv.kernel.columns import TIME
from varv.kernel.errors import InvalidDeclaration

Decoder = Callable[[Any], Any]
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_DAY_US = 86_400_000_000
_TIMES = {"Date": _DAY_US, "Timestamp": 1000, "MicroTimestamp": 1}
_TYPES: Mapping[str, pl.DataType] = {
    **dict.fromkeys(("int8", "int16", "int32", "int64"), pl.Int64()),
    **dict.fromkeys(("float", "float32", "double", "float64"), pl.Float64()),
    "boolean": pl.Boolean(),
}
ENCODINGS = "Date, Timestamp, MicroTimestamp, NanoTimestamp, ZonedTimestamp, Decimal(2), VariableScaleDecimal"


class Encoded(NamedTuple):
    """The type of a field once it is decoded, and what decodes it."""

    dtype: pl.DataType
    decode: Decoder


def encoded_as(text: str) -> Encoded:
    """Return what an encoding means that a declaration names, such as ``"MicroTimestamp"`` or
    ``"Decimal(2)"``.

    Raises
    ------
    InvalidDeclaration
        If it is none.

    Examples
    --------
    >>> encoded_as("Decimal(2)").decode("AN8="), encoded_as("Date").decode(19844)
    (2.23, '2024-05-01T00:00:00Z')
    """
    name, _, given = text.removesuffix(")").partition("(")
    found = _of(name, given)
    if found is None:
        raise InvalidDeclaration("encoding", text[:60], "does not exist", hint=f"there are {ENCODINGS}")
    return found


def fields_of(fields: Sequence[Mapping[str, Any]]) -> dict[str, Encoded]:
    """Return what the fields of a schema of Connect are, by their names."""
    found = {}
    for one in fields:
        name = str(one.get("name") or "").rpartition(".")[2]
        scale = (one.get("parameters") or {}).get("scale", "")
        plain = _TYPES.get(str(one.get("type")), pl.String())
        found[str(one.get("field"))] = _of(name, str(scale)) or Encoded(plain, _as_it_is)
    return found


def _of(name: str, given: str) -> Encoded | None:
    match name:
        case "Date" | "Timestamp" | "MicroTimestamp":
            return Encoded(TIME, partial(_time, _TIMES[name], 1))
        case "NanoTimestamp":
            return Encoded(TIME, partial(_time, 1, 1000))
        case "ZonedTimestamp":
            return Encoded(TIME, _as_it_is)
        case "Decimal" if given.lstrip("-").isdigit():
            scale = int(given)
            dtype = pl.Float64() if scale > 0 else pl.Int64()
            return Encoded(dtype, partial(_decimal, scale))
        case "VariableScaleDecimal":
            return Encoded(pl.Float64(), _of_any_scale)
        case _:
            return None


def _as_it_is(value: Any) -> Any:
    return value


def _time(unit_us: int, per_us: int, value: Any) -> Any:
    if not isinstance(value, int):
        return value
    try:
        then = _EPOCH + dt.timedelta(microseconds=value * unit_us // per_us)
    except OverflowError:
        return value
    return then.isoformat().replace("+00:00", "Z")


def _decimal(scale: int, value: Any) -> Any:
    """Return the number that big-endian bytes in two's complement stand for, given as base64."""
    if not isinstance(value, str | bytes):
        return value
    try:
        octets = value if isinstance(value, bytes) else base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return value
    unscaled = int.from_bytes(octets, "big", signed=True)
    if scale <= 0:
        return unscaled * 10**-scale
    with decimal.localcontext(prec=len(str(unscaled)) + 1):
        return float(decimal.Decimal(unscaled).scaleb(-scale))


def _of_any_scale(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    found = _decimal(int(value.get("scale") or 0), value.get("value"))
    return float(found) if isinstance(found, int) else found
