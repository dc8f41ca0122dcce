"""Reads the log of a Delta table in a folder, entry by entry, without Delta's library.

A publication needs only what came after the last one that is on record, and `varv verify` must not depend on
the library that wrote what it looks at. Checkpoints are passed over: the entries that they sum up are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec

from varv.kernel.errors import Corrupt

LOG = "_delta_log"
VERSION, DIGEST, SEQ, COLUMNS = "varv.version", "varv.digest", "varv.seq", "varv.columns"
"""What commits of ours say of themselves beside the actions."""


class Transaction(msgspec.Struct, frozen=True):
    """Who commits, and the last version of theirs that a table holds."""

    app: str = msgspec.field(name="appId")
    version: int


class File(msgspec.Struct, frozen=True):
    """A file that an entry adds or removes."""

    path: str

    @property
    def name(self) -> str:
        """Its name, as its folder has it."""
        return unquote(self.path)


class _Action(msgspec.Struct, frozen=True):
    add: File | None = None
    remove: File | None = None
    txn: Transaction | None = None
    info: dict[str, Any] | None = msgspec.field(name="commitInfo", default=None)


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a table: what it adds and removes, and who made it."""

    version: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    transactions: dict[str, int]
    info: dict[str, Any]

    @property
    def only_columns(self) -> bool:
        """Whether it is one of ours that prepares the next: it creates the table, or gives it columns."""
        return COLUMNS in self.info and not (self.added or self.removed)


def entry_file(folder: Path, version: int) -> Path:
    """Return where the entry of a version is."""
    return folder / LOG / f"{version:020d}.json"


def log_entries(folder: Path, after: int = -1) -> Iterator[LogEntry]:
    """Yield the entries of a table's log after a version, up to the first that is not there.

    Raises
    ------
    Corrupt
        If one cannot be read.
    """
    version = after + 1
    while (place := entry_file(folder, version)).exists():
        yield _entry(place, version)
        version += 1


def live_files(folder: Path) -> set[str]:
    """Return the files that the last version of a table is made of, as its entries say."""
    return files_after(log_entries(folder))


def files_after(entries: Iterable[LogEntry]) -> set[str]:
    """Return the files that are left of those that entries add, from the first on."""
    files: set[str] = set()
    for entry in entries:
        files = files.difference(entry.removed).union(entry.added)
    return files


def _entry(place: Path, version: int) -> LogEntry:
    try:
        actions = [
            msgspec.json.decode(line, type=_Action) for line in place.read_bytes().splitlines() if line
        ]
    except (OSError, msgspec.MsgspecError) as error:
        hint = f"delete the folder {LOG} and publish again; the ledger knows what belongs into it"
        raise Corrupt("file", place.name, "cannot be read as Delta log", why=str(error), hint=hint) from None
    info: dict[str, Any] = {}
    for one in actions:
        info |= one.info or {}
    return LogEntry(
        version=version,
        added=tuple(one.add.name for one in actions if one.add is not None),
        removed=tuple(one.remove.name for one in actions if one.remove is not None),
        transactions={one.txn.app: one.txn.version for one in actions if one.txn is not None},
        info=info,
    )
