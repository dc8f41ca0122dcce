"""A checker of Delta logs by the text of the protocol, for readers that do not run here, such as Spark's.

What is required of actions for reader version 1 and writer version 2: which there are, the fields that each
must have, of which types, and that a table asks for no feature beyond.
"""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote

REQUIRED = {
    "protocol": {"minReaderVersion": int, "minWriterVersion": int},
    "metaData": {
        "id": str,
        "format": dict,
        "schemaString": str,
        "partitionColumns": list,
        "configuration": dict,
    },
    "add": {"path": str, "partitionValues": dict, "size": int, "modificationTime": int, "dataChange": bool},
    "remove": {"path": str, "dataChange": bool},
    "txn": {"appId": str, "version": int},
    "commitInfo": {},
}
PRIMITIVES = {"string", "long", "integer", "short", "byte", "float", "double", "boolean", "timestamp"}
FEATURES = ("deletionVector", "baseRowId", "defaultRowCommitVersion", "clusteringProvider")
STATISTICS = {"numRecords", "minValues", "maxValues", "nullCount", "tightBounds"}


def require_protocol(table: Path) -> None:
    """Raise `AssertionError` where a log is not one that the first reader version can follow."""
    places = sorted((table / "_delta_log").glob("*.json"))
    assert [int(one.stem) for one in places] == list(range(len(places)))
    assert all(len(one.stem) == 20 for one in places)
    live: set[str] = set()
    for number, place in enumerate(places):
        actions = [json.loads(line) for line in place.read_text().splitlines()]
        assert all(len(one) == 1 for one in actions)
        kinds = [next(iter(one)) for one in actions]
        assert set(kinds) <= REQUIRED.keys()
        assert all(kinds.count(kind) <= 1 for kind in ("protocol", "metaData", "commitInfo"))
        assert number > 0 or {"protocol", "metaData"} <= set(kinds)
        for action in actions:
            [(kind, fields)] = action.items()
            for name, of in REQUIRED[kind].items():
                assert type(fields.get(name)) is of, (place.name, kind, name)
            assert not any(fields.get(feature) for feature in FEATURES)
            {"metaData": require_metadata, "protocol": require_first, "add": require_added}.get(kind, list)(
                fields
            )
        added = {one["add"]["path"] for one in actions if "add" in one}
        removed = {one["remove"]["path"] for one in actions if "remove" in one}
        assert added.isdisjoint(removed)
        assert removed <= live
        assert added.isdisjoint(live)
        live = live - removed | added
    assert all((table / unquote(path)).exists() for path in live)


def require_first(protocol: dict) -> None:
    assert (protocol["minReaderVersion"], protocol["minWriterVersion"]) == (1, 2)
    assert not protocol.get("readerFeatures")
    assert not protocol.get("writerFeatures")


def require_metadata(metadata: dict) -> None:
    assert metadata["format"] == {"provider": "parquet", "options": {}}
    assert metadata["partitionColumns"] == []
    schema = json.loads(metadata["schemaString"])
    assert schema["type"] == "struct"
    for field in schema["fields"]:
        assert field.keys() == {"name", "type", "nullable", "metadata"}
        assert field["type"] in PRIMITIVES
        assert field["metadata"] == {}
    assert not any(
        "columnMapping" in name or "enable" in name
        for name in metadata["configuration"]
        if name != "delta.enableExpiredLogCleanup"
    )


def require_added(file: dict) -> None:
    assert file["partitionValues"] == {}
    assert not file["path"].startswith("/")
    assert "://" not in file["path"]
    said = json.loads(file["stats"])
    assert said.keys() <= STATISTICS
    assert said["minValues"].keys() == said["maxValues"].keys() <= said["nullCount"].keys()
