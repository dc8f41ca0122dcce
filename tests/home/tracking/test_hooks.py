"""Webhooks are told what happens once it is in the ledger, at least once, and under one id."""

from __future__ import annotations

import json

import pytest
from tests.adapters.listener import Listener
from tests.app.serving import eventually
from tests.home.tracking.registry_home import RegistryHome

from varv.home.tracking import hooks
from varv.registry.webhooks import EVENTS, webhook


@pytest.fixture
def listener():
    made = Listener()
    yield made
    made.close()


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(hooks, "LOOKS_EVERY_S", 0.02)
    monkeypatch.setattr(hooks, "FIRST_RETRY_S", 0.01)
    made = RegistryHome(tmp_path, webhooks_inside=True)
    yield made
    made.close()


def hook(home, listener, *events, **said):
    return home.do(home.desk.webhooks.create("w", listener.url, events or EVENTS, **said))


def told(listener, n):
    found = eventually(lambda: listener.taken if len(listener.taken) >= n else None)
    return [json.loads(body) for _, body in found]


def named(messages):
    return [f"{one['entity']}.{one['action']}" for one in messages]


def test_what_clients_and_loops_do_is_told_in_order(home, listener):
    home.register("before")
    hook(home, listener)
    home.register("m", tags={"a": "b"}, description="d")
    run = home.begin()
    home.version("m", run=run)
    home.do(home.desk.models.change_version("m", 1, tags={"k": "v"}))
    home.do(home.desk.models.change_version("m", 1, without="k"))
    home.do(home.desk.models.set_alias("m", "best", 1))
    home.do(home.desk.models.drop_alias("m", "best"))
    home.train("late", 1)
    messages = told(listener, 8)
    assert named(messages) == [
        "registered_model.created",
        "model_version.created",
        "model_version_tag.set",
        "model_version_tag.deleted",
        "model_version_alias.created",
        "model_version_alias.deleted",
        "model_version.created",
        "model_version_alias.created",
    ]
    assert messages[0]["data"] == {"name": "m", "tags": {"a": "b"}, "description": "d"}
    assert messages[1]["data"]["run_id"] == run
    assert messages[7]["data"] == {"name": "late", "alias": "champion", "version": "1"}


def test_a_prompt_is_told_as_one(home, listener):
    hook(home, listener)
    tags = {"mlflow.prompt.is_prompt": "true", "mlflow.prompt.text": "Hello {{name}}"}
    home.register("greeting", tags={"mlflow.prompt.is_prompt": "true"})
    home.version("greeting", "word", tags=tags | {"team": "risk"})
    home.do(home.desk.models.set_alias("greeting", "best", 1))
    messages = told(listener, 3)
    assert named(messages) == ["prompt.created", "prompt_version.created", "prompt_alias.created"]
    assert (messages[1]["data"]["template"], messages[1]["data"]["tags"]) == (
        "Hello {{name}}",
        {"team": "risk"},
    )


def test_a_webhook_that_fails_is_called_again_under_the_same_id(home, listener):
    listener.answers = [(503, {}), (500, {})]
    hook(home, listener, "registered_model.created")
    home.register("m")
    told(listener, 3)
    assert len({headers["x-mlflow-delivery-id"] for headers, _ in listener.taken}) == 1


def test_a_webhook_that_goes_on_failing_is_left_out(home, listener):
    listener.answers = [(503, {})] * (hooks.MOST_TRIES + 1)
    hook(home, listener, "registered_model.created")
    home.register("m")
    told(listener, hooks.MOST_TRIES + 1)
    home.register("n")
    assert told(listener, hooks.MOST_TRIES + 2)[-1]["data"]["name"] == "n"


def test_what_happened_before_a_stop_is_told_after_it(home, listener):
    hook(home, listener, "registered_model.created")
    home.register("m")
    told(listener, 1)
    home.desk.hooks.close()
    home.register("n")
    home.reopened()
    assert told(listener, 2)[1]["data"]["name"] == "n"
    home.reopened()
    home.register("o")
    assert [one["data"]["name"] for one in told(listener, 3)] == ["m", "n", "o"]


def test_a_webhook_whose_secret_was_lost_is_not_called(home, listener):
    id = hook(home, listener, "registered_model.created", secret="key")
    other = Listener()
    try:
        home.do(home.desk.webhooks.create("x", other.url, ["registered_model.created"]))
        home.refolded()
        home.register("m")
        told(other, 1)
        assert listener.taken == []
        with home.desk.recorder.reading() as db:
            found = webhook(db, id)
        assert "secret" in home.desk.hooks.test(found, "registered_model.created").why
    finally:
        other.close()


@pytest.mark.parametrize("event", EVENTS)
def test_a_webhook_can_be_tried_with_each_event(home, listener, event):
    id = hook(home, listener, event, status="DISABLED")
    with home.desk.recorder.reading() as db:
        found = webhook(db, id)
    assert home.desk.hooks.test(found, event).is_taken
    assert named(told(listener, 1)) == [event]
