"""What tests of the loop share."""

from __future__ import annotations

import pytest


@pytest.fixture
def home(tmp_path):
    from tests.loop.training_home import TrainingHome  # only where a training is wanted

    made: list[TrainingHome] = []

    def made_home(past=None, **train):
        made.append(TrainingHome(tmp_path / str(len(made)), past, **train))
        return made[-1]

    yield made_home
    for one in made:
        one.home.close()
