"""A table and its log of changes, written into files as Debezium does."""

from __future__ import annotations

import base64
import datetime as dt
import json
from pathlib import Path

AT = 1_356_998_400_000_000
"""2013-01-01, in microseconds."""
SCHEMA = {
    "type": "struct",
    "name": "shop.public.trips.Value",
    "fields": [
        {"type": "string", "optional": False, "field": "id"},
        {"type": "int64", "optional": True, "name": "io.debezium.time.MicroTimestamp", "field": "at"},
        {"type": "int64", "optional": True, "field": "size"},
        {"type": "int32", "optional": True, "name": "io.debezium.time.Date", "field": "done_at"},
        {"type": "boolean", "optional": True, "field": "late"},
        {
            "type": "bytes",
            "optional": True,
            "name": "org.apache.kafka.connect.data.Decimal",
            "parameters": {"scale": "2", "connect.decimal.precision": "10"},
            "field": "price",
        },
    ],
}
ENVELOPE = {
    "type": "struct",
    "name": "shop.public.trips.Envelope",
    "fields": [
        {**SCHEMA, "field": "before", "optional": True},
        {**SCHEMA, "field": "after", "optional": True},
        {"type": "string", "field": "op"},
    ],
}
ENCODINGS = {"at": "MicroTimestamp", "done_at": "Date", "price": "Decimal(2)"}
DONE = (dt.date(2013, 1, 9) - dt.date(1970, 1, 1)).days


def row(key: str, size: int, done: bool | None = None) -> dict:
    said = {"done_at": None if done is None else DONE, "late": done}
    price = base64.b64encode((size * 100 + 25).to_bytes(4, "big", signed=True)).decode()
    return {"id": key, "at": AT, "size": size, **said, "price": price}


def event(op: str, lsn: int, before: dict | None, after: dict | None) -> dict:
    source = {"connector": "postgresql", "lsn": lsn, "ts_ms": AT // 1000, "snapshot": "false"}
    return {"before": before, "after": after, "source": source, "op": op, "ts_ms": -lsn, "transaction": None}


def created(key: str, lsn: int, size: int, done: bool | None = None) -> dict:
    return event("c", lsn, None, row(key, size, done))


def updated(key: str, lsn: int, size: int, done: bool | None = None) -> dict:
    return event("u", lsn, None, row(key, size, done))


def deleted(key: str, lsn: int) -> dict:
    return event("d", lsn, {**dict.fromkeys(row("", 0)), "id": key}, None)


def truncated(lsn: int) -> dict:
    return event("t", lsn, None, None)


def wrapped(said: dict) -> dict:
    return {"schema": ENVELOPE, "payload": said}


def flattened(said: dict) -> dict:
    """As `ExtractNewRecordState` does with deletions rewritten."""
    state, source = said["after"] or said["before"] or {}, said["source"]
    about = {"__op": said["op"], "__lsn": source["lsn"], "__source_ts_ms": source["ts_ms"]}
    return {**state, "__deleted": "true" if said["op"] == "d" else "false", **about}


def write(place: Path, *records: dict | None) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("".join(json.dumps(one) + "\n" for one in records))
    return place
