"""The configuration of the script that runs: its files, variables and arguments."""

from __future__ import annotations

import sys

import msgspec
import pytest

import varv
from varv.app.client.configuring import HANDOVER, Handover
from varv.kernel.errors import InvalidInput


@varv.config
class Model:
    depth: int = 6
    rate: float = 0.1


@varv.config
class DailyTraining:
    seed: int = 0
    password: str = ""
    model: Model = Model()


@pytest.fixture(autouse=True)
def script(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "train.py")])
    return tmp_path


def load(*arguments, environ=None, **more):
    return varv.load_config(DailyTraining, arguments=arguments, environ=environ or {}, **more)


def test_arguments_win_over_variables_over_files_over_defaults(script):
    (script / "base.toml").write_text("seed = 1\n[model]\ndepth = 1\nrate = 1.0\n")
    (script / "more.yaml").write_text("model:\n  depth: 2\n")
    environ = {"DAILY_TRAINING__MODEL__DEPTH": "3"}
    files = ("--config", str(script / "more.yaml"))
    base = script / "base.toml"
    assert load(file=base).model == Model(depth=1, rate=1.0)
    assert load(*files, file=base).model.depth == 2
    assert load(*files, file=base, environ=environ).model.depth == 3
    assert load("model.depth=4", *files, file=base, environ=environ).model == Model(depth=4, rate=1.0)
    assert load().seed == 0


def test_a_branch_is_taken_from_a_file_of_its_folder(script):
    folder = script / "conf" / "model"
    folder.mkdir(parents=True)
    (folder / "deep.toml").write_text("depth = 30\n")
    assert load("model.rate=0.5", "model=deep").model == Model(depth=30, rate=0.5)
    with pytest.raises(InvalidInput, match=r"setting 'model' has no such file.*choose deep"):
        load("model=../deep")


def test_every_value_is_shown_with_its_origin(capsys):
    with pytest.raises(SystemExit) as ended:
        load("--show-config", "model.depth=4", environ={"X__SEED": "5"}, prefix="X")
    assert ended.value.code == 0
    assert capsys.readouterr().out == (
        "seed = 5             (X__SEED)\n"
        "password = (hidden)  (default)\n"
        "model.depth = 4      (command line)\n"
        "model.rate = 0.1     (default)\n"
    )


def test_a_run_is_left_what_its_script_was_configured_with(script):
    place = script / "handed.json"
    load("model.depth=4", "password=s3cret", environ={HANDOVER: str(place)})
    told = msgspec.json.decode(place.read_bytes(), type=Handover)
    assert told.plain["model.depth"] == "4"
    assert told.origins["model.depth"] == "command line"
    assert b"s3cret" not in place.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "environ", "message"),
    [
        (["--fast"], {}, "argument '--fast' is not understood"),
        (["depth"], {}, "argument 'depth' is not understood"),
        (["--config", "none.toml"], {}, "file 'none.toml' cannot be read"),
        ([], {"DAILY_TRAINING__SEDE": "1"}, r"setting 'sede' does not exist.*did you mean seed\?"),
    ],
)
def test_what_is_not_understood_is_named(arguments, environ, message):
    with pytest.raises(InvalidInput, match=message):
        load(*arguments, environ=environ)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.toml", "seed = [", "cannot be parsed"),
        ("a.yaml", "seed: [", "cannot be parsed"),
        ("a.yaml", "- 1", "holds no names with values"),
        ("a.yaml", "!!python/object/apply:os.system ['true']", "cannot be parsed"),
        ("a.json", "{}", "neither TOML nor YAML"),
    ],
)
def test_a_file_that_is_none_is_refused(script, name, content, message):
    (script / name).write_text(content)
    with pytest.raises(InvalidInput, match=message):
        load("--config", str(script / name))


def test_a_script_ends_with_what_is_wrong_and_no_trace(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "model.dept=1"])
    with pytest.raises(SystemExit, match=r"train.py: setting 'model.dept' does not exist"):
        varv.load_config(DailyTraining, environ={})
