"""A disk that is full and has room again, again and again, under load."""

from __future__ import annotations

import contextlib
import itertools
import json
import resource
import subprocess
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Protocol

import httpx
import psutil
import pytest
from tests.app.serving import Server, eventually, varv
from tests.faults.test_kill_live import keys_of

PARCEL = {"district": "harbour", "courier": "eli", "distance_km": 4.5, "weight_kg": 1.2, "hour": 18}
MODEL = "late-parcel"
TIMES = 5
BACK_WITHIN_S = 10.0
MIB = 1 << 20

pytestmark = pytest.mark.slow


class Disk(Protocol):
    folder: Path

    def fill(self, server: Server) -> None: ...

    def free(self, server: Server) -> None: ...


class Small:
    """A file system of its own, filled by a file beside the home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, server: Server) -> None:
        # While the server writes as well, what is freed by it is taken too.
        with (self.folder / "filler").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * MIB)
        with (self.folder / "filler").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * 512)

    def free(self, server: Server) -> None:
        (self.folder / "filler").unlink()


class Limited:
    """A limit on the size of files, which needs no privilege: every write of the server is refused."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, server: Server) -> None:
        self._limit(server, 1)

    def free(self, server: Server) -> None:
        self._limit(server, resource.RLIM_INFINITY)

    def _limit(self, server: Server, most: int) -> None:
        owner = psutil.Process(server.process.pid)
        for process in (owner, *owner.children(recursive=True)):
            process.rlimit(psutil.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


# The limit needs no privilege and fails the same writes; the file system is the whole thing, and slower.
@pytest.fixture(params=[pytest.param("file system", marks=pytest.mark.soak), "limit"])
def disk(request, tmp_path) -> Generator[Disk]:
    if request.param == "limit":
        yield Limited(tmp_path)
        return
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m,mode=700", "tmpfs", str(tmp_path)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("this machine does not let us mount")
    yield Small(tmp_path)
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


class Load:
    """Predictions and outcomes, one after the other, and which of them were acknowledged."""

    def __init__(self, server: Server) -> None:
        self.captured: list[str] = []
        self.uncaptured: list[str] = []
        self.told: list[str] = []
        self.refused: list[httpx.Response] = []
        self.failed: list[httpx.Response] = []
        self._server = server
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(2)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        while not self._stop.wait(0.005):
            key = f"k-{next(self._numbers)}"
            answer = self._server.predict(key, **PARCEL)
            if answer.status_code != 200:
                self.failed.append(answer)
                continue
            on_record = answer.headers["x-varv-captured"] == "true"
            (self.captured if on_record else self.uncaptured).append(key)
            told = self._server.act("outcome.record", model=MODEL, rows=[{"delivery_id": key, "late": 1}])
            if told.status_code == 200:
                self.told.append(key)
            else:
                (self.refused if told.status_code == 507 else self.failed).append(told)


def more(counted: list, than: int) -> None:
    """Wait until a list has grown beyond a length."""
    eventually(lambda: True if len(counted) > than else None)


def health(server: Server) -> dict:
    return server.control.get("/health").json()


def goes_on(server: Server, load: Load) -> float:
    """Wait until outcomes are acknowledged and the ledger grows; return the seconds that it took."""
    begin = time.monotonic()
    more(load.told, len(load.told))
    seen = health(server)["n_entries"]
    eventually(lambda: True if health(server)["n_entries"] > seen else None)
    eventually(lambda: True if health(server)["status"] == "ok" else None)
    return time.monotonic() - begin


def test_a_disk_full_and_freed_again_and_again_under_load_costs_no_acknowledged_row(served_project, disk):
    home, log = disk.folder / "home", disk.folder.parent / f"{disk.folder.name}.log"
    server = Server(home, served_project(disk.folder), log=log)
    with Load(server) as load:
        for _ in range(TIMES):
            more(load.told, len(load.told) + 20)
            disk.fill(server)
            more(load.refused, len(load.refused) + 20)
            more(load.uncaptured, len(load.uncaptured) + 20)
            eventually(lambda: True if health(server)["status"] == "waiting" else None)
            disk.free(server)
            assert goes_on(server, load) < BACK_WITHIN_S
    assert load.failed == []
    said = load.refused[-1].json()["error"]
    assert (said["code"], said["kind"]) == ("storage_full", "capture file")
    assert str(home) in said["problem"]
    assert "free space" in said["hint"]

    assert server.stop() == 0
    assert "Traceback" not in log.read_text()
    assert json.loads(varv(home, "verify", "--json"))["ok"]
    predicted = keys_of(home, "predictions/late-parcel", "key", "serving.requests_served")
    ours = [key for key in predicted if key.startswith("k-")]
    assert set(load.captured) <= set(ours)
    assert len(ours) == len(set(ours))
    told = keys_of(
        home, "data/deliveries/delivered_at", "delivery_id", "data.version_appended", "delivered_at"
    )
    assert set(load.told) <= set(told)
    model = json.loads(varv(home, "status", "--json"))["models"][0]
    assert model["n_uncaptured"] == len(load.uncaptured)


def test_what_needs_the_ledger_is_refused_while_the_disk_is_full_and_done_once_it_is_not(
    served_project, tmp_path
):
    server = Server(tmp_path / "home", served_project(tmp_path), capture="required")
    disk = Limited(tmp_path)
    disk.fill(server)
    refused = server.act("model.retrain", model=MODEL)
    assert (refused.status_code, refused.json()["error"]["code"]) == (507, "storage_full")
    answer = server.predict("never", **PARCEL)
    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
    assert server.control.get("/").status_code == 200
    disk.free(server)
    assert server.act("model.retrain", model=MODEL).status_code == 200
    assert server.predict("again", **PARCEL).headers["x-varv-captured"] == "true"
    assert server.stop() == 0


def test_a_first_start_that_meets_a_full_disk_goes_on_when_there_is_room(tmp_path):
    varv(tmp_path / "home", "init", str(tmp_path))
    server = Server(tmp_path / "home", tmp_path / "deliveries.py", wait=False)
    disk = Limited(tmp_path)
    eventually(lambda: True if (tmp_path / "home" / "server.json").exists() else None)
    disk.fill(server)
    said = json.loads((tmp_path / "home" / "server.json").read_text())
    url = f"http://127.0.0.1:{said['port']}/health"
    eventually(lambda: True if "free space" in httpx.get(url).json()["problem"] else None)
    disk.free(server)
    assert server.ready().predict("first", **PARCEL).status_code == 200
    assert server.stop() == 0
    assert json.loads(varv(server.home, "verify", "--json"))["ok"]
