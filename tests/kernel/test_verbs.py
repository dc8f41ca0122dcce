"""Verbs are found by name and take only what they describe."""

from __future__ import annotations

from types import ModuleType

import msgspec
import pytest

from varv.kernel.errors import AlreadyExists, InvalidInput, NotFound
from varv.kernel.verbs import MOST_REQUEST_BYTES, OPERATE, Permission, Verb, VerbTable, declared_in
from varv.kernel.verbs import verb as declares


class Rollback(msgspec.Struct, frozen=True):
    model: str
    to: int = 0


class Loose(msgspec.Struct):
    model: str


def verb(name="model.rollback", request=Rollback):
    return Verb(
        name=name,
        summary="Go back to the version before.",
        request=request,
        result=int,
        permission=Permission("model.write"),
        run=lambda asked: asked.to,
    )


@pytest.fixture
def table():
    made = VerbTable()
    made.register(verb())
    made.register(verb("model.promote"))
    return made


def test_a_request_is_decoded_and_run(table):
    found = table.get("model.rollback")
    request = found.decode(b'{"model": "late", "to": 3}')
    assert request == Rollback("late", 3)
    assert found.run(request) == 3


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b'{"model": 7}', "field model"),
        (b'{"model": "late", "to": "3"}', "field to"),
        (b'{"model": "late", "to": 3.5}', "field to"),
        (b'{"to": 3}', "model"),
        (b'{"model": "late", "too": 3}', "did you mean to"),
        (b"[]", "object"),
        (b"null", "object"),
        (b"", "model"),
        (b'{"model": ', "not JSON"),
        (b'{"model": "\xff"}', "not JSON"),
        (b"[" * 100_000, "model.rollback"),
        (b'"' + b"x" * MOST_REQUEST_BYTES + b'"', "too large"),
    ],
)
def test_a_wrong_request_is_refused_and_the_field_is_named(data, named):
    with pytest.raises(InvalidInput, match=named):
        verb().decode(data)


def test_an_unknown_verb_names_the_nearest(table):
    with pytest.raises(NotFound, match=r"did you mean model\.rollback\?"):
        table.get("model.rolback")
    with pytest.raises(NotFound, match="known: none"):
        VerbTable().get("x")


def test_verbs_are_listed_by_name(table):
    assert [found.name for found in table] == ["model.promote", "model.rollback"]


def test_a_verb_is_described_once_and_well(table):
    with pytest.raises(AlreadyExists):
        table.register(verb())
    with pytest.raises(InvalidInput, match=r"model\.rollback"):
        table.register(verb("rollback"))
    with pytest.raises(InvalidInput, match="frozen"):
        table.register(verb("model.drop", Loose))


def test_the_schema_names_every_field(table):
    schema = table.get("model.rollback").schema()
    assert set(schema["request"]["$defs"]["Rollback"]["properties"]) == {"model", "to"}
    assert schema["result"] == {"type": "integer"}


class Door:
    def __init__(self, turns):
        self.turns = turns


def a_room(**functions):
    room = ModuleType(__name__)
    vars(room).update(functions)
    return room


def test_a_function_is_a_verb_by_its_signature_and_its_first_line():
    @declares("door.turn", needs=OPERATE)
    def turn(door: Door, asked: Rollback) -> int:
        """Turn the key.

        More that help does not say.
        """
        door.turns += asked.to
        return door.turns

    made: list[Door] = []
    [found] = declared_in(a_room(turn=turn, Door=Door), lambda kind: made[0])
    assert (found.name, found.summary, found.permission) == ("door.turn", "Turn the key.", OPERATE)
    assert (found.request, found.result) == (Rollback, int)
    made.append(Door(2))  # the part may come later than the table
    assert found.run(Rollback("late", 3)) == 5


def test_a_verb_that_does_not_say_what_it_takes_is_refused():
    @declares("door.turn", needs=OPERATE)
    def turn(door, asked):
        return asked

    with pytest.raises(InvalidInput, match="does not say what it takes and gives"):
        list(declared_in(a_room(turn=turn), lambda kind: None))
