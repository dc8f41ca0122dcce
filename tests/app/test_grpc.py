"""Predictions over gRPC from a server in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import threading

import numpy as np
import pytest
import tritonclient.grpc as triton
from tests.app.changed_project import CHANGED, PARCEL, done, edited
from tests.app.serving import Server, eventually
from tests.app.test_changing import ran
from tritonclient.utils import InferenceServerException

from varv.kernel.errors import FailedPrecondition

pytestmark = pytest.mark.slow


def inputs_of(key):
    made = []
    for name, value in {"delivery_id": key, **PARCEL}.items():
        kind = "BYTES" if isinstance(value, str) else "INT64" if isinstance(value, int) else "FP64"
        values = np.array([value], np.object_ if kind == "BYTES" else None)
        made.append(triton.InferInput(name, [1], kind).set_data_from_numpy(values))
    return made


def client_of(server):
    port = server.control.get("/health").json()["grpc_port"]
    return triton.InferenceServerClient(f"127.0.0.1:{port}")


class Calling:
    """A caller at a steady pace, on one channel that it keeps."""

    def __init__(self, client):
        self.failed, self.n_asked = [], 0
        self._client, self._stop = client, threading.Event()
        self._thread = threading.Thread(target=self._call)
        self._thread.start()

    def _call(self):
        while not self._stop.wait(0.01):
            self.n_asked += 1
            try:
                self._client.infer("late-parcel", inputs_of(f"g-{self.n_asked}"))
            except InferenceServerException as error:
                self.failed.append(str(error))

    def stop(self):
        self._stop.set()
        self._thread.join()


def test_calls_are_answered_and_captured_through_a_change_and_the_death_of_a_worker(served_project, tmp_path):
    project = served_project(tmp_path)
    home = project.parent / "home"
    server = Server(home, project, workers=2, training_nice=0, grpc_port=0)
    try:
        exercise(server, project)
    finally:
        status = server.stop()
    assert status == 0
    assert json.loads(ran(home, "verify", "--json")[1])["ok"]


def exercise(server, project):
    home = project.parent / "home"
    with client_of(server) as client:
        answer = client.infer("late-parcel", inputs_of("first"))
        rest = server.predict("second", **PARCEL).json()["predictions"]
        assert answer.as_numpy("probability").tolist() == pytest.approx(rest)
        calling = Calling(client)
        eventually(lambda: True if calling.n_asked > 50 else None)
        edited(project, *CHANGED)
        status, text = ran(home, "apply")
        assert status == 0, text
        before = calling.n_asked
        eventually(lambda: True if calling.n_asked > before + 50 else None)
        assert eventually(lambda: done(home))["phase"] == "done"
        calling.stop()
        assert calling.failed == []
        workers = server.control.get("/health").json()["workers"]
        os.kill(workers[0], signal.SIGKILL)
        eventually(
            lambda: True if set(server.control.get("/health").json()["workers"]) - set(workers) else None
        )
        eventually(lambda: answered(client))
    assert server.stop() == 0
    assert json.loads(ran(home, "verify", "--json")[1])["ok"]


def answered(client):
    try:
        return client.infer("late-parcel", inputs_of("last"))
    except InferenceServerException:
        return None


def test_a_port_that_is_taken_is_told(served_project, tmp_path):
    from varv.app.server.listening import listener, reserved

    with listener("127.0.0.1", 0, "grpc_port") as taken:
        port = taken.getsockname()[1]
        with pytest.raises(FailedPrecondition, match="--grpc-port"):
            reserved("127.0.0.1", port, "grpc_port")
