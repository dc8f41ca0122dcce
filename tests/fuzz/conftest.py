"""What is fuzzed."""

from __future__ import annotations

import pytest
from tests.fuzz.served import Fuzzed


@pytest.fixture(scope="session")
def fuzzed(tmp_path_factory):
    made = Fuzzed(tmp_path_factory.mktemp("fuzzed"))
    yield made
    assert made.server.stop() == 0
