"""One view asked by two columns of a request: the numbers of the view itself for each, by every path."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.features.online.homes import BASE, VIEWS, OnlineHome, base
from tests.features.online.test_materialising import histories

from varv.data import Dataset, Frame
from varv.features import FeatureEngine, FeatureSet, FeatureStore, definitions_of, digest_of_view, rebuilt
from varv.features.bulk import StoredTables, TrainingSetMaker
from varv.features.online.model import kept_views, readable_views
from varv.features.online.stored import StoredHistory
from varv.features.online.verbs import typed_entities
from varv.features.program import FeatureProgram
from varv.kernel.errors import InvalidDeclaration

LAST, COLORS, _, RECENT, *_ = VIEWS
TYPES = {"id": pl.Int64(), "at": BASE["at"], "giver": pl.String(), "taker": pl.String(), "kind": pl.Int64()}
GIFTS = Dataset("gifts", source=Frame(pl.DataFrame(schema=TYPES)), key="id", event_time="at")
USES = [
    LAST.used_as("giver_last", asked_by={"who": "giver"}),
    LAST.used_as("taker_last", asked_by={"who": "taker"}),
    COLORS.used_as("taker_colors", asked_by={"who": "taker"}),
    RECENT.used_as("giver_recent", asked_by={"who": "giver"}),
]
PEOPLE = st.sampled_from(["ann", "bob", "zoë", "nobody", None])
ASKED = st.lists(st.tuples(PEOPLE, PEOPLE, st.sampled_from([1, 2, None])), min_size=1, max_size=9)


class Plain:
    """Gifts in plain arrays."""

    def __init__(self, rows):
        self.numbers = np.array([[kind] for *_, kind in rows], np.float64)
        self.texts = [[giver for giver, *_ in rows], [taker for _, taker, _ in rows]]


def gifts(rows, at):
    made = [(number, at, *row) for number, row in enumerate(rows)]
    return pl.DataFrame(made, schema={**TYPES, "at": pl.Int64}, orient="row").cast({"at": TYPES["at"]})


def expected(home, asked):
    """Return what the views themselves give, asked one entity after the other."""
    columns = []
    for use in USES:
        whose = "giver" if use.name.startswith("giver") else "taker"
        renamed = asked.select("id", "at", "kind", pl.col(whose).alias("who"))
        people = Dataset("people", source=Frame(renamed.clear()), key="id", event_time="at")
        found = home.engine([use.of], people).lookup(renamed, "at")
        columns += [one.alias(f"{use.name}.{one.name.partition('.')[2]}") for one in found]
    return pl.DataFrame(columns)


@settings(max_examples=25)
@given(history=histories(), rows=ASKED)
def test_a_use_of_a_view_gives_its_numbers_by_every_path(tmp_path_factory, history, rows):
    home = OnlineHome(tmp_path_factory.mktemp("uses"))
    for part, some, _ in history:
        home.append(part, some)
    for view in kept_views(USES):
        home.materialiser.materialise(view)
    newest = max(some[part].cast(pl.Int64).max() for part, some, _ in history)
    asked = gifts(rows, newest)
    right = expected(home, asked)

    in_memory = home.engine(USES, GIFTS)
    stored = FeatureEngine(USES, GIFTS, FeatureStore(stored=lambda view: StoredHistory(view, home.store)))
    assert in_memory.lookup(asked, "at").equals(right)
    assert stored.lookup(asked, "at").equals(right)
    set_of = TrainingSetMaker(FeatureSet(USES, GIFTS), "at", StoredTables(home.datasets, {}))
    assert set_of.of(asked)[:, len(TYPES) :].rename(lambda name: name.replace("__", ".")).equals(right)

    numeric = right.select(pl.selectors.numeric()).to_numpy()
    texts = [right[name].to_list() for name, dtype in right.schema.items() if dtype == pl.String]
    for engine in (in_memory, stored):
        program = FeatureProgram(engine, TYPES, ["kind"], ["giver", "taker"])
        numbers, found = program.compute(Plain(rows), newest)
        assert np.array_equal(numbers, numeric, equal_nan=True)
        assert found == texts


def test_uses_of_one_view_are_read_online_by_their_own_columns(tmp_path):
    home = OnlineHome(tmp_path)
    home.append("at", base([(1, 0, "ann", 1, 1.0, "red"), (2, 5, "bob", 1, 2.0, "blue")]))
    home.materialiser.materialise(LAST)
    reader = home.reader(readable_views(USES))
    entities = typed_entities(reader, ["giver_last", "taker_last"], {"giver": ["ann"], "taker": ["bob"]})
    giver, taker = reader.read(["giver_last", "taker_last"], entities, home.clock.now())
    assert [giver.entities[0].at, taker.entities[0].at] == [
        base([(1, minute, "", 1, 1.0, "")])["at"].cast(pl.Int64)[0] for minute in (0, 5)
    ]
    assert reader.read(["last"], {"who": ["ann"]}, home.clock.now())[0].entities == giver.entities


def test_uses_share_one_history_in_memory():
    store = FeatureStore()
    FeatureEngine([*USES, *VIEWS], ORDERS_AND_GIFTS, store)
    assert store.history(USES[0]) is store.history(USES[1]) is store.history(LAST)


ORDERS_AND_GIFTS = Dataset(
    "both", source=Frame(pl.DataFrame(schema={**BASE, **TYPES})), key="id", event_time="at"
)


def test_a_use_is_built_again_from_its_definition():
    features = FeatureSet(USES, GIFTS)
    again = FeatureSet(rebuilt(definitions_of(features), {LAST.source.name: LAST.source}), GIFTS)
    assert definitions_of(again) == definitions_of(features)
    assert again.names == features.names
    assert again.request_columns() == features.request_columns() == ("giver", "taker", "kind")


def test_a_use_has_another_digest_and_its_view_the_one_of_before():
    assert digest_of_view(USES[0]) not in (digest_of_view(LAST), digest_of_view(USES[1]))
    assert digest_of_view(LAST).startswith("46df0c1589a62c88")


@pytest.mark.parametrize(
    ("name", "asked_by", "problem"),
    [
        ("last", {"who": "giver"}, "name"),
        ("giver_last", {"whom": "giver"}, "whom"),
        ("a b", {"who": "giver"}, "a b"),
    ],
)
def test_a_use_that_says_nothing_sound_is_refused(name, asked_by, problem):
    with pytest.raises(InvalidDeclaration, match=problem):
        LAST.used_as(name, asked_by=asked_by)


def test_a_use_of_a_use_and_two_columns_asked_by_one_are_refused():
    with pytest.raises(InvalidDeclaration, match="use of 'last'"):
        USES[0].used_as("more", asked_by={"who": "taker"})
    with pytest.raises(InvalidDeclaration, match="two columns"):
        COLORS.used_as("more", asked_by={"who": "kind"})


def test_a_request_without_the_column_that_a_use_is_asked_by_is_refused():
    with pytest.raises(InvalidDeclaration, match="taken"):
        FeatureSet([LAST.used_as("taken_last", asked_by={"who": "taken_by"})], GIFTS)
