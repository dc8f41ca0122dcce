"""Our runtimes come through the same door as everybody else's."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from varv.adapters.runtimes import GROUP, OURS, installed_runtimes
from varv.kernel.errors import NotFound

PROJECT = Path(__file__).parents[3] / "pyproject.toml"


def test_the_entry_points_are_what_a_source_checkout_uses():
    assert tomllib.loads(PROJECT.read_text())["project"]["entry-points"][GROUP] == OURS


@pytest.mark.parametrize("name", OURS)
def test_every_runtime_says_whether_it_runs_code(name):
    assert installed_runtimes().named(name).runs_code is (name in ("python", "torch"))


def test_a_runtime_that_is_not_installed_is_not_found():
    with pytest.raises(NotFound, match=r"runtime 'alien' does not exist; the runtimes are .*onnx"):
        installed_runtimes().named("alien")
