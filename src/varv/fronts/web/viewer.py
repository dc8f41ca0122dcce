"""What a page may show of an artifact: texts, tables and pictures, by what the bytes are.

An artifact is whatever somebody uploaded. Texts are escaped by the template that shows them, pictures are
sent as what their first bytes say and as nothing else, and everything more is a download that no browser
runs: SVG and HTML above all.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from varv.kernel.blobs import Blobs
from varv.kernel.errors import NotFound
from varv.runs.artifacts import Artifact

MOST_TEXT_BYTES = 128 << 10
"""Of a text that is shown; the rest is in the download."""
MOST_TABLE_BYTES = 4 << 20
MOST_PICTURE_BYTES = 8 << 20
MOST_ROWS, MOST_COLUMNS, LONGEST_CELL = 100, 30, 120
_PICTURES = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))
_TABLES = {".csv": ",", ".tsv": "\t"}


class Shown(msgspec.Struct, frozen=True):
    """An artifact as a page shows it: ``text``, ``table``, ``picture`` or ``none``; `is_cut` where there is
    more of it.
    """

    kind: str
    text: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    is_cut: bool = False


def shown(blobs: Blobs, kept: Artifact) -> Shown:
    """Return what may be shown of a file."""
    assert kept.digest is not None, "files have one"
    size = kept.size or 0
    head = next(blobs.chunks(kept.digest), b"")
    if _picture_type(head):
        return Shown("picture" if size <= MOST_PICTURE_BYTES else "none")
    suffix = kept.path[kept.path.rfind(".") :].lower()
    if (suffix in _TABLES or suffix == ".json") and size <= MOST_TABLE_BYTES:
        table = _table(blobs.get(kept.digest), suffix)
        if table is not None:
            return table
    return _text(head, size)


def picture(blobs: Blobs, kept: Artifact) -> tuple[bytes, str]:
    """Return a picture and its type.

    Raises
    ------
    NotFound
        If the file is no PNG and no JPEG, or is too large.
    """
    assert kept.digest is not None, "files have one"
    data = blobs.get(kept.digest) if (kept.size or 0) <= MOST_PICTURE_BYTES else b""
    kind = _picture_type(data)
    if not kind:
        raise NotFound("picture", kept.path[:200], "is none that can be shown", hint="download the artifact")
    return data, kind


def text_of(blobs: Blobs, kept: Artifact) -> str | None:
    """Return a whole text, None if the file is none or is too large to be shown."""
    assert kept.digest is not None, "files have one"
    if (kept.size or 0) > MOST_TEXT_BYTES:
        return None
    found = _text(blobs.get(kept.digest), kept.size or 0)
    return found.text if found.kind == "text" else None


def _picture_type(data: bytes) -> str:
    return next((kind for begin, kind in _PICTURES if data.startswith(begin)), "")


def _text(head: bytes, size: int) -> Shown:
    part = head[:MOST_TEXT_BYTES]
    if b"\x00" in part:
        return Shown("none")
    try:
        text = part.decode()
    except UnicodeDecodeError as error:
        # A character may be cut in two at the end of what is shown, and nowhere else.
        if len(part) == size or error.start < len(part) - 4:
            return Shown("none")
        text = part[: error.start].decode()
    return Shown("text", text=text, is_cut=size > len(part))


def _table(data: bytes, suffix: str) -> Shown | None:
    if b"\x00" in data:
        return None
    try:
        text = data.decode("utf-8-sig")
        found = _of_json(text) if suffix == ".json" else _of_lines(text, _TABLES[suffix])
    except (UnicodeDecodeError, csv.Error, msgspec.DecodeError, RecursionError):
        return None
    if found is None:
        return None
    columns, rows = found
    if len(columns) < 1:
        return None
    return Shown(
        "table",
        columns=tuple(_cell(one) for one in columns[:MOST_COLUMNS]),
        rows=tuple(
            tuple(_cell(one) for one in (*row, *[""] * len(columns))[: min(len(columns), MOST_COLUMNS)])
            for row in rows[:MOST_ROWS]
        ),
        is_cut=len(rows) > MOST_ROWS or len(columns) > MOST_COLUMNS,
    )


def _of_lines(text: str, separator: str) -> tuple[Sequence[Any], Sequence[Sequence[Any]]] | None:
    lines = csv.reader(io.StringIO(text), delimiter=separator)
    rows = [row for row, _ in zip(lines, range(MOST_ROWS + 2), strict=False)]
    return (rows[0], rows[1:]) if rows else None


def _of_json(text: str) -> tuple[Sequence[Any], Sequence[Sequence[Any]]] | None:
    """Return a table as MLflow logs it, or rows of one form; None for other documents."""
    found = msgspec.json.decode(text)
    if isinstance(found, Mapping) and isinstance(found.get("columns"), list):
        rows = found.get("data")
        if isinstance(rows, list) and all(isinstance(row, list) for row in rows):
            return found["columns"], rows
        return None
    if isinstance(found, list) and found and all(isinstance(row, Mapping) for row in found):
        columns = list(dict.fromkeys(name for row in found[:MOST_ROWS] for name in row))
        return columns, [[row.get(name, "") for name in columns] for row in found]
    return None


def _cell(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= LONGEST_CELL else text[: LONGEST_CELL - 1] + "…"
