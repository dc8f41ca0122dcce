"""What holds of every event: where it is declared, and that it says in one line what it states."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect

import varv
import varv.app.compose  # which loads what a ledger may hold
from varv.features import Slice
from varv.fronts.web.pages.entries import row
from varv.home.why import explain
from varv.kernel.clock import Instant
from varv.kernel.codec import Event, event, registered_events
from varv.kernel.ledger import Append, Change
from varv.kernel.ledger_sqlite import MEMORY, SqliteLedger
from varv.kernel.views import Views
from varv.kernel.wording import brief
from varv.rollout import Guard, Luck
from varv.rollout.model import Scores
from varv.serving import RoutingTable
from varv.tasks import TaskSpec

NOON = Instant(1_359_720_000_000_000)

ELSEWHERE = {
    "ledger.signed_anew": "varv.kernel.merkle",
    "saga.command_ended": "varv.kernel.sagas",
    "saga.command_failed": "varv.kernel.sagas",
    "saga.timer_fired": "varv.kernel.sagas",
}
"""Events outside the `model` of a room. An entry leaves once its event has moved; none is added."""

RULED: dict[type, object] = {
    RoutingTable: {"epoch": 3, "shares": [{"version": 7, "share": 1.0}], "salt": "salt"},
    TaskSpec: {"name": "binary"},
    Luck: {},
    Scores: {},
    Slice: {"column": "carrier", "values": ["UA"]},
    Guard: {"loss": "log_loss", "label": "log-loss", "unit": "nats", "bound": 6.9, "margin": 0.01},
}
"""Types with rules of their own, which no sample made of types alone would keep."""

PLAIN: dict[type[inspect.Type], object] = {
    inspect.IntType: 3,
    inspect.FloatType: -0.25,
    inspect.StrType: "text",
    inspect.BoolType: True,
    inspect.NoneType: None,
    inspect.AnyType: "anything",
}

_DECLARED = re.compile(r'^@event\(\s*"([^"]+)"', re.MULTILINE)
EVENTS = {name: kind for name, kind in registered_events().items() if kind.__module__.startswith("varv.")}


@pytest.fixture
def ledger():
    made = SqliteLedger(MEMORY)
    yield made
    made.close()


@event("contract.seal_broken")
class SealBroken(Event, frozen=True):
    """An event that no other module has heard of."""

    seal: str

    def line(self) -> str:
        return f"the seal of {self.seal} is broken"


@event("contract.seal_set")
class SealSet(Event, frozen=True):
    """An event that leaves its line to its fields."""

    seal: str
    at: Instant
    witnesses: tuple[str, ...]
    remark: str = ""


def sample(kind: inspect.Type, *, given: bool) -> Any:
    """Return a builtin value of a type; optional fields are left out, and unions are None, unless `given`."""
    match kind:
        case inspect.StructType():
            if kind.cls in RULED:
                return RULED[kind.cls]
            if kind.array_like:
                return [sample(field.type, given=given) for field in kind.fields]
            named = (field for field in kind.fields if given or field.required)
            values = {field.encode_name: sample(field.type, given=given) for field in named}
            return values if kind.tag_field is None else {kind.tag_field: kind.tag, **values}
        case inspect.UnionType():
            nullable = any(isinstance(one, inspect.NoneType) for one in kind.types)
            some = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
            return None if nullable and not given else sample(some[0], given=given)
        case inspect.TupleType():
            return [sample(one, given=given) for one in kind.item_types]
        case inspect.VarTupleType() | inspect.ListType():
            return [sample(kind.item_type, given=given)] if given else []
        case inspect.DictType():
            key, value = (sample(one, given=given) for one in (kind.key_type, kind.value_type))
            return {key: value} if given else {}
        case inspect.LiteralType():
            return kind.values[0]
    return PLAIN[type(kind)]


def sample_of(kind: type[Event], *, given: bool) -> Event:
    return msgspec.convert(sample(inspect.type_info(kind), given=given), kind)


def test_whoever_opens_a_ledger_knows_every_event_of_the_package():
    modules = Path(varv.__file__).parent.rglob("*.py")
    declared = {name for path in modules for name in _DECLARED.findall(path.read_text())}
    assert declared == set(EVENTS)


@pytest.mark.parametrize("given", [True, False], ids=["all-given", "least-given"])
@pytest.mark.parametrize("name", EVENTS)
def test_every_event_says_in_one_line_what_it_states(name, given):
    line = sample_of(EVENTS[name], given=given).line()
    assert line.strip()
    assert line.splitlines() == [line]


def test_events_are_declared_in_the_model_of_their_room():
    places = {name: kind.__module__ for name, kind in EVENTS.items()}
    assert {name: place for name, place in places.items() if not place.endswith(".model")} == ELSEWHERE


def test_a_new_event_is_explained_in_its_own_words(ledger):
    ledger.commit(Change(at=NOON, facts=(Append("doors/1", SealBroken(seal="gate 4")),)))
    (link,) = explain(Path(), ledger, Views(ledger), "1").chain
    assert link.text == "the seal of gate 4 is broken"


def test_a_long_line_is_cut_where_there_is_little_room(ledger):
    broken = SealBroken(seal="x" * 1000)
    (entry,) = ledger.commit(Change(at=NOON, facts=(Append("doors/1", broken),)))
    (link,) = explain(Path(), ledger, Views(ledger), "1").chain
    assert len(broken.line()) > 1000
    assert link.text == row(entry).says == brief(broken.line())


def test_an_event_without_words_of_its_own_shows_its_fields():
    line = SealSet(seal="gate 4", at=NOON, witnesses=("Ada", "Ben")).line()
    assert line == "seal gate 4, at 2013-02-01T12:00:00Z, witnesses (2)"
