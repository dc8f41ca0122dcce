from __future__ import annotations

import pytest

from varv.app.loading import load_declaration, model_of
from varv.kernel.errors import InvalidDeclaration, NotFound, UserCodeFailed, VarvError
from varv.loop.declaration import Model, Replay

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
    found = load_declaration(written(tmp_path, MODEL + "same = one\n"))
    assert isinstance(found, Model)
    assert model_of(found).name == "one"


def test_a_replay_comes_before_its_model(tmp_path):
    found = load_declaration(written(tmp_path, MODEL + REPLAY))
    assert isinstance(found, Replay)
    assert model_of(found).name == "one"


def test_one_of_several_is_chosen_by_name(tmp_path):
    file = written(tmp_path, MODEL + SECOND)
    with pytest.raises(InvalidDeclaration, match="declares 2 models"):
        load_declaration(file)
    assert model_of(load_declaration(f"{file}:two")).name == "two"
    with pytest.raises(NotFound, match="it declares one, two"):
        load_declaration(f"{file}:three")


def test_a_declaration_may_import_what_lies_beside_it(tmp_path):
    written(tmp_path, "window = '30d'\n", "lies_beside.py")
    written(tmp_path, "import lies_beside\n" + MODEL)
    assert load_declaration(str(tmp_path / "declared_here.py"))


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
        load_declaration(written(tmp_path, text))
    assert f"declared_here.py{line}" in str(raised.value)


@pytest.mark.parametrize("name", ["absent.py", "", "..", "absent.py:model", "x" * 5000, "a\x00b"])
def test_a_file_that_is_not_there_is_told(name):
    with pytest.raises(VarvError):
        load_declaration(name)
