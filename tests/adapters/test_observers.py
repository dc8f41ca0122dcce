"""An observer is sent what was asked and answered, once; whatever it does, nobody waits for it."""

from __future__ import annotations

import time

import pytest
from tests.adapters.endpoints.failing import failing, hang

from varv.adapters import observers
from varv.adapters.observers import EventSender
from varv.kernel.clock import instant
from varv.kernel.ids import ModelName
from varv.serving import observing
from varv.serving.observing import Event, Observing
from varv.serving.policy import Observer

NOON = instant("2024-05-02T12:00:00Z")


def takes(asked):
    asked.reply(b"")


class Answered:
    """A request with an answer."""

    def __init__(self, name, n_rows=1):
        self.name = name
        self.n_rows = n_rows

    def events(self, observer):
        return [Event(part, self.name, NOON, part.encode()) for part in ("request", "response")]


@pytest.fixture
def server():
    with failing() as made:
        yield made


def sending(server, **declared):
    url = server.url.replace("/v2/models/m", "/events")
    made = Observing(ModelName("late"), Observer(url=url, **declared))
    return made, EventSender(made, {"TOKEN": " t0ken "})


def until(true):
    end = time.monotonic() + 8
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_both_parts_are_events_in_the_binary_mode(server):
    server.acts = [takes] * 9
    waiting, sender = sending(server, share=0.5, token_variable="TOKEN")
    waiting.put(Answered("r é"))
    sender.start()
    until(lambda: sender.counts["sent"])
    sender.close()
    asked, answered = server.asked
    assert (asked.method, asked.target, asked.body) == ("POST", "/events", b"request")
    assert answered.body == b"response"
    told = {name: value for name, value in asked.headers.items() if name.startswith("ce-")}
    assert told == {
        "ce-specversion": "1.0",
        "ce-id": "r%20%c3%a9",
        "ce-source": "/v2/models/late",
        "ce-type": "org.kubeflow.serving.inference.request",
        "ce-time": "2024-05-02t12:00:00z",
        "ce-inferenceservicename": "late",
        "ce-component": "predictor",
        "ce-share": "0.5",
    }
    assert answered.headers["ce-type"] == "org.kubeflow.serving.inference.response"
    assert answered.headers["ce-id"] == told["ce-id"]
    assert asked.headers["authorization"] == "bearer t0ken"
    assert asked.headers["content-type"] == "application/json"
    assert server.n_connections == 1


@pytest.mark.parametrize(
    "act",
    [
        hang,
        lambda asked: asked.reset(),
        lambda asked: asked.reply(b"", status="503 Service Unavailable"),
        lambda asked: asked.reply(b"", "location: http://127.0.0.1:1/", status="302 Found"),
        lambda asked: asked.reply(b"x" * (1 << 20)),
    ],
)
def test_what_is_not_taken_is_counted_and_the_next_is_sent(act, server, monkeypatch):
    monkeypatch.setattr(observers, "TIMEOUT_S", 0.3)
    server.acts = [act, *[takes] * 9]
    waiting, sender = sending(server)
    waiting.put(Answered("r"))
    sender.start()
    until(lambda: sender.counts["failed"])
    waiting.put(Answered("s"))
    until(lambda: sender.counts["sent"])
    sender.close()
    assert sender.counts == {"sent": 1, "failed": 1, "dropped": 0}


def test_without_its_token_nothing_is_sent(server):
    waiting, sender = sending(server, token_variable="ABSENT")
    waiting.put(Answered("r"))
    sender.start()
    until(lambda: sender.counts["failed"])
    sender.close()
    assert server.asked == []


def test_what_one_request_brings_about_does_not_end_the_thread(server):
    server.acts = [takes] * 9
    waiting, sender = sending(server)
    waiting.put(Answered(None))
    waiting.put(Answered("s"))
    sender.start()
    until(lambda: sender.counts["sent"])
    sender.close()
    assert sender.counts["failed"] == 1


def test_so_many_requests_and_rows_wait_and_no_more(monkeypatch):
    monkeypatch.setattr(observing, "MOST_WAITING", 3)
    monkeypatch.setattr(observing, "MOST_ROWS_WAITING", 10)
    waiting = Observing(ModelName("late"), Observer(url="http://127.0.0.1:1/"))
    for name, n_rows in (("a", 8), ("b", 8), ("c", 2), ("d", 0), ("e", 0)):
        waiting.put(Answered(name, n_rows))
    assert waiting.n_dropped == 2
    assert [waiting.take().name for _ in range(3)] == ["a", "c", "d"]
    assert waiting.take() is None
    waiting.put(Answered("f", 10))
    assert waiting.take().name == "f"


def test_a_share_of_the_requests_is_due():
    waiting = Observing(ModelName("late"), Observer(url="http://127.0.0.1:1/", share=0.25))
    n_due = sum(waiting.is_due for _ in range(4000))
    assert 800 < n_due < 1200, "seven standard deviations around 1000"
