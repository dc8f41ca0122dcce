"""A tracking server of ours, or one elsewhere: VARV_TRACKING_URL says which."""

from __future__ import annotations

import os
import threading

import httpx
import pytest
from tests.app.serving import eventually

from varv.app.server.server_file import running_server
from varv.app.server.tracker import Tracker
from varv.app.settings import Settings


@pytest.fixture(scope="session")
def tracking_url(tmp_path_factory):
    """Return the address of a tracking server of varv."""
    if elsewhere := os.environ.get("VARV_TRACKING_URL"):
        yield elsewhere
        return
    settings = Settings(home=tmp_path_factory.mktemp("home"), port=0)
    tracker = Tracker(settings)
    thread = threading.Thread(target=tracker.run, daemon=True)
    thread.start()
    url = eventually(lambda: running_server(settings)).url
    eventually(lambda: answers(url))
    yield url
    tracker.told.set()
    thread.join(10)
    tracker.close()


def answers(url):
    try:
        return httpx.get(f"{url}/version").status_code == 200 or None
    except httpx.TransportError:
        return None
