"""Webhooks: who is told what happens to registered models.

What a webhook is told, and where, is on record. Its secret is not: it lies in the file of tables only, so a
file that is lost leaves webhooks that are not called until they are given a secret again.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import msgspec

from varv.kernel.blobs import Blobs
from varv.kernel.clock import Instant
from varv.kernel.codec import Event
from varv.kernel.errors import AlreadyExists, InvalidInput, NotFound
from varv.kernel.ids import new_secret
from varv.kernel.recorder import Recorder, Write, Writing
from varv.kernel.texts import kept, whole
from varv.registry.model import WebhookDeleted, WebhookId, WebhookSet, WebhookStatus
from varv.registry.rules import require_description

EVENTS = (
    "registered_model.created",
    "model_version.created",
    "model_version_tag.set",
    "model_version_tag.deleted",
    "model_version_alias.created",
    "model_version_alias.deleted",
    "prompt.created",
    "prompt_version.created",
    "prompt_tag.set",
    "prompt_tag.deleted",
    "prompt_version_tag.set",
    "prompt_version_tag.deleted",
    "prompt_alias.created",
    "prompt_alias.deleted",
)
"""What can be told, as ``entity.action``."""
LONGEST_ADDRESS = 2048
LONGEST_SECRET = 1000
MOST_WEBHOOKS = 200
_NEVER = Instant(0)
_NAME = re.compile(r"(?=.{1,63}\Z)[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook as it is now; its secret is asked for by `secret_of` alone."""

    id: WebhookId
    name: str
    url: str
    events: tuple[str, ...]
    description: str
    status: WebhookStatus
    signed: bool
    created: Instant
    updated: Instant


class WebhookTables:
    """Folds what is set of webhooks; a `kernel.recorder.Fold`.

    Parameters
    ----------
    blobs
        Hold the texts that are too long for entries.
    """

    schema = """
CREATE TABLE IF NOT EXISTS webhook (
    no INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, url TEXT NOT NULL, events TEXT NOT
    NULL, description TEXT NOT NULL, active INTEGER NOT NULL, signed INTEGER NOT NULL,
    created INTEGER NOT NULL, updated INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS webhook_secret (id TEXT PRIMARY KEY, secret TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS webhook_told (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL);
"""
    events = (WebhookSet, WebhookDeleted)

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def apply(self, db: sqlite3.Connection, stream: str, event: Event, at: Instant) -> None:
        """Take in one event; again changes nothing."""
        match event:
            case WebhookSet():
                row = (
                    event.name,
                    event.url,
                    msgspec.json.encode(event.events).decode(),
                    whole(self._blobs, event.description),
                    event.status == "ACTIVE",
                    event.signed,
                    at,
                )
                db.execute(_SET, (event.webhook, *row, at))
            case WebhookDeleted():
                db.execute("DELETE FROM webhook WHERE id = ?", (event.webhook,))
                db.execute("DELETE FROM webhook_secret WHERE id = ?", (event.webhook,))
            case _:
                pass

    def forget(self) -> None:
        """Throw away what is remembered of rows, which is nothing."""


_SET = """
INSERT INTO webhook (id, name, url, events, description, active, signed, updated, created)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name, url = excluded.url,
    events = excluded.events, description = excluded.description, active = excluded.active,
    signed = excluded.signed, updated = excluded.updated
"""


class Webhooks:
    """The webhooks of a home, as one writes to them.

    Parameters
    ----------
    recorder
        Writes the file that holds their table.
    blobs
        Hold texts that are too long for entries of the ledger.
    require_address
        Raises unless an address may be called.
    """

    def __init__(self, recorder: Recorder, blobs: Blobs, require_address: Callable[[str], None]) -> None:
        self.recorder = recorder
        self._blobs = blobs
        self._require_address = require_address

    def create(
        self,
        name: str,
        url: str,
        events: Sequence[str],
        *,
        description: str = "",
        secret: str = "",
        status: WebhookStatus = "ACTIVE",
    ) -> Write[WebhookId]:
        """Make a webhook and return its id.

        Raises
        ------
        InvalidInput
            If its name, address or events are not valid.
        AlreadyExists
            If there are as many as there may be.
        """

        def work(writing: Writing) -> WebhookId:
            made = WebhookId(new_secret(16).hex())
            if writing.db.execute("SELECT count(*) FROM webhook").fetchone()[0] >= MOST_WEBHOOKS:
                raise AlreadyExists("webhook", name[:80], "is one too many", most=MOST_WEBHOOKS)
            wanted = Webhook(
                made, name, url, tuple(events), description, status, bool(secret), _NEVER, _NEVER
            )
            self._set(writing, wanted, secret)
            return made

        return Write(work, stores=True)

    def update(
        self,
        id: str,
        *,
        name: str | None = None,
        url: str | None = None,
        events: Sequence[str] | None = None,
        description: str | None = None,
        secret: str | None = None,
        status: WebhookStatus | None = None,
    ) -> Write[None]:
        """Change what is given of a webhook; an empty secret is none.

        Raises
        ------
        NotFound
            If there is none of this id.
        InvalidInput
            If something is not valid.
        """

        def work(writing: Writing) -> None:
            before = webhook(writing.db, id)
            wanted = replace(
                before,
                name=before.name if name is None else name,
                url=before.url if url is None else url,
                events=before.events if events is None else tuple(events),
                description=before.description if description is None else description,
                status=before.status if status is None else status,
                signed=before.signed if secret is None else bool(secret),
            )
            self._set(writing, wanted, secret)

        return Write(work, stores=True)

    def delete(self, id: str) -> Write[None]:
        """Delete a webhook."""

        def work(writing: Writing) -> None:
            found = webhook(writing.db, id)
            writing.record(webhook_stream(id), WebhookDeleted(webhook=found.id))

        return Write(work)

    def _set(self, writing: Writing, wanted: Webhook, secret: str | None) -> None:
        _require(wanted, secret or "")
        self._require_address(wanted.url)
        event = WebhookSet(
            webhook=wanted.id,
            name=wanted.name,
            url=wanted.url,
            events=tuple(dict.fromkeys(wanted.events)),
            description=kept(self._blobs, wanted.description),
            status=wanted.status,
            signed=wanted.signed,
        )
        writing.record(webhook_stream(wanted.id), event)
        if secret is not None:
            writing.store(lambda db: _keep_secret(db, wanted.id, secret))


def webhooks(db: sqlite3.Connection, *, most: int, after: int = 0) -> list[tuple[int, Webhook]]:
    """Return webhooks in the order in which they were made, with their numbers in the file."""
    rows = db.execute(f"SELECT no, {_COLUMNS} FROM webhook WHERE no > ? ORDER BY no LIMIT ?", (after, most))
    return [(no, _read(row)) for no, *row in rows]


def webhook(db: sqlite3.Connection, id: str) -> Webhook:
    """Return a webhook by its id.

    Raises
    ------
    NotFound
        If there is none.
    """
    row = db.execute(f"SELECT {_COLUMNS} FROM webhook WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise NotFound("webhook", id[:80])
    return _read(row)


def active_webhooks(db: sqlite3.Connection) -> list[Webhook]:
    """Return the webhooks that are told things."""
    return [_read(row) for row in db.execute(f"SELECT {_COLUMNS} FROM webhook WHERE active ORDER BY no")]


def secret_of(db: sqlite3.Connection, id: WebhookId) -> str:
    """Return the secret of a webhook; nothing if it has none, or it was lost."""
    row = db.execute("SELECT secret FROM webhook_secret WHERE id = ?", (id,)).fetchone()
    return "" if row is None else row[0]


def webhook_stream(id: str) -> str:
    """Return the stream of a webhook."""
    return f"webhook/{id}"


_COLUMNS = "id, name, url, events, description, active, signed, created, updated"


def _read(row: Sequence[object]) -> Webhook:
    id, name, url, events, description, active, signed, created, updated = row
    status = "ACTIVE" if active else "DISABLED"
    told = msgspec.json.decode(str(events), type=tuple[str, ...])
    plain = (id, name, url, told, description, status, bool(signed), created, updated)
    return msgspec.convert(dict(zip(Webhook.__dataclass_fields__, plain, strict=True)), Webhook)


def _keep_secret(db: sqlite3.Connection, id: WebhookId, secret: str) -> None:
    db.execute("DELETE FROM webhook_secret WHERE id = ?", (id,))
    if secret:
        db.execute("INSERT INTO webhook_secret VALUES (?, ?)", (id, secret))


def _require(wanted: Webhook, secret: str) -> None:
    if not _NAME.fullmatch(wanted.name):
        hint = "use letters, digits, dots, underscores and dashes, 63 at most, none of these marks at an end"
        raise InvalidInput("webhook name", wanted.name[:80], "is not valid", hint=hint)
    unknown = [one for one in wanted.events if one not in EVENTS]
    if unknown or not wanted.events:
        hint = f"use some of {', '.join(EVENTS)}"
        raise InvalidInput("webhook event", unknown[0][:80] if unknown else "", "does not exist", hint=hint)
    if len(wanted.url) > LONGEST_ADDRESS:
        raise InvalidInput("webhook address", wanted.url[:80], "is too long", longest=LONGEST_ADDRESS)
    if len(secret) > LONGEST_SECRET:
        raise InvalidInput("webhook secret", "", "is too long", longest=LONGEST_SECRET)
    require_description(wanted.description)
