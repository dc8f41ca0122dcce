"""Delta tables: created, given columns and committed to. Nothing else here talks to Delta's library.

A table is one that readers of the first version understand: no deletion vectors, no mapped columns. It
forgets nothing by itself, since what is removed is decided elsewhere (`data.versioning.keeping`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from varv.data.delta.log import COLUMNS, LOG, entry_file
from varv.kernel.blobs import sync_folder
from varv.kernel.errors import Conflict
from varv.kernel.plugins import required
from varv.kernel.storage import storing

if TYPE_CHECKING:
    from deltalake import CommitProperties, DeltaTable, Schema

CHECKPOINT_EVERY = 100
"""Versions of a table."""
SETTINGS: dict[str, str | None] = {
    # By default the log is cut after 30 days, and files of versions before after 7.
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
    "delta.checkpointInterval": str(CHECKPOINT_EVERY),
}


class AddedFile(NamedTuple):
    """A file that a version adds: its name in the folder, its size, when its rows came, and statistics."""

    name: str
    size_bytes: int
    at_ms: int
    statistics: str


class Commit(NamedTuple):
    """What makes the next version of a table."""

    app: str
    version: int
    """Of what is published, as `app` counts."""
    follows: int | None
    """The version before it, as `app` counts; None for the first."""
    info: Mapping[str, Any]
    added: Sequence[AddedFile]
    removed: Sequence[str]
    at_ms: int

    @property
    def is_change(self) -> bool:
        """Whether rows come or go; if not, other files hold the same."""
        return self.version != self.follows


def require_library() -> None:
    """Raise `FailedPrecondition` if Delta's library is not installed."""
    required("deltalake", kind="publication", name="delta", extra="delta")


def app_of(dataset: str, part: str) -> str:
    """Return the name under which versions of a part are committed."""
    return f"varv:{dataset}/{part}"


def created(place: str | Path, name: str, columns: Mapping[str, str]) -> DeltaTable:
    """Create a table without rows, its version 0.

    Parameters
    ----------
    place
        A folder, or an address such as ``s3://bucket/flights/at``.
    columns
        The names of Delta's types, by column.
    """
    deltalake = required("deltalake", kind="publication", name="delta", extra="delta")
    if isinstance(place, Path):
        place.mkdir(parents=True, exist_ok=True)
    table = deltalake.DeltaTable.create(
        str(place),
        _schema(columns),
        mode="error",
        name=name,
        configuration=SETTINGS,
        commit_properties=_properties({COLUMNS: ", ".join(columns)}),
    )
    if isinstance(place, Path):
        _sync(place, table.version())
    return table


def commit(folder: Path, columns: Mapping[str, str], made: Commit) -> int:
    """Commit the next version of a table in a folder durably, and return its number. Columns that the table
    lacks are added by a version of their own before it.

    Raises
    ------
    Conflict
        If somebody else commits at the same time.
    StorageFull
        If the disk takes nothing more.
    """
    from deltalake.transaction import AddAction, RemoveAction

    table = _opened(folder)
    if table.transaction_version(made.app) != made.follows:
        raise _meanwhile(folder, f"expected {made.follows}, found {table.transaction_version(made.app)}")
    _gain(folder, table, columns)
    added = [
        AddAction(one.name, one.size_bytes, {}, one.at_ms, made.is_change, one.statistics)
        for one in made.added
    ]
    gone = [RemoveAction(name, made.is_change, made.at_ms, partition_values={}) for name in made.removed]
    _committed(folder, table, [*added, *gone], _properties(made.info, made))
    made_by = table.version() + 1
    _sync(folder, made_by)
    return made_by


def fill(folder: Path, columns: Mapping[str, str]) -> None:
    """Commit a version without files, which gives a table the columns that it lacks, if it lacks any."""
    table = _opened(folder)
    if not _gain(folder, table, columns):
        _committed(folder, table, [], _properties({COLUMNS: ""}))
        _sync(folder, table.version() + 1)


def _gain(folder: Path, table: DeltaTable, columns: Mapping[str, str]) -> bool:
    """Give a table the columns that it lacks by a version of their own; return whether it lacked any."""
    known = {field.name for field in table.schema().fields}
    gained = {name: kind for name, kind in columns.items() if name not in known}
    if not gained:
        return False
    table.alter.add_columns(
        _schema(gained).fields, commit_properties=_properties({COLUMNS: ", ".join(gained)})
    )
    table.update_incremental()
    _sync(folder, table.version())
    return True


def _committed(folder: Path, table: DeltaTable, actions: Iterable[Any], properties: CommitProperties) -> None:
    import deltalake
    from deltalake.exceptions import CommitFailedError

    hooks = deltalake.PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)
    try:
        with storing("delta log", folder / LOG):
            table.create_write_transaction(
                list(actions),
                mode="append",
                schema=table.schema(),
                commit_properties=properties,
                post_commithook_properties=hooks,
            )
    except CommitFailedError as error:
        raise _meanwhile(folder, str(error)[:200]) from None


def _meanwhile(folder: Path, why: str) -> Conflict:
    hint = "only one process may publish to a table; see who else does"
    return Conflict("delta table", folder.name, "was committed to meanwhile", why=why, hint=hint)


def _opened(folder: Path) -> DeltaTable:
    import deltalake

    return deltalake.DeltaTable(str(folder))


def _schema(columns: Mapping[str, str]) -> Schema:
    from deltalake import Field, Schema
    from deltalake.schema import PrimitiveType

    return Schema([Field(name, PrimitiveType(kind), nullable=True) for name, kind in columns.items()])


def _properties(info: Mapping[str, Any], made: Commit | None = None) -> CommitProperties:
    from deltalake import CommitProperties, Transaction

    ours = None if made is None else [Transaction(made.app, made.version)]
    # Less than 1 never commits.
    return CommitProperties(custom_metadata=dict(info), max_commit_retries=1, app_transactions=ours)


def _sync(folder: Path, version: int) -> None:
    """Make an entry durable; the library leaves that to the system."""
    place = entry_file(folder, version)
    with storing("delta log", place):
        handle = os.open(place, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        sync_folder(place.parent)
        sync_folder(folder)
