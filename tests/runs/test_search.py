"""Searches against a naive search over the same runs in memory, by each of the three ways."""

from __future__ import annotations

import base64
import math
import re
from contextlib import contextmanager

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runs.conftest import TrackedHome

from varv.kernel.errors import InvalidInput
from varv.runs import RunSearch, patience, reading, search
from varv.runs.columns import Columns
from varv.runs.grammars import OUR_RUNS
from varv.runs.model import STATUSES, DatasetInput, InputTag
from varv.runs.search import Query

WAYS = {"rarest first": (5000, 20_000, 0), "by the order": (-1, 20_000, -1), "over arrays": (-1, -1, -1)}
VALUES = (math.nan, -1.0, 0.0, 0.5, 2.0, math.inf)
WORDS = ("1", "3", "30", "a_b", "A%b", "é", "É", "it's", "")


def maybe(strategy):
    return st.none() | strategy


RUN = st.fixed_dictionaries(
    {
        "started": st.integers(0, 3),
        "ended": maybe(st.integers(0, 3)),
        "status": st.sampled_from(STATUSES),
        "user": st.sampled_from(["ana", "bo"]),
        "name": st.sampled_from(["red", "green", "Red"]),
        "losses": st.lists(st.sampled_from(VALUES), max_size=2),
        "auc": maybe(st.sampled_from(VALUES)),
        "depth": maybe(st.sampled_from(WORDS)),
        "team": maybe(st.sampled_from(WORDS)),
        "data": maybe(st.tuples(st.sampled_from(["d1", "d2"]), st.sampled_from(["train", "eval"]))),
        "deleted": st.booleans(),
    }
)


class World:
    """Runs of one experiment, in the file and in memory."""

    def __init__(self, home, runs):
        self.home = home
        self.experiment = home.do(home.tracking.experiments.create(f"e{id(self)}-{home.n}"))
        home.n += 1
        self.runs = []
        for run in runs:
            self.add(run)

    def add(self, run):
        home, tracking = self.home, self.home.tracking
        named = {"started_ms": run["started"], "name": run["name"], "user": run["user"]}
        made = home.begin(self.experiment, **named)
        points = [("loss", value, 1, step) for step, value in enumerate(run["losses"])]
        points += [("auc", run["auc"], 1)] if run["auc"] is not None else []
        params = {"depth": run["depth"]} if run["depth"] is not None else {}
        tags = {"team": run["team"]} if run["team"] is not None else {}
        home.log(made, *points, params=params, tags=tags)
        home.do(tracking.update_run(made, status=run["status"], ended_ms=run["ended"]))
        if run["data"]:
            name, context = run["data"]
            tags = (InputTag("mlflow.data.context", context),)
            read = DatasetInput(name=name, digest="1", source_type="", source="", tags=tags)
            home.do(tracking.link(made, datasets=[read]))
        if run["deleted"]:
            home.do(tracking.move_run(made, deleted=True))
        self.runs.append({**run, "id": made})

    def by_id(self, id):
        return next(run for run in self.runs if run["id"] == id)

    def change(self, place, run):
        """Give a run further values, and a place among the deleted or not."""
        known, tracking = self.runs[place % len(self.runs)], self.home.tracking
        self.home.do(tracking.move_run(known["id"], deleted=False))
        if run["team"] is not None:
            known["team"] = run["team"]
            self.home.do(tracking.log(known["id"], tags={"team": run["team"]}))
        known["losses"] = known["losses"] + [1.5]
        self.home.log(known["id"], ("loss", 1.5, 1, len(known["losses"])))
        known["deleted"] = run["deleted"]
        self.home.do(tracking.move_run(known["id"], deleted=run["deleted"]))


# What is asked, in words and as a function of a run in memory


def stored(value):
    return value if math.isnan(value) else math.copysign(min(abs(value), 1.7976931348623157e308), value)


def metric(name):
    def value(run):
        found = run["losses"][-1:] if name == "loss" else [run["auc"]]
        return None if not found or found[0] is None else stored(found[0])

    return value


def best(run):
    numbers = [stored(value) for value in run["losses"] if not math.isnan(value)]
    return None if not run["losses"] else (min(numbers) if numbers else math.nan)


COMPARED = {
    "=": lambda one, other: one == other,
    "!=": lambda one, other: one != other,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
    "LIKE": lambda one, other: like(one, other),
    "ILIKE": lambda one, other: like(one.lower(), other.lower()),
}


def like(text, pattern):
    parts = {"%": ".*", "_": "."}
    return re.fullmatch("".join(parts.get(c, re.escape(c)) for c in pattern), text, re.DOTALL) is not None


def clause(name, value, operators, others, quote=lambda value: f"{value!r}"):
    def made(drawn):
        operator, other = drawn
        compared = COMPARED[operator]
        test = lambda run: value(run) is not None and compared(value(run), other)  # noqa: E731
        return f"{name} {operator} {quote(other)}", test

    return st.tuples(st.sampled_from(operators), st.sampled_from(others)).map(made)


ORDERED = ("=", "!=", "<", "<=", ">", ">=")
PATTERNS = ("=", "!=", "LIKE", "ILIKE")
PATTERN_WORDS = (*WORDS, "%", "3%", "_", "%B", "É%", "red", "FIN%", "ana")


def quoted(value):
    return "'" + value.replace("'", "''") + "'"


CLAUSES = st.one_of(
    clause("metrics.loss", metric("loss"), ORDERED, (-1.0, 0.0, 0.5, 3.0)),
    clause("metric.`auc`", metric("auc"), ORDERED, (-1.0, 0.0, 0.5, 3.0)),
    clause("params.depth", lambda run: run["depth"], PATTERNS, PATTERN_WORDS, quoted),
    clause("tags.team", lambda run: run["team"], PATTERNS, PATTERN_WORDS, quoted),
    clause("run_name", lambda run: run["name"], PATTERNS, PATTERN_WORDS, quoted),
    clause("attr.status", lambda run: run["status"], PATTERNS, ("FINISHED", "F%", "running"), quoted),
    clause("user_id", lambda run: run["user"], PATTERNS, PATTERN_WORDS, quoted),
    clause("start_time", lambda run: run["started"], ORDERED, (0.0, 1.0, 2.0, 3.0)),
    clause("end_time", lambda run: run["ended"], ORDERED, (0.0, 1.0, 2.0, 3.0)),
    st.sampled_from(
        [
            ("params.depth IS NULL", lambda run: run["depth"] is None),
            ("tags.team IS NOT NULL", lambda run: run["team"] is not None),
            ("params.none IS NULL", lambda run: True),
            ("metrics.none != 1", lambda run: False),
            ("dataset.name = 'd1'", lambda run: bool(run["data"]) and run["data"][0] == "d1"),
            ("dataset.name IN ('d2', 'd3')", lambda run: bool(run["data"]) and run["data"][0] == "d2"),
            ("datasets.context LIKE 'tr%'", lambda run: bool(run["data"]) and run["data"][1] == "train"),
        ]
    ),
)
FILTERS = st.lists(CLAUSES, max_size=3).map(
    lambda clauses: (
        " and ".join(text for text, _ in clauses),
        lambda run: all(test(run) for _, test in clauses),
    )
)
FIELDS = {
    "metrics.loss": metric("loss"),
    "metrics.auc": metric("auc"),
    "params.depth": lambda run: run["depth"],
    "tags.team": lambda run: run["team"],
    "start_time": lambda run: run["started"],
    "end_time": lambda run: run["ended"],
    "status": lambda run: run["status"],
    "run_name": lambda run: run["name"],
    "user_id": lambda run: run["user"],
    "run_id": lambda run: run["id"],
    "metrics.none": lambda run: None,
}
ORDERS = st.lists(
    st.tuples(st.sampled_from(list(FIELDS)), st.sampled_from(["ASC", "DESC"])),
    max_size=3,
    unique_by=lambda o: o[0],
)


def expected(runs, test, orders):
    """The ids of the runs that match, sorted by the last of the order first, which a stable sort allows."""
    found = sorted((run for run in runs if test(run)), key=lambda run: run["id"])
    found.sort(key=lambda run: run["started"], reverse=True)
    for name, way in reversed(orders):
        value = FIELDS.get(name, best)
        number = [run for run in found if value(run) is not None and value(run) == value(run)]
        number.sort(key=value, reverse=way == "DESC")
        nan = [run for run in found if value(run) is not None and value(run) != value(run)]
        found = number + nan + [run for run in found if value(run) is None]
    return [run["id"] for run in found]


@contextmanager
def way(name):
    kept = search.FEW, search.MOST_PROBED, search.MANY
    search.FEW, search.MOST_PROBED, search.MANY = WAYS[name]
    try:
        yield
    finally:
        search.FEW, search.MOST_PROBED, search.MANY = kept


def page(home, *experiments, **asked):
    with home.search.reading() as db:
        found = home.search.page(db, Query(tuple(experiments), **asked))
        return [run.id for run in reading.runs(db, found.runs)], found.token


def pages(home, *experiments, between=lambda: None, **asked):
    found, token = page(home, *experiments, **asked)
    while token:
        between()
        more, token = page(home, *experiments, token=token, **asked)
        found += more
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    made = TrackedHome(tmp_path_factory.mktemp("home"))
    made.n = 0
    made.search = RunSearch(made.tracking.recorder, made.tracking.series, Columns(most_bytes=2000))
    yield made
    made.close()


WORLD = st.lists(RUN, max_size=8)
WAY = st.sampled_from(list(WAYS))
VIEW = st.sampled_from(["ACTIVE_ONLY", "DELETED_ONLY", "ALL"])


def in_view(runs, view):
    return [run for run in runs if view == "ALL" or run["deleted"] == (view == "DELETED_ONLY")]


@settings(max_examples=150)
@given(runs=WORLD, filter=FILTERS, orders=ORDERS, view=VIEW, name=WAY, most=st.integers(1, 4))
def test_a_search_finds_what_a_naive_search_finds_in_its_order(home, runs, filter, orders, view, name, most):
    world = World(home, runs)
    text, test = filter
    asked = {"filter": text, "orders": tuple(" ".join(order) for order in orders), "view": view, "most": most}
    with way(name):
        assert pages(home, world.experiment, **asked) == expected(in_view(world.runs, view), test, orders)


@settings(max_examples=80)
@given(data=st.data(), runs=st.lists(RUN, min_size=1, max_size=6), filter=FILTERS, orders=ORDERS)
def test_what_changed_since_arrays_were_read_is_seen(home, data, runs, filter, orders):
    world = World(home, runs)
    text, test = filter
    asked = {"filter": text, "orders": tuple(" ".join(order) for order in orders), "most": 2}
    with way("over arrays"):
        page(home, world.experiment, **asked)
        for place, run in data.draw(st.lists(st.tuples(st.integers(0, 5), RUN), max_size=3)):
            world.change(place, run)
        world.add(data.draw(RUN))
        assert pages(home, world.experiment, **asked) == expected(
            in_view(world.runs, "ACTIVE_ONLY"), test, orders
        )


@settings(max_examples=60)
@given(runs=st.lists(RUN, min_size=3, max_size=6), added=RUN, orders=ORDERS, name=WAY)
def test_pages_skip_and_repeat_nothing_while_runs_are_added(home, runs, added, orders, name):
    world = World(home, [{**run, "deleted": False} for run in runs])
    before = expected(world.runs, lambda run: True, orders)
    asked = {"orders": tuple(" ".join(order) for order in orders), "most": 2}
    with way(name):
        found = pages(home, world.experiment, between=lambda: world.add({**added, "deleted": False}), **asked)
    assert [run for run in found if run in before] == before
    assert len(found) == len(set(found))


@settings(max_examples=40)
@given(one=WORLD, other=WORLD, filter=FILTERS, orders=ORDERS, name=WAY)
def test_several_experiments_are_one_list(home, one, other, filter, orders, name):
    first, second = World(home, one), World(home, other)
    text, test = filter
    asked = {"filter": text, "orders": tuple(" ".join(order) for order in orders), "most": 3}
    with way(name):
        found = pages(home, first.experiment, second.experiment, "12345678", first.experiment, **asked)
    assert found == expected(in_view(first.runs + second.runs, "ACTIVE_ONLY"), test, orders)


@settings(max_examples=60)
@given(runs=WORLD, parts=st.lists(FILTERS.filter(lambda filter: filter[0]), min_size=1, max_size=3), name=WAY)
def test_our_own_searches_know_or_and_the_least_of_a_metric(home, runs, parts, name):
    world = World(home, runs)
    text = " or ".join(f"({text})" for text, _ in parts)
    asked = {"filter": f"({text}) and min(metrics.loss) < 1", "orders": ("min(metrics.loss) DESC",)}

    def test(run):
        return any(test(run) for _, test in parts) and best(run) is not None and best(run) < 1

    with way(name):
        found = pages(home, world.experiment, most=2, grammar=OUR_RUNS, **asked)
    assert found == expected(in_view(world.runs, "ACTIVE_ONLY"), test, [("min", "DESC")])


def test_a_page_token_is_of_its_query(home):
    world = World(home, [])
    for _ in range(2):
        home.begin(world.experiment)
    token = page(home, world.experiment, most=1)[1]
    for asked in ({"filter": "start_time > 0"}, {"orders": ("status",)}, {"view": "ALL"}):
        with pytest.raises(InvalidInput, match="another query"):
            page(home, world.experiment, token=token, **asked)
    with pytest.raises(InvalidInput, match="another query"):
        page(home, "0", token=token)
    for garbage in ("garbage", "e30=", "eyJvZmZzZXQiOiAxfQ==", token[:-8]):
        with pytest.raises(InvalidInput, match="page token"):
            page(home, world.experiment, token=garbage)


def test_a_forged_token_is_refused(home):
    world = World(home, [])
    for _ in range(2):
        home.begin(world.experiment)
    asked = {"orders": ("status", "metrics.loss")}
    query, (_, started, id) = msgspec.json.decode(
        base64.urlsafe_b64decode(page(home, world.experiment, most=1, **asked)[1])
    )
    for marks in (
        [],
        [[0, 1.0], [0, 1.0]],
        [[0, "x"], [0, "x"]],
        [[7, None], [2, None]],
        [[2, "x"], [2, None]],
    ):
        forged = base64.urlsafe_b64encode(msgspec.json.encode([query, [marks, started, id]])).decode()
        with pytest.raises(InvalidInput, match="page token"):
            page(home, world.experiment, token=forged, **asked)


def test_a_search_that_takes_too_long_is_ended(home, monkeypatch):
    world = World(home, [])
    home.begin(world.experiment)
    monkeypatch.setattr(patience, "LONGEST_S", -1.0)
    monkeypatch.setattr(patience, "LONGEST_TO_READ_S", 0.0)
    monkeypatch.setattr(patience, "_LOOKS_EVERY", 1)
    with pytest.raises(InvalidInput, match="takes too long"):
        page(home, world.experiment, filter="params.a LIKE '%a%'")
    monkeypatch.undo()
    assert len(page(home, world.experiment)[0]) == 1


def test_a_pattern_with_many_wildcards_is_compared_at_once(home):
    world = World(home, [])
    home.log(home.begin(world.experiment), params={"long": "a" * 6000})
    for operator in ("LIKE", "ILIKE"):
        assert page(home, world.experiment, filter=f"params.long {operator} '{'%a' * 500}b'")[0] == []


@pytest.mark.parametrize("most", [0, -1, search.MOST_RESULTS + 1])
def test_a_page_has_a_size_that_it_can_have(home, most):
    with pytest.raises(InvalidInput, match="max_results"):
        page(home, "0", most=most)


def test_an_experiment_that_moved_is_seen_whole(home):
    world = World(home, [])
    home.begin(world.experiment)
    with way("over arrays"):
        assert len(page(home, world.experiment, orders=("status",))[0]) == 1
        home.do(home.tracking.experiments.move(world.experiment, deleted=True))
        assert page(home, world.experiment, orders=("status",))[0] == []
        assert len(page(home, world.experiment, orders=("status",), view="DELETED_ONLY")[0]) == 1


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("direction", ["ASC", "DESC"])
def test_what_is_no_number_comes_after_numbers_and_before_nothing(home, name, direction):
    world = World(home, [])
    plain = {"started": 1, "ended": None, "status": "RUNNING", "user": "", "name": "x", "auc": None}
    plain |= {"depth": None, "team": None, "data": None, "deleted": False}
    # The latest start comes first where nothing else decides: against the order that is asked for.
    for started, losses in enumerate([[], [math.nan], [], [math.nan], [2.0], [1.0]]):
        world.add({**plain, "started": started, "losses": losses})
    asked = {"orders": (f"metrics.loss {direction}",)}
    whole = expected(world.runs, lambda run: True, [("metrics.loss", direction)])
    with way(name):
        for most in (1, 2, 6):
            assert pages(home, world.experiment, most=most, **asked) == whole
        found = pages(home, world.experiment, filter="metrics.loss != 1", **asked)
    assert found == [id for id in whole if id in whole[:4] and world.by_id(id)["losses"] != [1.0]]


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("direction", ["ASC", "DESC"])
def test_a_page_goes_on_after_a_value_that_no_run_has_any_more(home, name, direction):
    world = World(home, [])
    runs = {team: home.begin(world.experiment, tags={"team": team}) for team in "acegi"}
    asked = {"orders": (f"tags.team {direction}",), "most": 2}
    with way(name):
        found, token = page(home, world.experiment, **asked)
        last = found[-1]
        home.do(home.tracking.untag_run(last, "team"))
        rest = []
        while token:
            more, token = page(home, world.experiment, token=token, **asked)
            rest += more
    order = [runs[team] for team in sorted(runs, reverse=direction == "DESC")]
    assert found + rest == [*order, last]


@pytest.mark.parametrize("name", WAYS)
def test_a_run_that_read_two_datasets_of_a_name_is_found_once(home, name):
    world = World(home, [])
    run = home.begin(world.experiment)
    named = {"name": "d1", "source_type": "", "source": ""}
    home.do(home.tracking.link(run, datasets=[DatasetInput(digest=digest, **named) for digest in "ab"]))
    with way(name):
        assert page(home, world.experiment, filter="dataset.name = 'd1'")[0] == [run]
