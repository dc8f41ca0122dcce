"""Materialising: the store answers what memory does, whatever came when and however often it was done."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.features.online.homes import ORDERS, VIEWS, OnlineHome, base, later, moment

from varv.data import Dataset, Frame
from varv.data.tiers import Tiers
from varv.features.definitions import digest_of_view
from varv.features.online.model import OnlineView, note_of, table_name
from varv.features.online.ports import Table
from varv.features.online.reading import Status
from varv.kernel.clock import DAY
from varv.kernel.errors import FailedPrecondition
from varv.kernel.faults import Crash, Faults

LAST, RECENT = VIEWS[0], VIEWS[3]
WHO = ["ann", "bob", "zoë"]

orders = st.tuples(
    st.integers(0, 3000),
    st.sampled_from(WHO),
    st.sampled_from([1, 2]),
    st.one_of(st.none(), st.floats(-100, 100, width=32)),
    st.one_of(st.none(), st.sampled_from(["red", "blå", ""])),
)


@st.composite
def histories(draw):
    """Draw what comes, batch by batch: base rows, what is said of rows (maybe before they come), and whether
    views are materialised in between.
    """
    rows = [(key, *one) for key, one in enumerate(draw(st.lists(orders, min_size=1, max_size=24)))]
    said = [
        (key, minute + draw(st.integers(0, 2000)), draw(st.floats(0, 50, width=32)))
        for key, minute, *_ in rows
        if draw(st.booleans())
    ]
    batches = [("at", base([row])) for row in rows] + [("done_at", later([row])) for row in said]
    order = draw(st.permutations(range(len(batches))))
    return [(*batches[i], draw(st.booleans())) for i in order]


@settings(max_examples=25)
@given(history=histories(), after=st.integers(0, 59))
def test_the_store_answers_what_memory_does_to_the_last_bit(tmp_path_factory, history, after):
    home = OnlineHome(tmp_path_factory.mktemp("online"))
    for part, rows, then in history:
        home.append(part, rows)
        for view in VIEWS if then else ():
            home.materialiser.materialise(view)
    for view in VIEWS:
        home.materialiser.materialise(view)
    newest = max(rows[part].cast(pl.Int64).max() for part, rows, _ in history)
    same_as_memory(home, newest - after * 60_000_000)
    same_as_memory(home, newest + 90_000_000_000)


def same_as_memory(home, instant):
    asked = pl.DataFrame(
        [(0, instant, who, kind, None, None) for who in [*WHO, "nobody"] for kind in (1, 2, 3)],
        schema={
            "id": pl.Int64,
            "at": pl.Int64,
            "who": pl.String,
            "kind": pl.Int64,
            "size": pl.Float64,
            "color": pl.String,
        },
        orient="row",
    ).with_columns(pl.col("at").cast(ORDERS.types()["at"]))
    # Whoever reads the store is no order, and so sees those of the very instant.
    readers = Dataset("readers", source=Frame(asked), key="id", event_time="at")
    expected = home.engine(list(VIEWS), readers).lookup(asked, "at")
    found = home.reader().read(
        [view.name for view in VIEWS], {name: asked[name].to_list() for name in ("who", "kind")}, instant
    )
    for one in found:
        names = one.view.feature_names()
        values = {name: [read.values[i] for read in one.entities] for i, name in enumerate(names)}
        got = pl.DataFrame(values, schema={name: expected.schema[name] for name in names})
        assert got.equals(expected.select(names)), one.view.name


def filled(tmp_path, faults=None):
    home = OnlineHome(tmp_path, faults=faults)
    home.append("at", base([(1, 0, "ann", 1, 1.0, "red"), (2, 300, "ann", 1, 3.0, "red")]))
    return home


def test_a_row_that_comes_late_does_not_replace_a_later_one(tmp_path):
    home = filled(tmp_path)
    home.materialiser.materialise(LAST)
    home.append("at", base([(3, 100, "ann", 2, 9.0, "red"), (4, 400, "bob", 2, 4.0, "red")]))
    stated = home.materialiser.materialise(LAST)
    assert (stated.n_rows, stated.n_late, stated.upto, stated.generation) == (2, 1, 2, 1)
    (found,) = home.reader().read(["last"], {"who": ["ann", "bob"]}, moment(500))
    assert [one.values for one in found.entities] == [[3.0, 1.0], [4.0, 2.0]]


def test_what_is_up_to_date_is_left_alone(tmp_path):
    home = filled(tmp_path)
    home.materialiser.materialise(LAST)
    assert home.materialiser.materialise(LAST) is None


def test_rows_that_were_replaced_come_into_a_generation_of_their_own(tmp_path):
    home = filled(tmp_path)
    home.materialiser.materialise(LAST)
    home.datasets.merge(ORDERS, "at", base([(2, 300, "ann", 1, 7.0, "red")]))
    assert home.materialiser.materialise(LAST).generation == 2
    (found,) = home.reader().read(["last"], {"who": ["ann"]}, moment(500))
    assert found.entities[0].values == [7.0, 1.0]
    name = table_name(LAST, digest_of_view(LAST))
    assert home.store.generations(name) == [2]


def test_a_generation_of_an_interval_holds_its_rows_alone(tmp_path):
    home = filled(tmp_path)
    home.append("at", base([(3, 900, "ann", 2, 9.0, "red")]))
    home.materialiser.backfill(LAST, since=moment(200), until=moment(900))
    (found,) = home.reader().read(["last"], {"who": ["ann"]}, moment(880))
    assert found.entities[0] == ([None, None], moment(300), Status.OUTSIDE_MAX_AGE)


def test_what_no_view_names_any_more_is_removed(tmp_path):
    home = filled(tmp_path)
    for view in (LAST, RECENT):
        home.materialiser.materialise(view)
    gone = home.materialiser.drop_unnamed([RECENT])
    assert [one.view for one in gone] == ["last"]
    assert home.store.generations(table_name(LAST, digest_of_view(LAST))) == []
    with home.views.reading(OnlineView) as online:
        assert {name for name, held in online.views.items() if held} == {"recent"}


POINTS = ["online.before_put", "online.before_whole", "online.before_event", "online.before_swap"]


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("point", POINTS)
def test_a_crash_anywhere_leaves_what_was_there_and_is_made_good(tmp_path, point, nth):
    home = filled(tmp_path, Faults(point, nth=nth))
    stated = None
    for minute in (0, 600):
        if minute:
            home.append("at", base([(3, 600, "bob", 2, 9.0, "red")]))
        before = home.reader().store.current(table_name(LAST, digest_of_view(LAST)))
        try:
            stated = home.materialiser.materialise(LAST)
        except Crash:
            assert home.store.current(table_name(LAST, digest_of_view(LAST))) == before
            home.reopen()
            stated = home.materialiser.materialise(LAST)
    with home.views.reading(OnlineView) as online:
        held = online.of("last", digest_of_view(LAST))
    assert (held.n_rows, held.last.upto, held.last.generation) == (3, 2, 1), stated
    home.materialiser.materialise(LAST)
    assert note_of(home.store.current(table_name(LAST, digest_of_view(LAST))).note).upto == 2
    (found,) = home.reader().read(["last"], {"who": ["ann", "bob"]}, moment(660))
    assert [one.values for one in found.entities] == [[3.0, 1.0], [9.0, 2.0]]


def test_a_store_that_was_lost_is_filled_again(tmp_path):
    home = filled(tmp_path)
    home.materialiser.materialise(LAST)
    home.store.drop(Table(table_name(LAST, digest_of_view(LAST)), 1))
    assert home.materialiser.materialise(LAST).generation == 2


def test_what_is_archived_beyond_the_reach_of_a_view_is_not_missed(tmp_path):
    home, paid, late = OnlineHome(tmp_path), VIEWS[2], 200 * 24 * 60
    for key, minute in ((1, 0), (2, late)):
        home.append("at", base([(key, minute, "ann", 1, 1.0, "red")]))
        home.append("done_at", later([(key, minute + 60, 10.0 * key)]))
    home.clock.move_to(home.clock.now() + 2 * DAY)
    tiers = Tiers(home.columns, home.datasets.cold, home.views, home.clock, home.datasets.commit)
    assert tiers.archive(ORDERS, moment(late)).n_files == 2
    home.materialiser.materialise(paid)
    (found,) = home.reader().read(["paid"], {"who": ["ann"]}, moment(late + 90))
    assert found.entities[0].values == [20.0]
    with pytest.raises(FailedPrecondition, match="varv data restore orders"):
        home.materialiser.backfill(paid, since=moment(0))
    with pytest.raises(FailedPrecondition, match="varv data restore orders"):
        home.materialiser.materialise(VIEWS[1])
