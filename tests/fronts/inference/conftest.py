"""Clients of a data plane without a server between."""

from __future__ import annotations

import pytest
from tests.fronts.asking import asking
from tests.serving.said import all_answering

from varv.fronts.inference import Inference, create_inference


@pytest.fixture(scope="module")
def of_live(lived, tmp_path_factory):
    """Ask a model of a live home."""
    home = lived(tmp_path_factory.mktemp("home"))
    inference = Inference()
    inference.models = dict(home.answering_of)
    with asking(create_inference(inference)) as made:
        yield made
    home.close()


@pytest.fixture(scope="module")
def of_tasks(tmp_path_factory):
    """Ask a model of each task, whose answers are known."""
    inference = Inference()
    inference.models = all_answering(tmp_path_factory.mktemp("served"))
    with asking(create_inference(inference)) as made:
        yield made
