"""One file of change events, read once: its rows in a scratch folder, and what is last of each key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import polars as pl

from varv.data.sources.change_events import Change, Changes
from varv.data.sources.files import unguessed
from varv.kernel.errors import InvalidInput
from varv.kernel.scratch import Scratch

KEY, POSITION = "@key", "@position"
GONE, PARTLY = "@gone", "@partly"
"""Columns beside those of a row: its key as one text, where its change is, and whether it was deleted or
lacks a value.
"""
ABOUT = (KEY, POSITION, GONE, PARTLY)
_LINE = "@line"
_INDEX = {
    _LINE: pl.Int64(),
    **dict.fromkeys((KEY, POSITION), pl.String()),
    **dict.fromkeys((GONE, PARTLY), pl.Boolean()),
}


class ChangesRead:
    """What a file of change events says in the end of each key.

    Parameters
    ----------
    key
        The columns of the primary key.

    Raises
    ------
    InvalidInput
        If a change lacks its key, or places are of logs that cannot be compared.
    """

    def __init__(self, changes: Changes, key: tuple[str, ...], name: str) -> None:
        self._scratch = Scratch("changes")
        self._key, self._name = key, name
        self.truncated = ""
        """Where the last truncation is that emptied the table; empty if there is none."""
        self.index = self._indexed(changes)
        """The last change of each key, in the order of the file."""
        self.types: Mapping[str, pl.DataType] = changes.types
        self.last = max(str(self.index[POSITION].max() or ""), self.truncated)
        """How far the file reaches in the log."""

    @property
    def rows_file(self) -> Path:
        """All rows, those that are superseded and deleted too, as JSON lines."""
        return self._scratch.path / "rows.jsonl"

    def rows(self, columns: Mapping[str, pl.DataType], skip: int = 0) -> Iterator[pl.DataFrame]:
        """Yield the last row of each key but for some at the beginning, with what is `ABOUT` it."""
        wanted = self.index.slice(skip)
        if wanted.is_empty():
            return
        at = 0
        texts = {name: pl.String() for name in columns}
        for piece in unguessed(self.rows_file, "jsonl", texts):
            chosen = wanted.filter(pl.col(_LINE).is_between(at, at + piece.height - 1))
            if chosen.height:
                yield piece[(chosen[_LINE] - at).to_list()].hstack(chosen.drop(_LINE))
            at += piece.height

    def _indexed(self, changes: Changes) -> pl.DataFrame:
        found: list[tuple[int, str, str, bool, bool]] = []
        with self.rows_file.open("wb") as file:
            for change in changes:
                if change.op == "t":
                    self.truncated = max(self.truncated, change.position)
                    continue
                key, is_gone = self._key_of(change), change.op == "d"
                found.append((len(found), key, change.position, is_gone, not change.is_whole))
                file.write(msgspec.json.encode(change.row) + b"\n")
        index = pl.DataFrame(found, _INDEX, orient="row")
        schemes = index[POSITION].str.split(" ").list.first().unique().drop_nulls().to_list()
        if len([one for one in schemes if one]) > 1:
            raise InvalidInput(
                "file", self._name, f"has places of several kinds: {', '.join(sorted(schemes))}"
            )
        return self._last_of_each(index)

    def _last_of_each(self, index: pl.DataFrame) -> pl.DataFrame:
        if self.truncated:
            index = index.filter(pl.col(POSITION) > self.truncated)
        ordered = index.sort(POSITION, maintain_order=True)
        return ordered.unique(KEY, keep="last", maintain_order=True).sort(_LINE)

    def _key_of(self, change: Change) -> str:
        missing = [name for name in self._key if change.row.get(name) is None]
        if missing:
            hint = "name the primary key of the table: key="
            raise InvalidInput("file", self._name, f"holds a change without {missing[0]!r}", hint=hint)
        return msgspec.json.encode([change.row[name] for name in self._key]).decode()
