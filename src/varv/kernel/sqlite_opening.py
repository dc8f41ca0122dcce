"""Whether the file of an embedded ledger may be read, and written on: its marks, its end, its signer.

The file itself is made in `kernel.sqlite_file`; who signs, and when, is in `kernel.merkle`.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from varv.kernel.errors import Corrupt
from varv.kernel.ledger import GENESIS, Head
from varv.kernel.merkle import Notary
from varv.kernel.sqlite_file import require_format
from varv.kernel.sqlite_reading import VERIFY, stored_head

_SIGN_ANEW = "run varv verify; restore the file from a copy, or run varv verify --sign-anew"


class Opened(NamedTuple):
    """What a file says of itself: its head, and after which entry all carry records.

    `recorded_since` is None in a file of format 1, which a reader may meet, and in which none do.
    """

    tip: Head
    recorded_since: int | None


def open_for_reading(db: sqlite3.Connection, name: str) -> Opened:
    """Return what the file says of itself.

    Raises
    ------
    Corrupt
        If it is not a ledger that this version can read.
    """
    since = None
    if require_format(db, name) > 1:
        row = db.execute("SELECT since FROM recorded").fetchone()
        if row is None:
            raise Corrupt("ledger", name, "has lost the row of its table 'recorded'", hint=VERIFY)
        since = row[0]
    return Opened(stored_head(db), since)


def open_for_writing(db: sqlite3.Connection, name: str, notary: Notary | None) -> Opened:
    """Return what the file says of itself, once it is known that nobody would write on after a break.

    Raises
    ------
    Corrupt
        If its last entry is not the one its head names, or it was signed otherwise than `notary` knows.
    """
    found = open_for_reading(db, name)
    tip = found.tip
    last = db.execute("SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1").fetchone()
    if (last or (0, GENESIS)) != (tip.version, tip.hash):
        facts = {"head": tip.version, "last": last[0] if last else 0}
        raise Corrupt("ledger", name, "does not end where its head says", **facts, hint=VERIFY)
    if notary is not None:
        _require_same_signer(db, name, notary, found)
    return found


def _require_same_signer(db: sqlite3.Connection, name: str, notary: Notary, found: Opened) -> None:
    """Compare key and checkpoints with what the ledger has noted; a new ledger notes them now."""
    last = found.tip.version
    if notary.size > last:
        problem = "is shorter than was signed"
        raise Corrupt("ledger", name, problem, signed=notary.size, last=last, hint=VERIFY)
    row = db.execute("SELECT public, signed FROM signers ORDER BY since DESC LIMIT 1").fetchone()
    if row is None and last > (found.recorded_since or 0):
        raise Corrupt("ledger", name, "has lost the rows of its table 'signers'", hint=_SIGN_ANEW)
    if row is None:
        db.execute("INSERT INTO signers VALUES (0, ?, ?)", (notary.public, notary.size))
    elif row[0] != notary.public:
        raise Corrupt("key", "signing.key", "is not the one that has signed so far", hint=_SIGN_ANEW)
    elif row[1] > notary.size:
        facts = {"signed": row[1], "found": notary.size}
        raise Corrupt("file", "checkpoints.jsonl", "was cut, or is gone", **facts, hint=_SIGN_ANEW)


def appoint_signer(db: sqlite3.Connection, since: int, public: bytes) -> None:
    """Note that checkpoints from the size `since` on are signed with another key; there is none yet."""
    db.execute("INSERT OR REPLACE INTO signers VALUES (?, ?, 0)", (since, public))


def note_signed(db: sqlite3.Connection, size: int) -> None:
    """Note the size of the newest checkpoint."""
    db.execute("UPDATE signers SET signed = ? WHERE since = (SELECT max(since) FROM signers)", (size,))
