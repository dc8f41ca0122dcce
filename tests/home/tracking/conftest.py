from __future__ import annotations

import pytest
from tests.home.tracking.registry_home import RegistryHome


@pytest.fixture
def home(tmp_path):
    made = RegistryHome(tmp_path)
    yield made
    made.close()
