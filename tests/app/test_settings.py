from __future__ import annotations

import os
from pathlib import Path

import pytest

from varv.app.settings import Settings, load_settings, plain, share_processors
from varv.kernel.errors import InvalidInput


def test_later_sources_win_and_each_value_says_where_it_came_from(tmp_path):
    (tmp_path / "varv.toml").write_text("port = 9001\nworkers = 3\nmax_rows = 5\n")
    environ = {"VARV_PORT": "9002", "VARV_WORKERS": "4", "PATH": "/bin"}
    found = load_settings({"port": 9003, "home": None}, environ=environ, folder=tmp_path)
    assert (found.settings.port, found.settings.workers, found.settings.max_rows) == (9003, 4, 5)
    assert found.sources["port"] == "--port"
    assert found.sources["workers"] == "VARV_WORKERS"
    assert found.sources["max_rows"].endswith("varv.toml")
    assert found.sources["home"] == "default"


def test_the_file_beside_the_home_comes_before_that_of_the_working_folder(tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "varv.toml").write_text("workers = 2\n")
    (tmp_path / "varv.toml").write_text("workers = 3\n")
    found = load_settings({"home": str(tmp_path / "project" / ".varv")}, environ={}, folder=tmp_path)
    assert found.settings.workers == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("prot = 1", "did you mean port"),
        ("port = ", "is not TOML"),
        ("port = true", "from 0 to 65535"),
        ("port = 70000", "from 0 to 65535"),
        ('workers = "two"', "whole number"),
        ("workers = 1.5", "whole number"),
        ("home = 7", "is not a text"),
        ('log_format = "xml"', "text or json"),
        ("seal_every_s = nan", "from 0.05"),
    ],
)
def test_a_setting_that_cannot_be_is_an_error(tmp_path, text, problem):
    (tmp_path / "varv.toml").write_text(text)
    with pytest.raises(InvalidInput, match=problem):
        load_settings({}, environ={}, folder=tmp_path)


def test_an_unknown_variable_is_an_error():
    with pytest.raises(InvalidInput, match="did you mean token"):
        load_settings({}, environ={"VARV_TOKN": "x"}, folder=Path("/nowhere"))


def test_a_token_is_never_shown():
    assert plain(Settings(token="secret"))["token"] == "set"


def test_threads_wait_briefly_unless_the_environment_says_how(monkeypatch):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    share_processors()
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["GOMP_SPINCOUNT"]) == ("PASSIVE", "1000")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.delenv("GOMP_SPINCOUNT")
    share_processors()
    assert (os.environ["OMP_WAIT_POLICY"], os.environ.get("GOMP_SPINCOUNT")) == ("ACTIVE", None)


def test_an_archive_in_the_file_is_a_folder_beside_it_or_an_address(tmp_path):
    for said, meant in (("cold", str(tmp_path / "cold")), ("s3://cold/varv", "s3://cold/varv")):
        (tmp_path / "varv.toml").write_text(f'archive = "{said}"\n')
        assert load_settings({}, environ={}, folder=tmp_path).settings.archive == meant
