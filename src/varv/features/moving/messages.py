"""Messages of Feast's registry as plain values, in the form in which ``feast registry-dump`` writes them.

Only fields that say something about data are decoded. Compiled code (``body``) is passed over as bytes that
nobody looks at; fields that this list does not have are counted.

Source: ``feast.core`` of Feast 0.67. In each release since 0.10 the numbers of these fields mean the same;
some had other names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from varv.kernel.clock import SECOND
from varv.kernel.errors import InvalidInput
from varv.kernel.protobuf_reading import fields, number, part, signed, text

DEEPEST = 12
MOST_OBJECTS = 100_000
_SOURCE_KINDS = {
    0: "INVALID", 1: "BATCH_FILE", 2: "BATCH_BIGQUERY", 3: "STREAM_KAFKA", 4: "STREAM_KINESIS",
    5: "BATCH_REDSHIFT", 6: "CUSTOM_SOURCE", 7: "REQUEST_SOURCE", 8: "BATCH_SNOWFLAKE", 9: "PUSH_SOURCE",
    10: "BATCH_TRINO", 11: "BATCH_SPARK", 12: "BATCH_ATHENA", 13: "BATCH_ICEBERG",
}  # fmt: skip
_VALUE_KINDS = {
    0: "INVALID", 1: "BYTES", 2: "STRING", 3: "INT32", 4: "INT64", 5: "DOUBLE", 6: "FLOAT", 7: "BOOL",
    8: "UNIX_TIMESTAMP", 11: "BYTES_LIST", 12: "STRING_LIST", 13: "INT32_LIST", 14: "INT64_LIST",
    15: "DOUBLE_LIST", 16: "FLOAT_LIST", 17: "BOOL_LIST", 18: "UNIX_TIMESTAMP_LIST", 19: "NULL", 20: "MAP",
    21: "MAP_LIST", 22: "BYTES_SET", 23: "STRING_SET", 24: "INT32_SET", 25: "INT64_SET", 26: "DOUBLE_SET",
    27: "FLOAT_SET", 28: "BOOL_SET", 29: "UNIX_TIMESTAMP_SET", 32: "JSON", 33: "JSON_LIST", 34: "STRUCT",
    35: "STRUCT_LIST", 36: "UUID", 37: "TIME_UUID", 38: "UUID_LIST", 39: "TIME_UUID_LIST", 40: "UUID_SET",
    41: "TIME_UUID_SET", 42: "VALUE_LIST", 43: "VALUE_SET", 44: "DECIMAL", 45: "DECIMAL_LIST",
    46: "DECIMAL_SET", 47: "SCALAR_MAP", 48: "ZONED_TIMESTAMP",
}  # fmt: skip
_ENUMS = {"source kind": _SOURCE_KINDS, "value kind": _VALUE_KINDS}


class _Form(NamedTuple):
    """A field: its name, what its value is, and whether it comes several times."""

    name: str
    kind: str = "text"
    is_list: bool = False


def _many(name: str, kind: str = "text") -> _Form:
    return _Form(name, kind, is_list=True)


_TABLE = {1: _Form("table"), 2: _Form("query")}
_FORMS: Mapping[str, Mapping[int, _Form]] = {
    "entity": {1: _Form("spec", "entity spec")},
    "entity spec": {
        1: _Form("name"),
        2: _Form("valueType", "value kind"),
        4: _Form("joinKey"),
        9: _Form("project"),
    },
    "feature": {1: _Form("name"), 2: _Form("valueType", "value kind")},
    "source": {
        1: _Form("type", "source kind"),
        2: _Form("fieldMapping", "text map"),
        3: _Form("timestampField"),
        5: _Form("createdTimestampColumn"),
        11: _Form("fileOptions", "file"),
        12: _Form("bigqueryOptions", "table"),
        13: _Form("kafkaOptions", "kafka"),
        15: _Form("redshiftOptions", "table"),
        17: _Form("dataSourceClassType"),
        18: _Form("requestDataOptions", "request"),
        19: _Form("snowflakeOptions", "table"),
        20: _Form("name"),
        21: _Form("project"),
        26: _Form("batchSource", "source"),
        27: _Form("sparkOptions", "table"),
        30: _Form("trinoOptions", "table"),
        35: _Form("athenaOptions", "table"),
    },
    "file": {1: _Form("fileFormat", "file format"), 2: _Form("uri"), 3: _Form("s3EndpointOverride")},
    "file format": {1: _Form("parquetFormat", "nothing"), 2: _Form("deltaFormat", "nothing")},
    "nothing": {},
    "table": _TABLE,
    "kafka": {2: _Form("topic")},
    "request": {3: _many("schema", "feature")},
    "view": {1: _Form("spec", "view spec")},
    "view spec": {
        1: _Form("name"),
        2: _Form("project"),
        3: _many("entities"),
        4: _many("features", "feature"),
        6: _Form("ttl", "span"),
        7: _Form("batchSource", "source"),
        8: _Form("online", "flag"),
        9: _Form("streamSource", "source"),
        12: _many("entityColumns", "feature"),
        14: _many("sourceViews", "view spec"),
        15: _Form("featureTransformation", "transformation"),
        16: _Form("mode"),
        20: _Form("disabled", "flag"),
    },
    "stream view": {1: _Form("spec", "stream view spec")},
    "stream view spec": {
        1: _Form("name"),
        2: _Form("project"),
        3: _many("entities"),
        4: _many("features", "feature"),
        5: _many("entityColumns", "feature"),
        9: _Form("ttl", "span"),
        10: _Form("batchSource", "source"),
        11: _Form("streamSource", "source"),
        12: _Form("online", "flag"),
        13: _Form("userDefinedFunction", "function"),
        14: _Form("mode"),
        15: _many("aggregations", "aggregation"),
        17: _Form("featureTransformation", "transformation"),
        23: _Form("disabled", "flag"),
    },
    "aggregation": {
        1: _Form("column"),
        2: _Form("function"),
        3: _Form("timeWindow", "span"),
        4: _Form("slideInterval", "span"),
        5: _Form("name"),
    },
    "transformation": {
        1: _Form("userDefinedFunction", "function"),
        2: _Form("substraitTransformation", "nothing"),
    },
    "function": {1: _Form("name"), 3: _Form("bodyText"), 4: _Form("mode")},
    "on-demand view": {1: _Form("spec", "on-demand view spec")},
    "on-demand view spec": {
        1: _Form("name"),
        2: _Form("project"),
        3: _many("features", "feature"),
        4: _Form("sources", "on-demand source map"),
        5: _Form("userDefinedFunction", "function"),
        10: _Form("featureTransformation", "transformation"),
        11: _Form("mode"),
        16: _many("aggregations", "aggregation"),
        19: _Form("disabled", "flag"),
    },
    "on-demand source": {
        1: _Form("featureView", "view"),
        2: _Form("requestDataSource", "source"),
        3: _Form("featureViewProjection", "projection"),
    },
    "projection": {
        1: _Form("featureViewName"),
        2: _many("featureColumns", "feature"),
        3: _Form("featureViewNameAlias"),
        4: _Form("joinKeyMap", "text map"),
    },
    "service": {1: _Form("spec", "service spec")},
    "service spec": {1: _Form("name"), 2: _Form("project"), 3: _many("features", "projection")},
}
_PASSED_OVER: Mapping[str, frozenset[int]] = {
    "entity": frozenset({2}),
    "entity spec": frozenset({3, 8, 10}),
    "feature": frozenset({3, 4, 5, 6, 7}),
    "source": frozenset({4, 14, 16, 22, 23, 24, 25, 28, 29, 50}),
    "nothing": frozenset({1, 2}),
    "table": frozenset({3, 4, 5, 6}),
    "kafka": frozenset({1, 3, 4}),
    "request": frozenset({2}),
    "view": frozenset({2}),
    "view spec": frozenset({5, 10, 11, 13, 17, 18, 19}),
    "stream view": frozenset({2}),
    "stream view spec": frozenset({6, 7, 8, 16, 18, 19, 20, 21, 22}),
    "function": frozenset({2}),
    "on-demand view": frozenset({2}),
    "on-demand view spec": frozenset({6, 7, 8, 12, 13, 14, 15, 17, 18}),
    "projection": frozenset({5, 6, 7, 8, 9, 10, 11}),
    "service": frozenset({2}),
    "service spec": frozenset({4, 5, 6, 7, 8}),
}
"""Fields that say nothing about data: descriptions, tags, owners, times of changes, and compiled code."""


def decoded(message: bytes, kind: str, unknown: Counter[str]) -> dict[str, Any]:
    """Return a message as plain values.

    Parameters
    ----------
    kind
        ``"entity"``, ``"source"``, ``"view"``, ``"stream view"``, ``"on-demand view"`` or ``"service"``.
    unknown
        Counts fields that are not known, by the kind of their message and their number.

    Raises
    ------
    InvalidInput
        If it is no such message, or is nested too deep.

    Examples
    --------
    >>> decoded(bytes.fromhex("0a0a0a04646174652202646b"), "entity", Counter())
    {'spec': {'name': 'date', 'joinKey': 'dk'}}
    """
    return _message(message, kind, unknown, 0)


def _message(message: bytes, kind: str, unknown: Counter[str], depth: int) -> dict[str, Any]:
    if depth > DEEPEST:
        raise InvalidInput("registry", kind, "is nested too deep", deepest=DEEPEST)
    forms, passed_over = _FORMS[kind], _PASSED_OVER.get(kind, frozenset())
    found: dict[str, Any] = {}
    for tag, value in fields(message):
        form = forms.get(tag)
        if form is None:
            if tag not in passed_over:
                unknown[f"{kind} {tag}"] += 1
        elif form.kind.endswith(" map"):
            key, entry = _entry(part(value), form.kind.removesuffix(" map"), unknown, depth)
            found.setdefault(form.name, {})[key] = entry
        elif form.is_list:
            found.setdefault(form.name, []).append(_value(value, form.kind, unknown, depth))
        else:
            found[form.name] = _value(value, form.kind, unknown, depth)
    return found


def _entry(message: bytes, kind: str, unknown: Counter[str], depth: int) -> tuple[str, Any]:
    read = dict(fields(message))
    value = read.get(2, b"")
    return text(read.get(1, b"")), _value(value, kind, unknown, depth)


def _value(value: int | bytes, kind: str, unknown: Counter[str], depth: int) -> Any:
    if kind == "text":
        return text(value)
    if kind == "flag":
        return bool(number(value))
    if kind == "span":
        parts = dict(fields(part(value)))
        return signed(number(parts.get(1, 0))) * SECOND + signed(number(parts.get(2, 0))) // 1000
    if kind in _ENUMS:
        return _ENUMS[kind].get(number(value), f"kind {number(value)}")
    return _message(part(value), kind, unknown, depth + 1)
