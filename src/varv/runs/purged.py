"""What is left to do once rows were purged: blobs that nothing may have any more.

Whatever is purged leaves the digests of its artifacts and long texts as *orphans* in the file, in the same
transaction. `home.tracking.purging` deletes those blobs that nothing else has, and a purge that was cut short
is finished by the next.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from varv.kernel.codec import digest
from varv.kernel.texts import LONGEST_SHORT

SCHEMA = """
CREATE TABLE IF NOT EXISTS orphan (digest TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS purged (stream TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_ARTIFACTS = "INSERT OR IGNORE INTO orphan SELECT digest FROM artifact WHERE owner = ?"


def orphan(db: sqlite3.Connection, stream: str, owner: str, texts: Iterable[str]) -> None:
    """Delete the index of what an owner kept, and note what it and its texts have in blobs.

    Parameters
    ----------
    stream
        Of what is purged: what its entries name is no reason any more to keep a blob.
    owner
        Of its artifacts; nothing for none.
    """
    if owner:
        db.execute(_ARTIFACTS, (owner,))
        db.execute("DELETE FROM artifact WHERE owner = ?", (owner,))
    long = (text.encode() for text in texts if len(text) > LONGEST_SHORT // 4)
    rows = [(digest(text),) for text in long if len(text) > LONGEST_SHORT]
    db.executemany("INSERT OR IGNORE INTO orphan VALUES (?)", rows)
    db.execute("INSERT OR IGNORE INTO purged VALUES (?)", (stream,))
    # Whoever takes it over once more wants it back.
    db.execute("DELETE FROM imported WHERE thing IN (?, ?)", (stream, f"files/{owner}"))


def come_again(db: sqlite3.Connection, stream: str) -> None:
    """Note that what was purged is there again under its id, as after an import."""
    db.execute("DELETE FROM purged WHERE stream = ?", (stream,))


def is_purged(db: sqlite3.Connection, stream: str) -> bool:
    """Return whether something was purged."""
    return db.execute("SELECT 1 FROM purged WHERE stream = ?", (stream,)).fetchone() is not None
