from __future__ import annotations

import itertools
import json
import random
import threading

import httpx
import polars as pl
import pytest
from tests.app.serving import Server, varv

from varv.app.compose import open_ledger
from varv.kernel.folder_columns import FolderColumns

PARCEL = {"district": "harbour", "courier": "eli", "distance_km": 4.5, "weight_kg": 1.2, "hour": 18}
KILLS = [5, pytest.param(20, marks=pytest.mark.soak)]


class Sender:
    """Sends predictions and outcomes, one after the other, and remembers which were acknowledged."""

    def __init__(self) -> None:
        self.predicted: list[str] = []
        self.told: list[str] = []
        self._numbers = itertools.count()

    def send(self, server: Server, stop: threading.Event) -> None:
        while not stop.wait(0.005):
            key = f"k-{next(self._numbers)}"
            try:
                if server.predict(key, **PARCEL).status_code == 200:
                    self.predicted.append(key)
                rows = [{"delivery_id": key, "late": 1}]
                if server.act("outcome.record", model="late-parcel", rows=rows).status_code == 200:
                    self.told.append(key)
            except (httpx.HTTPError, RuntimeError):
                return  # the server is gone, and with it its client


def keys_of(home, table, column, event, part=None):
    """Return the keys in all segments that the ledger says count."""
    ledger = open_ledger(home, read_only=True)
    entries = [entry for entry in ledger.read() if entry.name == event]
    ledger.close()
    segments = [entry.event.segment for entry in entries if part is None or entry.event.part == part]
    columns = FolderColumns(home / "columns")
    frames = [columns.scan(table, [segment]).select(pl.col(column)).collect() for segment in segments]
    return [key for frame in frames for key in frame[column].to_list()]


@pytest.mark.slow
@pytest.mark.parametrize("n_kills", KILLS)
def test_whatever_was_acknowledged_is_there_after_kills_at_random_moments(served_project, tmp_path, n_kills):
    home, file = tmp_path / "home", served_project(tmp_path)
    rng, sender = random.Random(20), Sender()
    for number in range(n_kills):
        if number % 4 == 3:
            server = Server(home, file, wait=False)
            threading.Event().wait(rng.uniform(0.0, 4.0))  # somewhere in its start
            server.kill()
            continue
        server, stop = Server(home, file), threading.Event()
        thread = threading.Thread(target=sender.send, args=(server, stop))
        thread.start()
        stop.wait(rng.uniform(0.1, 1.5))
        server.kill()
        stop.set()
        thread.join()
        assert json.loads(varv(home, "verify", "--json"))["ok"]

    assert Server(home, file).stop() == 0
    assert json.loads(varv(home, "verify", "--json"))["ok"]
    predicted = keys_of(home, "predictions/late-parcel", "key", "serving.requests_served")
    told = keys_of(
        home, "data/deliveries/delivered_at", "delivery_id", "data.version_appended", "delivered_at"
    )
    assert len(sender.predicted) > 2 * n_kills
    assert set(sender.predicted) <= set(predicted)
    assert set(sender.told) <= set(told)
    ours = [key for key in predicted if key.startswith("k-")]
    assert len(ours) == len(set(ours))
