"""What is compared of an answer, and what is not."""

from __future__ import annotations

import httpx
import pytest

from . import golden
from .areas import AREAS
from .normalising import Names, normal
from .playing import differences, play
from .steps import get, post, scene


def answering(*documents, status=200):
    """Return a client of a server that gives these answers in turn."""
    given = iter(documents)
    transport = httpx.MockTransport(lambda request: httpx.Response(status, json=next(given)))
    return httpx.Client(base_url="http://server", transport=transport)


def compared(step, *, on_record, said, status=200):
    [answer] = play(scene("one step", step), answering(said, status=status), "u1234567890")
    return differences(step, {"status": status, "body": on_record}, answer)


def test_every_scene_has_its_answers_on_record():
    for area in AREAS:
        scenes = golden.read(area.name)["scenes"]
        assert {scene.title: [step.line for step in scene.steps] for scene in area.scenes} == {
            title: [step["step"] for step in steps] for title, steps in scenes.items()
        }


def test_every_transcript_belongs_to_an_area():
    assert {path.stem for path in golden.FOLDER.glob("*.json")} == {area.name for area in AREAS}


def test_no_two_scenes_of_an_area_have_one_title():
    for area in AREAS:
        assert len({scene.title for scene in area.scenes}) == len(area.scenes)


def test_a_record_holds_no_id_and_no_time_of_its_server():
    for path in golden.FOLDER.glob("*.json"):
        text = path.read_text()
        assert "127.0.0.1:" not in text
        assert not [line for line in text.splitlines() if '"creation_time": 1' in line]


def test_an_id_is_compared_by_where_it_returns():
    steps = scene("", post("runs/create").keep(run="run.info.run_id"), get("runs/get", run_id="{run}"))
    first, second = (
        {
            "run": {
                "info": {
                    "run_id": "abcdef0",
                    "artifact_uri": "mlflow-artifacts:/7/abcdef0",
                    "experiment_id": "7",
                }
            }
        },
        {
            "run": {
                "info": {
                    "run_id": "abcdef1",
                    "artifact_uri": "mlflow-artifacts:/7/abcdef1",
                    "experiment_id": "7",
                }
            }
        },
    )
    created, read = play(steps, answering(first, second), "u1234567890")
    uri = "mlflow-artifacts:/<experiment 1>/"
    assert created.body["run"]["info"]["artifact_uri"] == f"{uri}<run>"
    assert read.body["run"]["info"]["artifact_uri"] == f"{uri}<run 1>"


def test_a_field_too_many_and_one_too_few_are_differences():
    step = get("runs/get")
    assert compared(step, on_record={"a": 1}, said={"a": 1}) == []
    assert "a is missing" in compared(step, on_record={"a": 1}, said={})[0]
    assert "a should be absent" in compared(step, on_record={}, said={"a": 1})[0]
    assert "a.b is 2, not 1" in compared(step, on_record={"a": {"b": 1}}, said={"a": {"b": 2}})[0]
    assert compared(step.but("a"), on_record={}, said={"a": 1}) == []


def test_an_order_matters_but_among_pairs_of_different_keys():
    step = get("runs/get")
    assert compared(step, on_record={"files": [1, 2]}, said={"files": [2, 1]})
    pairs = [{"key": "a", "value": 1}, {"key": "b", "value": 2}]
    assert compared(step, on_record={"tags": pairs}, said={"tags": pairs[::-1]}) == []
    points = [{"key": "a", "value": 1}, {"key": "a", "value": 2}]
    assert compared(step, on_record={"metrics": points}, said={"metrics": points[::-1]})


def test_of_an_error_the_code_and_the_words_that_clients_read_count():
    step = get("runs/get").saying("not found")
    on_record = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Run with id=7 not found"}
    said = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "run 7 not found; list the runs"}
    assert compared(step, on_record=on_record, said=said, status=404) == []
    assert compared(step, on_record=on_record, said=said | {"error_code": "BAD_REQUEST"}, status=404)
    assert compared(step, on_record=on_record, said=said | {"message": "none"}, status=404)
    assert compared(step, on_record=on_record, said=said | {"message": "not found [SQL: x]"}, status=404)


def test_a_rule_of_ours_goes_before_the_record():
    step = post("runs/search").stricter("a rule", 400)
    said = {"error_code": "INVALID_PARAMETER_VALUE", "message": "no JSON"}
    [answer] = play(scene("", step), answering(said, status=400), "u1234567890")
    assert differences(step, {"status": 200, "body": {}}, answer) == []
    [answer] = play(scene("", step), answering({}), "u1234567890")
    assert differences(step, {"status": 200, "body": {}}, answer)


@pytest.mark.parametrize("value", [1000, 1.5, True, None, "2020-01-01T00:00:00Z", "e-7", ""])
def test_what_a_scene_gave_itself_is_compared_as_it_is(value):
    assert normal({"value": value}, Names("http://server", "u1")) == {"value": value}


def test_what_mlflow_fails_at_is_refused_by_us():
    step = post("runs/log-batch")
    refusal = {"error_code": "INVALID_PARAMETER_VALUE", "message": "metrics holds a number"}
    [answer] = play(scene("", step), answering(refusal, status=400), "u1234567890")
    assert differences(step, {"status": 500, "body": "an error"}, answer) == []
    [answer] = play(scene("", step), answering(refusal, status=500), "u1234567890")
    assert "no refusal" in differences(step, {"status": 500, "body": "an error"}, answer)[0]
