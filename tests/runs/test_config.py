"""Configurations of scripts: typed trees that are filled from layers."""

from __future__ import annotations

import enum
from dataclasses import FrozenInstanceError, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varv.kernel.errors import InvalidDeclaration, InvalidInput
from varv.runs.config import HIDDEN, Layer, config, is_secret, resolved, without_secrets


class Kind(enum.Enum):
    TREES = "trees"
    LINEAR = "linear"


@config
class Model:
    depth: Annotated[int, msgspec.Meta(ge=1)] = 6
    loss: Literal["log", "squared"] = "log"
    sizes: tuple[int, ...] = (8, 8)
    names: list[str] = field(default_factory=list)


@config
class Training:
    data: Path
    rate: float = 0.1
    fast: bool = False
    note: str | None = None
    rows: int | None = 10
    kind: Kind = Kind.TREES
    token: str = ""
    model: Model = Model(depth=8)

    def __post_init__(self):
        if self.fast and self.model.depth > 20:
            raise ValueError("a fast one has at most 20 levels")


def filled(*layers, **values):
    given_ = Layer("command line", {"data": "day.csv", **values}, texts=True)
    return resolved(Training, [*layers, given_]).config


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("rate", ".5", 0.5),
        ("rate", "1e-3", 0.001),
        ("rate", "2", 2.0),
        ("fast", "true", True),
        ("fast", "false", False),
        ("note", "6", "6"),
        ("note", "null", None),
        ("rows", "none", None),
        ("rows", "12", 12),
        ("kind", "linear", Kind.LINEAR),
        ("data", "a b/c", Path("a b/c")),
    ],
)
def test_a_text_becomes_what_its_field_is(name, text, expected):
    assert getattr(filled(**{name: text}), name) == expected


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("sizes", "[1,2]", (1, 2)),
        ("sizes", "[ 1, 2 ]", (1, 2)),
        ("names", "[a,'b,c']", ["a", "b,c"]),
        ("names", '["a"]', ["a"]),
        ("names", "[]", []),
    ],
)
def test_lists_are_written_in_brackets(name, text, expected):
    assert getattr(filled(**{f"model.{name}": text}).model, name) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model.dept": "3"}, r"'model.dept' does not exist.*did you mean model.depth\?"),
        ({"modl.depth": "3"}, r"did you mean model.depth\?"),
        ({"model.depth": "0"}, r"'model.depth' is not valid: expected `int` >= 1.*given='0'"),
        ({"rate": "fast"}, "'rate' is not valid: expected `float`"),
        ({"fast": "maybe"}, "'fast' is not valid"),
        ({"model.loss": "hinge"}, "'model.loss' is not valid"),
        ({"model": "x"}, "'model' has fields of its own"),
        ({"rows.n": "1"}, "'rows.n' does not exist"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_name(values, message):
    with pytest.raises(InvalidInput, match=message):
        filled(**values)


def test_a_value_that_is_missing_is_named():
    with pytest.raises(InvalidInput, match="setting 'data' has no value; give data=VALUE"):
        resolved(Training, [])


def test_a_rule_across_fields_is_kept():
    with pytest.raises(InvalidInput, match="config 'Training' is not valid: a fast one has"):
        filled(**{"fast": "true", "model.depth": "21"})


@given(st.lists(st.tuples(st.sampled_from(["rate", "model.depth", "rows"]), st.integers(1, 99)), max_size=9))
def test_the_later_layer_wins_and_is_the_origin(given_):
    layers = [Layer(str(place), {name: str(value)}, texts=True) for place, (name, value) in enumerate(given_)]
    found = resolved(Training, [Layer("file", {"data": "x"}), *layers])
    for name, default in (("rate", 0.1), ("model.depth", 8), ("rows", 10)):
        last = [(str(place), value) for place, (its, value) in enumerate(given_) if its == name]
        origin, value = last[-1] if last else ("default", default)
        assert found.settings[name].origin == origin
        assert found.settings[name].value == value


def test_values_of_a_file_keep_their_types():
    file = Layer("base.toml", {"model": {"depth": 3, "sizes": [1]}, "rate": 1})
    assert filled(file).model == Model(depth=3, sizes=(1,))
    with pytest.raises(InvalidInput, match=r"'model.depth' is not valid.*base.toml"):
        filled(Layer("base.toml", {"model": {"depth": "3"}}))


def test_a_default_of_the_whole_is_the_default_of_its_parts():
    assert filled().model.depth == 8
    assert Model().depth == 6


def test_a_configuration_does_not_change():
    with pytest.raises(FrozenInstanceError):
        filled().rate = 1.0


def test_a_struct_is_a_configuration_too():
    class Plain(msgspec.Struct, frozen=True):
        depth: int = 2

    assert resolved(Plain, [Layer("x", {"depth": "3"}, texts=True)]).config == Plain(3)


def test_a_default_of_another_type_is_refused_as_it_is_declared():
    with pytest.raises(InvalidDeclaration, match=r"Wrong\.depth.*does not fit"):

        @config
        class Wrong:
            depth: int = "six"


def test_secrets_are_shown_nowhere():
    found = resolved(Training, [Layer("file", {"data": "x", "token": "s3cret"})])
    assert found.plain()["token"] == HIDDEN
    assert found.config.token == "s3cret"
    assert without_secrets(["db.password=x", "--api-key=y", "depth=3", "max_tokens=5"]) == (
        f"db.password={HIDDEN}",
        f"--api-key={HIDDEN}",
        "depth=3",
        "max_tokens=5",
    )
    with pytest.raises(InvalidInput) as error:
        resolved(Training, [Layer("file", {"data": "x", "token": ["s3cret"]})])
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(("name", "secret"), [("model.secret", True), ("tokenizer", False), ("key", False)])
def test_a_secret_is_known_by_its_name(name, secret):
    assert is_secret(name) is secret
