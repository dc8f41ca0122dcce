"""Predictions never show an outcome before it was known, and a restart changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.loop.synthetic import declared

import varv
from varv.data.outcomes import OutcomeSpec
from varv.kernel import table_folder
from varv.kernel.catalogue import Catalogue, Compacted, Extent
from varv.kernel.clock import DAY, HOUR, Duration, Instant
from varv.kernel.columns import TIME
from varv.kernel.content import rows_digest
from varv.kernel.errors import Conflict, InvalidDeclaration
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ids import ModelName
from varv.project import plan_of
from varv.project.wording import settings_of
from varv.serving import batches, stored
from varv.serving.long_times import long_matured
from varv.serving.predictions import Predictions
from varv.serving.scores import answer_schema
from varv.serving.stored import Stored
from varv.tasks import task_of

ANSWER_SCHEMA = answer_schema(task_of("binary"))
MODEL = ModelName("late-parcel")
OUTCOME = plan_of(declared().models[0]).outcome
ANSWER = {
    "version": 1,
    "arm": "champion",
    "share": 0.0,
    "coin": None,
    "epoch": 1,
    "score": 0.5,
    "champion": 1,
    "champion_score": 0.5,
    "candidate": None,
    "candidate_score": None,
    "former": None,
    "former_score": None,
    "champion_ms": None,
    "candidate_ms": None,
    "answered_by": None,
    "flagged": None,
    "logged_share": None,
}


def predictions(*requests: tuple[str, int]) -> pl.DataFrame:
    frame = pl.DataFrame([{"key": key, "requested_at": at, "x": 1.0, **ANSWER} for key, at in requests])
    return frame.with_columns(pl.col("requested_at").cast(TIME)).cast(ANSWER_SCHEMA)


def outcomes(*known: tuple[str, int, int]) -> pl.DataFrame:
    schema = {"key": pl.String, "outcome": pl.Int8, "known_at": pl.Int64}
    return pl.DataFrame(list(known), schema=schema, orient="row").with_columns(pl.col("known_at").cast(TIME))


class Kept:
    """What the columns and datasets of a world hold."""

    def __init__(self, folder: Path) -> None:
        self.columns = FolderColumns(folder, durable=False)
        self.catalogue = Catalogue()
        self.known = outcomes()

    def predictions(self, most_held: int = 1000, outcome: OutcomeSpec = OUTCOME) -> Predictions:
        def known(since: int, known_by: int | None) -> pl.DataFrame:
            until = 10**18 if known_by is None else known_by
            return self.known.filter(pl.col("known_at").to_physical().is_between(since, until))

        return Predictions(
            MODEL,
            self.columns,
            outcome,
            Stored(self.catalogue.extents, lambda: self.catalogue.n_rows, known, most_held),
        )

    def count(self, segment: str, rows: pl.DataFrame) -> None:
        """Put a segment on record."""
        times, number = rows["requested_at"].to_physical(), self.catalogue.n + 1
        span = {"first": times.min(), "last": times.max()}
        digest = rows_digest(rows)
        self.catalogue.add(Extent(name=segment, digest=digest, n_rows=rows.height, number=number, **span))

    def compact(self, telemetry: Predictions) -> None:
        for made in telemetry.stored.compact(*self.catalogue.compactable()):
            self.catalogue.compacted(Compacted(file=made.file, segments=made.segments), made.first, made.last)


@pytest.fixture
def telemetry(tmp_path):
    return Kept(tmp_path).predictions()


def shown(frame: pl.DataFrame) -> list[tuple[str, int | None]]:
    return list(frame.select("key", "outcome").iter_rows())


def at(instant: int) -> Instant:
    return Instant(instant)


def test_an_outcome_is_seen_from_the_instant_at_which_it_is_known(telemetry):
    telemetry.predicted("s1", predictions(("a", 10), ("b", 20)))
    telemetry.known(outcomes(("a", 1, 50)))
    for known_by, expected in ((49, None), (50, 1), (51, 1)):
        assert shown(telemetry.matured(at(0), at(100), known_by=at(known_by))) == [
            ("a", expected),
            ("b", None),
        ]
    assert shown(telemetry.labelled(at(0), at(100), known_by=at(49))) == []
    assert telemetry.n_labelled(at(100), known_by=at(49)) == 0
    assert telemetry.n_labelled(at(100), known_by=at(50)) == 1
    assert telemetry.n_labelled(at(10), known_by=at(50)) == 0


def test_segments_of_older_homes_are_completed(tmp_path):
    kept = Kept(tmp_path)
    old = predictions(("a", 10)).drop("coin", "former", "former_score")
    kept.columns.append("predictions", "s1", old)
    kept.count("s1", old)
    telemetry = kept.predictions()
    telemetry.restore()
    telemetry.predicted("s2", predictions(("b", 20)))
    rows = telemetry.requested(at(0), at(100))
    assert rows["key"].to_list() == ["a", "b"]
    assert rows["former"].to_list() == [None, None]


def test_a_window_holds_its_beginning_and_not_its_end(telemetry):
    telemetry.predicted("s1", predictions(("a", 10), ("b", 20), ("c", 30)))
    assert telemetry.requested(at(10), at(30))["key"].to_list() == ["a", "b"]


def test_rows_come_in_the_order_of_the_requests(telemetry):
    telemetry.predicted("s1", predictions(("b", 20), ("a", 20), ("c", 5)))
    telemetry.known(outcomes(("a", 1, 60), ("c", 0, 70)))
    assert shown(telemetry.matured(at(0), at(100), known_by=at(100))) == [("c", 0), ("a", 1), ("b", None)]


def test_the_first_outcome_of_a_key_stands(telemetry):
    telemetry.predicted("s1", predictions(("a", 10)))
    telemetry.known(outcomes(("a", 1, 50)))
    telemetry.known(outcomes(("a", 0, 60)))
    assert shown(telemetry.labelled(at(0), at(100), known_by=at(100))) == [("a", 1)]


def test_nothing_is_an_empty_frame_with_every_column(telemetry):
    empty = telemetry.matured(at(0), at(100), known_by=at(100))
    assert empty.height == 0
    assert {"key", "requested_at", "outcome", "known_at", *ANSWER_SCHEMA} <= set(empty.columns)
    telemetry.known(outcomes())
    assert telemetry.n_labelled(at(10**15), known_by=at(10**15)) == 0


def test_the_same_segment_again_is_refused_with_other_rows(telemetry):
    telemetry.predicted("s1", predictions(("a", 10)))
    with pytest.raises(Conflict):
        telemetry.predicted("s1", predictions(("b", 10)))


def test_outcomes_of_requests_that_nobody_made_label_nothing(telemetry):
    telemetry.predicted("s1", predictions(("a", 10)))
    telemetry.known(outcomes(("zz", 1, 20)))
    assert shown(telemetry.matured(at(0), at(100), known_by=at(100))) == [("a", None)]


DELAYS = st.lists(
    st.tuples(st.integers(0, 5 * DAY), st.integers(0, 3 * DAY), st.integers(0, 1)), min_size=1, max_size=30
)


@pytest.fixture
def unmerged(monkeypatch):
    """Batches stay as small as they come, so that a few rows make many of them."""
    monkeypatch.setattr(batches, "BLOCK", 1)
    monkeypatch.setattr(stored, "BLOCK", 1)


@pytest.mark.parametrize("most_held", [1, 4, 100])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    DELAYS,
    st.integers(0, 6 * DAY),
    st.integers(0, 6 * DAY),
    st.integers(0, 9 * DAY),
    st.integers(1, 5),
    st.booleans(),
    st.sampled_from([1, 2, 100]),
)
def test_what_is_seen_is_what_a_plain_loop_over_the_rows_sees(
    tmp_path_factory, unmerged, most_held, rows, since, until, by, n_batches, restarted, many
):
    """Against brute force: however requests and outcomes were batched and stored together, and however few
    are held.
    """
    kept = Kept(tmp_path_factory.mktemp("columns"))
    telemetry = kept.predictions(most_held)
    keyed = [(f"k{number}", *row) for number, row in enumerate(sorted(rows))]
    for number in range(n_batches):
        part = [(key, asked) for key, asked, _, _ in keyed[number::n_batches]]
        if part:
            telemetry.predicted(f"s{number}", predictions(*part))
            kept.count(f"s{number}", predictions(*part))
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(table_folder, "_MANY", many)
                kept.compact(telemetry)
    if restarted:
        telemetry = kept.predictions(most_held)
        telemetry.restore()
    arrived = sorted(keyed, key=lambda row: row[1] + row[2])
    for number in range(0, len(arrived), 7):
        batch = arrived[number : number + 7]
        known = outcomes(*((key, truth, asked + delay) for key, asked, delay, truth in batch))
        telemetry.known(known)
        kept.known = pl.concat([kept.known, known])
    expected = {
        key: truth if asked + delay <= by else None
        for key, asked, delay, truth in keyed
        if since <= asked < until
    }
    seen = shown(telemetry.matured(at(since), at(until), known_by=at(by)))
    in_order = sorted(keyed, key=lambda row: (row[1], row[0]))
    assert seen == [(key, expected[key]) for key, *_ in in_order if key in expected]
    counted = telemetry.n_labelled(at(until), known_by=at(by))
    assert counted == sum(asked < until and asked + delay <= by for _, asked, delay, _ in keyed)


def test_what_is_held_does_not_grow_and_what_is_not_is_read_from_the_columns(tmp_path, unmerged):
    kept = Kept(tmp_path)
    telemetry = kept.predictions(50)
    for number in range(40):
        keys = [f"{number}-{n}" for n in range(10)]
        rows = predictions(*((key, number * HOUR) for key in keys))
        telemetry.predicted(f"s{number}", rows)
        kept.count(f"s{number}", rows)
        known = outcomes(*((key, 1, number * HOUR + 1) for key in keys))
        kept.known = pl.concat([kept.known, known])
        telemetry.known(known)
    assert telemetry._held(at(0), at(40 * HOUR), None)[0].height <= 55
    assert len(telemetry._truths) <= 55
    assert len(telemetry._known_at) <= 100
    everything = telemetry.labelled(at(0), at(40 * HOUR), known_by=at(40 * HOUR), columns=("x",))
    assert (everything.height, everything.columns) == (400, ["x", "outcome", "known_at"])
    assert telemetry.labelled(at(HOUR), at(3 * HOUR), known_by=at(2 * HOUR)).height == 10
    seen = [telemetry.n_labelled(at(10**15), known_by=at(n * HOUR + 1)) for n in (0, 20, 39)]
    assert seen == [10, 210, 400]

    assert len(telemetry._segments) <= 6

    again = kept.predictions(50)
    again.restore()
    again.known(kept.known)
    assert again._held(at(0), at(40 * HOUR), None)[0].height <= 55
    for since, until in ((0, 40), (30, 40), (39, 40), (2, 4)):
        window = at(since * HOUR), at(until * HOUR)
        expected = telemetry.matured(*window, known_by=at(38 * HOUR))
        assert expected.equals(again.matured(*window, known_by=at(38 * HOUR)))


def test_an_outcome_that_is_asked_for_by_name_comes_once(telemetry):
    telemetry.predicted("s1", predictions(("a", 10)))
    rows = telemetry.matured(at(0), at(100), known_by=at(100), columns=("requested_at", "outcome"))
    assert rows.columns == ["requested_at", "outcome", "known_at"]


def test_a_restart_sees_what_was_there_before(tmp_path):
    kept = Kept(tmp_path)
    telemetry = kept.predictions()
    for segment, rows in (("s1", predictions(("a", 10), ("b", 20))), ("s2", predictions(("c", 3 * HOUR)))):
        telemetry.predicted(segment, rows)
        kept.count(segment, rows)
    for outcome in (outcomes(("a", 1, 50)), outcomes(("c", 0, 4 * HOUR))):
        telemetry.known(outcome)
    again = kept.predictions()
    again.restore()
    again.known(outcomes(("a", 1, 50), ("c", 0, 4 * HOUR)))
    for since, until, by in ((0, 100, 60), (0, DAY, DAY), (15, DAY, HOUR)):
        one = telemetry.matured(at(since), at(until), known_by=at(by))
        assert one.equals(again.matured(at(since), at(until), known_by=at(by)))


@pytest.mark.slow
def test_predictions_that_come_one_at_a_time_are_not_held_one_at_a_time(telemetry):
    for number in range(300):
        telemetry.predicted(f"s{number}", predictions((f"k{number}", 7 * number % 300)))
        telemetry.known(outcomes((f"k{number}", number % 2, 1000 - number)))
    assert len(telemetry._batches) < 10
    seen = telemetry.matured(at(0), at(300), known_by=at(900))
    truth = {f"k{number}": number % 2 if number >= 100 else None for number in range(300)}
    assert dict(shown(seen)) == truth
    assert telemetry.n_labelled(at(300), known_by=at(900)) == 200


def test_predictions_with_other_features_stay_apart(telemetry):
    telemetry.predicted("s1", predictions(("a", 10)))
    telemetry.predicted("s2", predictions(("b", 20)).with_columns(y=2.0))
    telemetry.known(outcomes(("a", 1, 50), ("b", 0, 50)))
    for since, key, truth in ((0, "a", 1), (15, "b", 0)):
        assert shown(telemetry.labelled(at(since), at(since + 15), known_by=at(60))) == [(key, truth)]


# --- what counts where no outcome comes --------------------------------------------------------------------

NO_CLAIM = replace(OUTCOME, no_outcome=0, mature=Duration(12 * HOUR))


@pytest.mark.parametrize("most_held", [1, 100])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(DELAYS)
def test_a_request_without_outcome_counts_as_declared_once_it_is_mature(tmp_path_factory, most_held, rows):
    kept = Kept(tmp_path_factory.mktemp("columns"))
    telemetry = kept.predictions(most_held, NO_CLAIM)
    keyed = [(f"k{number}", *row) for number, row in enumerate(sorted(rows))]
    for number, (key, asked, _, _) in enumerate(keyed):
        telemetry.predicted(f"s{number}", predictions((key, asked)))
        kept.count(f"s{number}", predictions((key, asked)))
    kept.known = outcomes(*sorted(((k, t, a + d) for k, a, d, t in keyed), key=lambda one: one[2]))
    telemetry.known(kept.known)
    for by in (at(2 * DAY), at(4 * DAY), at(9 * DAY)):
        said = {}
        for key, asked, delay, truth in keyed:
            if delay >= 0 and asked + delay <= by:
                said[key] = (truth, asked + delay)
            elif asked + 12 * HOUR <= by:
                said[key] = (0, asked + 12 * HOUR)
        found = telemetry.labelled(at(0), at(9 * DAY), known_by=by, columns=("key",))
        known_at = found["known_at"].to_physical()
        values = zip(found["outcome"], known_at, strict=True)
        assert dict(zip(found["key"], values, strict=True)) == said
        long = long_matured(telemetry, at(0), at(9 * DAY), known_by=by, columns=())
        assert long["outcome"].drop_nulls().sum() == sum(value for value, _ in said.values())
        for until in (at(DAY), at(3 * DAY)):
            before = [key for key, asked, *_ in keyed if asked < until and key in said]
            assert telemetry.n_labelled(until, known_by=by) == len(before)


def test_a_value_that_is_no_outcome_of_the_task_is_refused():
    model = declared().models[0]
    model.outcome = varv.Outcome("late", known_at="arrived_at", no_outcome=2)
    with pytest.raises(InvalidDeclaration, match="no_outcome=2"):
        model.validate()
    model.outcome = varv.Outcome("late", known_at="arrived_at", mature="12h", no_outcome=0)
    model.validate()
    assert settings_of(plan_of(model))["no outcome"] == "0 after 12h"
