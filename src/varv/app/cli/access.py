"""How commands reach a home: reading it beside its server, writing to it where none runs, asking the server;
and how they answer.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from varv.app.cli.rendering import Block, show
from varv.app.client.served import WITHIN_S, call
from varv.app.client.sources import LocalSource
from varv.app.compose import open_ledger, open_views
from varv.app.desk import Desk
from varv.app.server.server_file import running_server
from varv.app.settings import Settings
from varv.data.delta.verbs import PublicationDesk, offline_publications
from varv.data.tiers.verbs import TierDesk, tier_desk
from varv.data.versioning.verbs import VersionsDesk, offline_versions
from varv.home.named_versions import named_versions
from varv.home.reached import reached
from varv.kernel.clock import SystemClock
from varv.kernel.errors import NotFound
from varv.kernel.faults import Faults
from varv.kernel.ledger_sqlite import SqliteLedger
from varv.kernel.verify import require_sound_folder

Q = TypeVar("Q", bound=msgspec.Struct)
R = TypeVar("R", bound=msgspec.Struct)


def answer(options: argparse.Namespace, value: object, blocks: Callable[[], Sequence[Block]]) -> None:
    """Write what a command found: as one JSON document, or as text."""
    if getattr(options, "json", False):
        sys.stdout.write(msgspec.json.encode(value, enc_hook=str).decode() + "\n")
    else:
        show(blocks())


def written(place: str, text: str) -> None:
    """Write a text to a file.

    Raises
    ------
    NotFound
        If it cannot be written.
    """
    try:
        Path(place).write_text(text)
    except OSError as error:
        raise NotFound("file", place, "cannot be written", why=error.strerror) from None


@contextmanager
def reading_home(settings: Settings) -> Generator[Desk]:
    """Give a desk on a home that is only read, also while its server runs."""
    source = LocalSource(settings.home)
    try:
        yield source.desk
    finally:
        source.close()


@contextmanager
def owned_ledger(settings: Settings) -> Generator[SqliteLedger]:
    """Give the ledger of a home that nobody serves, to write to.

    Raises
    ------
    NotFound
        If there is none.
    Corrupt
        If something in it is not what was written.
    """
    if not (settings.home / "ledger.db").exists():
        raise NotFound("ledger", settings.home.name, hint="look for the home folder with --home")
    ledger = open_ledger(settings.home, faults=Faults.parse(settings.fault))
    try:
        require_sound_folder(settings.home, ledger)
        yield ledger
    finally:
        ledger.close()


def acted(
    settings: Settings,
    verb: str,
    asked: Q,
    act: Callable[[VersionsDesk, Q], R],
    kind: type[R],
) -> R:
    """Have the server do something with versions of datasets, or do it where none runs."""
    return acted_by(settings, verb, asked, lambda desk, asked: act(desk.versions, asked), kind)


def acted_by(
    settings: Settings,
    verb: str,
    asked: Q,
    act: Callable[[PublicationDesk, Q], R],
    kind: type[R],
) -> R:
    """Have the server do something with what is published of datasets, or do it where none runs."""
    server = running_server(settings)
    if server is not None:
        found = call(server, settings, verb, asked, timeout_s=WITHIN_S)
        return msgspec.convert(found, type=kind, str_keys=True)
    with owned_ledger(settings) as ledger:
        views, faults, clock = open_views(ledger, settings.home), Faults.parse(settings.fault), SystemClock()
        desk = offline_versions(
            settings.home, ledger, views, clock, lambda of: named_versions(views, of), faults
        )
        return act(offline_publications(desk, clock, faults), asked)


def moved_by(settings: Settings, verb: str, asked: Q, act: Callable[[TierDesk, Q], R], kind: type[R]) -> R:
    """Have the server move files of datasets between tiers, or do it where none runs."""

    def move(desk: VersionsDesk, asked: Q) -> R:
        faults = Faults.parse(settings.fault)
        tiers = tier_desk(
            desk,
            SystemClock(),
            lambda of: reached(desk.views, desk.ledger, of),
            place=settings.archive,
            faults=faults,
        )
        return act(tiers, asked)

    return acted(settings, verb, asked, move, kind)
