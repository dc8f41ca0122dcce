"""Our tracking server answers as MLflow's did when its answers were recorded, scene by scene.

Where a step names a rule of ours, our answer is the one that the step states, and the record keeps MLflow's.
"""

from __future__ import annotations

import uuid

import httpx
import pytest

from . import golden
from .areas import AREAS
from .playing import differences, play

SCENES = [
    pytest.param(area, scene, id=f"{area.level}-{area.name}-{scene.title}")
    for area in AREAS
    for scene in area.scenes
]


@pytest.fixture(scope="session")
def client(tracking_url):
    with httpx.Client(base_url=tracking_url, timeout=30.0) as client:
        yield client


@pytest.mark.parametrize(("area", "scene"), SCENES)
def test_a_scene_is_answered_as_on_record(client, area, scene):
    on_record = golden.read(area.name)["scenes"][scene.title]
    answers = play(scene, client, f"u{uuid.uuid4().hex[:15]}")
    found = [
        f"step {place}, {line}"
        for place, (step, record, answer) in enumerate(zip(scene.steps, on_record, answers, strict=True), 1)
        for line in differences(step, record, answer)
    ]
    assert not found, "\n".join(found)
