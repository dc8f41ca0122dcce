"""The use case that writes what was tracked elsewhere, for a home that its server owns."""

from __future__ import annotations

import msgspec

from varv.home.moving.taking import Brought, LocalTaker
from varv.home.tracking.desk import TrackingDesk
from varv.kernel.verbs import OPERATE, verb
from varv.runs.imports import Taken


class TakeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Things that were read elsewhere, each after what it is in; and what their source is called."""

    source: str
    things: tuple[Brought, ...]


class TakenThings(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each: ``new``, ``changed`` or ``same``."""

    taken: tuple[Taken, ...]


@verb("tracking.take", needs=OPERATE)
def take(desk: TrackingDesk, asked: TakeRequest) -> TakenThings:
    """Take over what was tracked elsewhere, as varv import has read it."""
    found: list[Taken] = []
    taker = LocalTaker(desk, asked.source)
    for thing in asked.things:
        taker.bring(thing, found.append)
    taker.land()
    return TakenThings(taken=tuple(found))
