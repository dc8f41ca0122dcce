"""Change events of Debezium in files: what each says of which row, and where in the log of its database.

A record is an envelope, an envelope with its schema, or a row that `ExtractNewRecordState` made of one. The
time of an event orders nothing: clocks are set back, and a snapshot is dated when it was taken. What orders
is the place in the log. For one row that is enough: a database lets nobody change it before whoever did
before has committed.

Sources: Debezium's documentation of its connectors (``before``, ``after``, ``source``, ``op``), of new record
state extraction (``__deleted``, ``add.fields``), and Kafka Connect's of its JSON converter (``schema``,
``payload``).
"""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl

from varv.data.sources.connect_values import Encoded, encoded_as, fields_of
from varv.data.sources.files import Format, guessed, in_batches
from varv.kernel.errors import InvalidInput

CHANGED_AT = "__source_ts_ms"
"""When the database says that it made a change, as a column."""
_OWN = "__"
_UNAVAILABLE = "__debezium_unavailable_value"
_SCHEMES: Mapping[str, tuple[str, ...]] = {
    "lsn": ("lsn",),
    "binlog": ("file", "pos", "row"),
    "commit_lsn": ("commit_lsn", "change_lsn", "event_serial_no"),
    "scn": ("scn", "ssn"),
    "sequence": ("sequence",),
}
"""By what names the source of an event says where it is: PostgreSQL, MySQL and MariaDB, SQL Server and Db2,
Oracle, and others.
"""
_FIELDS = "write whole envelopes, or add.fields=op,source.ts_ms with lsn (PostgreSQL) or file,pos,row (MySQL)"
_MILLISECONDS = encoded_as("Timestamp")
_SIMPLE = (str, int, float, bool)
_WORDS = re.compile(r"[0-9A-Za-z:]+")


class Change(NamedTuple):
    """What an event says: ``c``, ``r``, ``u``, ``d`` or ``t``, where, and the row; of a deletion the one that
    was there.
    """

    op: str
    position: str
    """Greater in the order of texts for what happened later; its first word says of what it is."""
    row: dict[str, Any]
    is_whole: bool
    """Whether each value is there; of a large one that did not change, PostgreSQL says nothing."""


class _Wrapped(msgspec.Struct):
    schema: msgspec.Raw = msgspec.Raw(b"")
    payload: msgspec.Raw = msgspec.Raw(b"")


class Changes:
    """The change events of one file.

    Parameters
    ----------
    encodings
        What values stand for where no schema says so.
    name
        Of the file, for errors.
    """

    def __init__(self, file: Path, kind: Format, encodings: Mapping[str, str], name: str) -> None:
        self._file, self._kind, self._name = file, kind, name
        self._declared = {column: encoded_as(text) for column, text in encodings.items()}
        self._schemas: dict[bytes, dict[str, Encoded]] = {b"": self._declared}

    @property
    def types(self) -> dict[str, pl.DataType]:
        """The types that schemas and encodings tell, of the events that were read."""
        return {name: one.dtype for fields in self._schemas.values() for name, one in fields.items()}

    def __iter__(self) -> Iterator[Change]:
        """Yield the events in the order of the file, without tombstones and messages.

        Raises
        ------
        InvalidInput
            If a record is no change event, or does not say where it is.
        """
        position = ""
        for number, (record, fields) in enumerate(self._records(), 1):
            try:
                change = _change(record, fields, position)
            except InvalidInput as error:
                problem = f"{error.problem}, in record {number}"
                raise InvalidInput("file", self._name, problem, hint=error.hint) from None
            if change is not None:
                position = change.position
                yield change

    def _records(self) -> Iterator[tuple[dict[str, Any], Mapping[str, Encoded]]]:
        if self._kind != "jsonl":
            for frame in in_batches(guessed(self._file, self._kind)):
                for row in frame.iter_rows(named=True):
                    yield _nested(row), self._declared
            return
        with gzip.open(self._file) if self._file.suffix == ".gz" else self._file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip() in (b"", b"null"):
                    continue
                try:
                    wrapped = msgspec.json.decode(line, type=_Wrapped)
                    schema = bytes(wrapped.schema)
                    found = msgspec.json.decode(wrapped.payload if schema and wrapped.payload else line)
                except msgspec.MsgspecError as error:
                    problem = f"is no JSON in line {number}"
                    raise InvalidInput("file", self._name, problem, why=str(error)[:200]) from None
                if found is not None:
                    yield found, self._fields(schema)

    def _fields(self, schema: bytes) -> Mapping[str, Encoded]:
        known = self._schemas.get(schema)
        if known is None:
            try:
                said = msgspec.json.decode(schema, type=dict[str, Any] | None) or {}
                fields = said.get("fields") or ()
                state = next((one for one in fields if one.get("field") in ("after", "before")), None)
                known = fields_of(fields if state is None else state.get("fields") or ())
            except (msgspec.MsgspecError, AttributeError, TypeError):
                raise InvalidInput("file", self._name, "holds a schema that is none of Connect") from None
            known = {name: one for name, one in known.items() if not name.startswith(_OWN)} | self._declared
            self._schemas[schema] = known
        return known


def _change(record: Any, fields: Mapping[str, Encoded], before: str) -> Change | None:
    """Return what a record says; nothing if it is a message of PostgreSQL's or a tombstone.

    Parameters
    ----------
    before
        The position of the event before it.
    """
    if not isinstance(record, dict):
        raise InvalidInput("file", "", "holds a record that is no object")
    if "op" in record and ("after" in record or "before" in record or record["op"] in ("t", "m")):
        op, source = str(record["op"]), record.get("source") or {}
        state = record.get("before") if op == "d" else record.get("after")
    elif any(name.startswith(_OWN) for name in record):
        op, source = _flat_op(record), _flat_source(record)
        state = {name: value for name, value in record.items() if not name.startswith(_OWN)}
    else:
        raise InvalidInput("file", "", "holds a record that is no change event", hint=_FIELDS)
    if op == "m":
        return None
    if op not in ("c", "r", "u", "d", "t"):
        raise InvalidInput("file", "", f"holds a change of the kind {op[:20]!r}")
    position = _position(source)
    if op == "r" and (not position or position.split()[0] != (before or position).split()[0]):
        # A snapshot beside the log has no place of its own; it is as late as what was written before it.
        position = before
    if not position and op != "r":
        raise InvalidInput(
            "file", "", "holds a change that does not say where in the log it is", hint=_FIELDS
        )
    if op == "t":
        return Change(op, position, {}, is_whole=True)
    if not isinstance(state, dict):
        hint = "let the table give what was there: ALTER TABLE … REPLICA IDENTITY"
        raise InvalidInput("file", "", "holds a change without its row", hint=hint)
    return Change(op, position, *_row(state, fields, source.get("ts_ms")))


def _row(state: dict[str, Any], fields: Mapping[str, Encoded], at_ms: Any) -> tuple[dict[str, Any], bool]:
    row: dict[str, Any] = {}
    is_whole = True
    for name, value in state.items():
        if value == _UNAVAILABLE:
            row[name], is_whole = None, False
        elif value is not None:
            encoded = fields.get(name)
            row[name] = plain(value if encoded is None else encoded.decode(value))
        else:
            row[name] = None
    row[CHANGED_AT] = _MILLISECONDS.decode(at_ms)
    return row, is_whole


def plain(value: Any) -> Any:
    """Return a value as JSON has it: times in ISO 8601, decimals as numbers, what is nested as its text."""
    if type(value) in _SIMPLE:
        return value
    match value:
        case dt.datetime():
            utc = value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)
            return utc.isoformat().replace("+00:00", "Z")
        case dt.date():
            return f"{value.isoformat()}T00:00:00Z"
        case decimal.Decimal():
            return float(value)
        case dict() | list():
            return msgspec.json.encode(value).decode()
        case _:
            return value


def _flat_op(record: Mapping[str, Any]) -> str:
    if str(record.get("__deleted")).lower() == "true":
        return "d"
    return str(record.get("__op") or "u")


def _flat_source(record: Mapping[str, Any]) -> dict[str, Any]:
    own = {name.removeprefix(_OWN): value for name, value in record.items() if name.startswith(_OWN)}
    named = {name.removeprefix("source_"): value for name, value in own.items()}
    return {**named, "ts_ms": own.get("source_ts_ms")}


def _nested(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of columns such as ``after.id`` with ``after`` as an object; none if all of it is null."""
    if not any(name.startswith(("after.", "before.")) for name in row):
        return row
    found: dict[str, Any] = {}
    for name, value in row.items():
        outer, dot, inner = name.partition(".")
        if dot and outer in ("after", "before", "source"):
            found.setdefault(outer, {})[inner] = value
        else:
            found[name] = value
    return found


def _position(source: Mapping[str, Any]) -> str:
    """Return where in the log of its database an event is; empty if it does not say so."""
    for scheme, names in _SCHEMES.items():
        if source.get(names[0]) not in (None, "", 0):
            return f"{scheme} " + "/".join(_ordered(source.get(name)) for name in names)
    return ""


def _ordered(value: Any) -> str:
    """Return a place with its numbers as wide as any, so that texts have their order; of a binary log's name,
    its number.
    """
    text = "" if value is None else str(value).replace("null", "0")
    words = [word.zfill(20) for word in _WORDS.findall(text.rpartition(".")[2])]
    return ",".join(words)
