"""A home that is read from its folder and from a server in this process, with the same classes."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from tests.fronts.asking import asking
from tests.home.live_home import REQUEST, LiveHome

from varv.app.client.homes import ReadableHome
from varv.app.client.remote import RemoteSource
from varv.app.client.sources import LocalSource
from varv.app.desk import Desk
from varv.app.verbs import build_verbs
from varv.fronts.api import create_api
from varv.fronts.client import Client

MODEL, DATASET = "late-parcel", "parcels"


def answered(home: LiveHome) -> None:
    """Let a live home answer once, learn the outcome, and stop."""
    home.answering.answer(REQUEST, "asked-1")
    home.accept_outcomes([{"parcel": "asked-1", "late": True}])
    home.ingest()
    home.close()


def served(desk: Desk) -> ReadableHome:
    """Return what reads a desk over the API, without a server between."""
    routes = create_api(build_verbs(desk), dict)
    return ReadableHome(RemoteSource(Client("http://testserver", http=asking(Starlette(routes=routes)))))


def opened(folder: Path, *, most_rows: int | None = 500) -> tuple[ReadableHome, ReadableHome, LocalSource]:
    """Return a home as a folder and as a server gives it, and the server's own source to be closed."""
    source = LocalSource(folder)
    source.desk.most_rows = most_rows
    return ReadableHome(LocalSource(folder)), served(source.desk), source
