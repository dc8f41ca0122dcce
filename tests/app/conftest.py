"""A home that was lived in, and the command line on it."""

from __future__ import annotations

import pytest
from tests.home.live_home import LiveHome

from varv.app.cli import main


@pytest.fixture(scope="module")
def home(lived, tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    found: LiveHome = lived(folder)
    found.close()
    return folder


@pytest.fixture
def run(capsys, home, monkeypatch):
    monkeypatch.delenv("VARV_HOME", raising=False)

    def told(*arguments, status=0):
        assert main(["--home", str(home), *arguments]) == status
        said = capsys.readouterr()
        return said.err if status else said.out

    return told
