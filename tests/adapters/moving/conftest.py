from __future__ import annotations

import pytest

from .moved_home import MovedHome


@pytest.fixture
def home(tmp_path):
    made = MovedHome(tmp_path / "home")
    yield made
    made.close()
