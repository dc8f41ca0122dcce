from __future__ import annotations

import pytest

from varv.kernel.errors import InvalidDeclaration, NotFound, UserCodeFailed, VarvError
from varv.project import load_project

MODEL = """
import polars as pl
import varv
rows = pl.DataFrame({"id": ["a"], "at": ["2024-01-01"], "x": [1.0], "seen": ["2024-01-02"], "y": [True]})
rows = rows.with_columns(pl.col("at", "seen").str.to_datetime(time_zone="UTC"))
data = varv.Dataset("d", source=varv.Frame(rows), key="id", event_time="at", known_at={"seen": ["y"]})
def fit(train, params):
    return None
y = varv.Outcome("y", known_at="seen")
one = varv.Model("one", requests=data, features=["x"], outcome=y, train=varv.Train(fit))
"""
REPLAY = 'r = varv.Replay(one, since="2024-01-01", train_at="2024-02-01", until="2024-03-01")\n'
SECOND = 'two = varv.Model("two", requests=data, features=["x"], outcome=one.outcome, train=one.train)\n'


def written(folder, text, name="declared_here.py"):
    (folder / name).write_text(text)
    return str(folder / name)


def test_the_only_model_is_found_under_any_name(tmp_path):
    [model] = load_project(written(tmp_path, MODEL + "same = one\n")).models
    assert model.name == "one"


def test_a_replay_brings_its_model_which_counts_once(tmp_path):
    found = load_project(written(tmp_path, MODEL + REPLAY))
    assert [model.name for model in found.models] == ["one"]
    assert found.replay().models == found.models


def test_one_of_several_is_chosen_by_name(tmp_path):
    file = written(tmp_path, MODEL + SECOND)
    assert [model.name for model in load_project(file).models] == ["one", "two"]
    assert [model.name for model in load_project(f"{file}:two").models] == ["two"]
    assert [model.name for model in load_project(file).only("two").models] == ["two"]
    with pytest.raises(NotFound, match="it declares one, two"):
        load_project(f"{file}:three")
    with pytest.raises(NotFound, match="the models are one, two"):
        load_project(file).only("three")


def test_files_of_a_folder_that_import_each_other_share_their_objects(tmp_path):
    written(tmp_path, MODEL, "first_of_folder.py")
    written(tmp_path, "import varv\nfrom first_of_folder import data, one\n" + SECOND, "a_second.py")
    found = load_project(str(tmp_path))
    found.validate()
    assert [model.name for model in found.models] == ["one", "two"]
    assert found.models[0].requests is found.models[1].requests


def test_two_datasets_of_one_name_are_refused(tmp_path):
    for name in ("first_copy", "second_copy"):
        written(tmp_path, MODEL.replace('"one"', f'"{name.replace("_", "-")}"'), f"{name}.py")
    with pytest.raises(InvalidDeclaration, match="dataset 'd' is declared twice; share one object"):
        load_project(str(tmp_path)).validate()


def test_a_folder_without_a_declaration_is_refused(tmp_path):
    with pytest.raises(NotFound, match="holds no Python file"):
        load_project(str(tmp_path))
    written(tmp_path, "x = 1\n", "only_a_number.py")
    with pytest.raises(InvalidDeclaration, match="declares no model"):
        load_project(str(tmp_path))


def test_of_several_replays_one_is_chosen(tmp_path):
    other = REPLAY.replace("r =", "s =").replace("(one,", "(two,")
    file = written(tmp_path, MODEL + SECOND + REPLAY + other)
    with pytest.raises(InvalidDeclaration, match="declares several replays"):
        load_project(file).replay()
    assert [model.name for model in load_project(f"{file}:s").replay().models] == ["two"]
    assert [model.name for model in load_project(file).only("one").replay().models] == ["one"]
    with pytest.raises(NotFound, match=r"replay 'declared_here\.py' is not declared"):
        load_project(written(tmp_path, MODEL)).replay()


def test_a_declaration_may_import_what_lies_beside_it(tmp_path):
    written(tmp_path, "window = '30d'\n", "lies_beside.py")
    written(tmp_path, "import lies_beside\n" + MODEL)
    assert load_project(str(tmp_path / "declared_here.py")).models


@pytest.mark.parametrize(
    ("text", "kind", "line"),
    [
        ("x = 1\ny = (\n", UserCodeFailed, ":2"),
        ("x = 1\n\ny = 1 / 0\n", UserCodeFailed, ":3"),
        ("import no_such_module_at_all\n", UserCodeFailed, ":1"),
        ("import varv\nvarv.Outcome('y', known_at='t', mature='soon')\n", InvalidDeclaration, ":2"),
        ("raise SystemExit(3)\n", UserCodeFailed, ":1"),
        ("x = 1\n", InvalidDeclaration, ""),
    ],
)
def test_a_broken_file_is_told_with_its_line(tmp_path, text, kind, line):
    with pytest.raises(kind) as raised:
        load_project(written(tmp_path, text))
    assert f"declared_here.py{line}" in str(raised.value)


@pytest.mark.parametrize("name", ["absent.py", "", "absent.py:model", "x" * 5000, "a\x00b"])
def test_a_file_that_is_not_there_is_told(name):
    with pytest.raises(VarvError):
        load_project(name)
