"""A tracking server of ours, or one elsewhere: VARV_TRACKING_URL says which."""

from __future__ import annotations

import os
import threading

import pytest

from varv.app.compose import open_ledger, open_tracking
from varv.app.server.listening import control_plane, listener
from varv.app.server.tracking import mlflow_api
from varv.fronts.gateway import Gateway
from varv.kernel.clock import SystemClock


async def nothing_else(scope, receive, send):
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture(scope="session")
def tracking_url(tmp_path_factory):
    if elsewhere := os.environ.get("VARV_TRACKING_URL"):
        yield elsewhere
        return
    home = tmp_path_factory.mktemp("home")
    ledger = open_ledger(home, durability="process")
    tracking = open_tracking(home, ledger, SystemClock(), durability="process")
    socket = listener("127.0.0.1", 0, "port")
    server = control_plane(Gateway(mlflow_api(nothing_else, tracking), None), None)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    tracking.recorder.close()
    ledger.close()
