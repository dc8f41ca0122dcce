"""Webhooks, as the protocol has them. Their secrets are shown to nobody, nor what a tried one answered."""

from __future__ import annotations

import base64
import binascii
import sqlite3
from typing import Any

import msgspec

from varv.fronts.mlflow.experiments import given
from varv.fronts.mlflow.routes import Route, Written
from varv.home.tracking.desk import TrackingDesk
from varv.home.tracking.paging import page_size
from varv.kernel.errors import InvalidInput
from varv.registry.webhooks import Webhook, WebhookStatus, webhook, webhooks

WEBHOOKS_A_PAGE = MOST_A_PAGE = 1000


class Event(msgspec.Struct):
    """What a webhook is told of."""

    entity: str = ""
    action: str = ""

    @property
    def told(self) -> str:
        """The event as ``entity.action``."""
        return f"{self.entity.lower()}.{self.action.lower()}"


class Create(msgspec.Struct):
    """Makes a webhook."""

    name: str = ""
    url: str = ""
    events: list[Event] = []
    description: str | None = None
    secret: str | None = None
    status: str | None = None


class ById(msgspec.Struct):
    """Names a webhook."""

    webhook_id: str = ""


class List(msgspec.Struct):
    """Asks for webhooks."""

    max_results: int | None = None
    page_token: str = ""


class Update(ById):
    """Says what is new of a webhook."""

    name: str | None = None
    url: str | None = None
    events: list[Event] = []
    description: str | None = None
    secret: str | None = None
    status: str | None = None


class Test(ById):
    """Has a webhook called with an example."""

    event: Event | None = None


def document(one: Webhook) -> dict[str, Any]:
    """Return a webhook as the protocol has it."""
    told: dict[str, Any] = {
        "webhook_id": one.id,
        "name": one.name,
        "url": one.url,
        "events": [_event(event) for event in one.events],
        "status": one.status,
        "creation_timestamp": one.created // 1000,
        "last_updated_timestamp": one.updated // 1000,
    }
    return told | ({"description": one.description} if one.description else {})


def _event(event: str) -> dict[str, str]:
    entity, _, action = event.partition(".")
    return {"entity": entity.upper(), "action": action.upper()}


def _told(db: sqlite3.Connection, id: str) -> dict[str, Any]:
    return {"webhook": document(webhook(db, id))}


def _create(desk: TrackingDesk, asked: Create) -> Written:
    given(asked, "name", "url")
    write = desk.webhooks.create(
        asked.name,
        asked.url,
        [event.told for event in asked.events],
        description=asked.description or "",
        secret=asked.secret or "",
        status=_status(asked.status) or "ACTIVE",
    )
    return Written(write, lambda db, made: _told(db, made))


def _status(asked: str | None) -> WebhookStatus | None:
    match asked:
        case None | "":
            return None
        case "ACTIVE" | "1":
            return "ACTIVE"
        case "DISABLED" | "2":
            return "DISABLED"
        case _:
            raise InvalidInput("webhook status", asked[:40], "is not known", hint="say ACTIVE or DISABLED")


def _get(desk: TrackingDesk, asked: ById) -> dict[str, Any]:
    with desk.recorder.reading() as db:
        return _told(db, asked.webhook_id)


def _list(desk: TrackingDesk, asked: List) -> dict[str, Any]:
    most = page_size(asked.max_results or None, default=WEBHOOKS_A_PAGE, most=MOST_A_PAGE)
    with desk.recorder.reading() as db:
        found = webhooks(db, most=most + 1, after=_after(asked.page_token))
    told: dict[str, Any] = {}
    if found:
        told["webhooks"] = [document(one) for _, one in found[:most]]
    if len(found) > most:
        told["next_page_token"] = base64.urlsafe_b64encode(str(found[most - 1][0]).encode()).decode()
    return told


def _after(token: str) -> int:
    if not token:
        return 0
    try:
        return int(base64.b64decode(token, altchars=b"-_", validate=True)[:18])
    except (ValueError, binascii.Error):
        raise InvalidInput("page token", token[:40], "is not valid", hint="send none") from None


def _update(desk: TrackingDesk, asked: Update) -> Written:
    write = desk.webhooks.update(
        asked.webhook_id,
        name=asked.name or None,
        url=asked.url or None,
        events=[event.told for event in asked.events] or None,
        description=asked.description,
        secret=asked.secret,
        status=_status(asked.status),
    )
    return Written(write, lambda db, done: _told(db, asked.webhook_id))


def _delete(desk: TrackingDesk, asked: ById) -> Written:
    return Written(desk.webhooks.delete(asked.webhook_id))


def _test(desk: TrackingDesk, asked: Test) -> dict[str, Any]:
    with desk.recorder.reading() as db:
        found = webhook(db, asked.webhook_id)
    event = found.events[0] if asked.event is None else asked.event.told
    if event not in found.events:
        raise InvalidInput("webhook event", event[:80], "is none that this webhook is told")
    outcome = desk.hooks.test(found, event)
    told: dict[str, Any] = {"success": outcome.is_taken}
    if outcome.status:
        told["response_status"] = outcome.status
    if outcome.why:
        told["error_message"] = outcome.why
    return {"result": told}


routes = (
    Route("POST", "webhooks", Create, _create),
    Route("GET", "webhooks", List, _list),
    Route("GET", "webhooks/{webhook_id}", ById, _get),
    Route("PATCH", "webhooks/{webhook_id}", Update, _update),
    Route("DELETE", "webhooks/{webhook_id}", ById, _delete),
    Route("POST", "webhooks/{webhook_id}/test", Test, _test, slow=True),
)
