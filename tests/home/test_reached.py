"""How far back a home looks at its rows: that stays warm, and what does not is not needed to go on."""

from __future__ import annotations

import shutil

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.data.tiers.stores import TierStore
from tests.data.versioning.stores import TRIPS, base, done, trips
from tests.home.live_home import LiveHome
from tests.home.test_change import changed

import varv
from varv.data.intake import Intake
from varv.data.tiers import Reach
from varv.data.tiers.rounds import ArchiveRounds
from varv.data.tiers.verbs import (
    ArchiveRequest,
    RestoreRequest,
    TiersRequest,
    archive,
    restore,
    show_tiers,
    tier_desk,
)
from varv.data.versioning.verbs import offline_versions
from varv.features import FeatureEngine, FeatureSet, FeatureStore, definitions_of
from varv.features.observed import PATIENCE
from varv.home.archived import require_in_reach, spans_of
from varv.home.model import ReplayAdvanced
from varv.home.named_versions import named_versions
from varv.home.reached import reached
from varv.kernel.clock import DAY, HOUR, Duration, Instant, as_datetime, instant
from varv.kernel.columns import TIME
from varv.kernel.errors import FailedPrecondition, InvalidDeclaration, InvalidInput
from varv.kernel.sagas import Fact

VIEW, MODEL = "view recent of late-parcel", "late-parcel, whose outcomes these are"


def desk_of(live):
    home = live.home
    versions = offline_versions(
        home.folder, home.ledger, home.views, home.clock, lambda of: named_versions(home.views, of)
    )
    return tier_desk(versions, home.clock, lambda of: reached(home.views, home.ledger, of))


def test_views_and_outcomes_say_how_far_back_they_are_looked_at(lived, tmp_path):
    live = lived(tmp_path / "home")
    home = live.home
    assert set(reached(home.views, home.ledger, "parcels")) == {
        Reach("arrived_at", Duration(24 * HOUR), VIEW),
        Reach("asked_at", Duration(24 * HOUR + PATIENCE), VIEW),
        Reach("arrived_at", None, MODEL),
    }
    assert reached(home.views, home.ledger, "others") == []
    home.engine.tell(facts=[Fact("home", ReplayAdvanced(through=live.clock.now(), n_requests=1))])
    assert Reach("", None, "a replay that is not finished") in reached(home.views, home.ledger, "parcels")
    live.close()


def test_a_home_whose_old_rows_are_archived_starts_and_goes_on(lived, tmp_path):
    live = lived(tmp_path / "home")
    desk = desk_of(live)
    asked = ArchiveRequest(dataset="parcels", before="2024-04-15")
    assert archive(desk, asked).kept == {
        f"{VIEW}, which looks back 93d": 1,
        f"{MODEL}, which looks at all rows": 1,
    }
    live.clock.move_to(instant("2024-07-20"))
    told = archive(desk, replace(asked, dry_run=True))
    assert (told.moved, told.n_files, told.n_rows) == (False, 1, 3622)
    moved = archive(desk, asked)
    assert replace(moved, moved=False) == told
    assert moved.kept == {f"{MODEL}, which looks at all rows": 1}
    [shown] = show_tiers(desk, TiersRequest()).datasets
    assert [(one.n_warm_files, one.n_cold_files) for one in shown.parts] == [(1, 1), (3, 0)]
    assert shown.parts[0].n_cold_bytes == moved.n_bytes
    assert shown.archive_after == ""
    live.close()
    shutil.rmtree(tmp_path / "home" / "snapshots", ignore_errors=True)
    again = LiveHome(tmp_path / "home")
    again.answering.answer({"load": [0.5], "heat": [0.0], "route": ["north"]}, "one")
    assert again.ingest() == 1
    dataset = again.home.declared[0]
    with pytest.raises(FailedPrecondition, match="varv data restore parcels"):
        again.home.datasets.read(dataset)
    assert again.home.datasets.read_part(dataset, "asked_at", warm_only=True).height == 3579
    assert restore(desk_of(again), RestoreRequest(dataset="parcels")).n_files == 1
    assert again.home.datasets.read(dataset).height == 3622 + 3579
    again.close()


def test_a_view_that_looks_at_archived_rows_is_refused_before_it_is_served(lived, tmp_path):
    live = lived(tmp_path / "home")
    live.clock.move_to(instant("2024-07-20"))
    assert archive(desk_of(live), ArchiveRequest(dataset="parcels", before="2024-04-15")).n_files == 1
    plans = [parts.plan for parts in live.home.models.values()]
    require_in_reach(live.home.datasets, plans, live.clock.now())
    with pytest.raises(FailedPrecondition, match="varv data restore parcels"):
        require_in_reach(live.home.datasets, plans, instant("2024-05-02"))
    live.close()

    def wide(source):
        loads = varv.windows("load", "mean", over=["150d"])
        return varv.FeatureView("wide", source=source, entity="route", features=loads)

    with pytest.raises(FailedPrecondition, match="varv data restore parcels"):
        LiveHome(tmp_path / "home", changed(wide), capture="two", declaration="1" * 64)


def test_what_is_archived_without_an_age_has_to_be_said(lived, tmp_path):
    live = lived(tmp_path / "home")
    desk = desk_of(live)
    with pytest.raises(InvalidInput, match="does not say when"):
        archive(desk, ArchiveRequest(dataset="parcels"))
    with pytest.raises(InvalidInput, match="a time and an age"):
        archive(desk, ArchiveRequest(dataset="parcels", older="1d", before="2024-01-01"))
    live.close()


REQUESTS = {"entity": "size", "source": TRIPS, "available_at": "done_at"}
VIEWS = [
    varv.FeatureView("last", features=["late"], ttl="3d", **REQUESTS),
    varv.FeatureView(
        "share", features=varv.windows("late", ["mean", "count"], over=["2d", "5d"]), **REQUESTS
    ),
]


def found_by(store, now, **options):
    """Return the features of requests of the last day, from what is stored."""
    memory = FeatureStore()
    engine = FeatureEngine(FeatureSet(VIEWS, TRIPS), TRIPS, memory)
    Intake(store.datasets, [memory]).restore([TRIPS], **options)
    instants = [as_datetime(now - hours * HOUR) for hours in (0, 5, 11, 23) for _ in range(4)]
    columns = {"id": [str(n) for n in range(16)], "size": [0, 1, 2, 3] * 4, "at": instants}
    asked = pl.DataFrame(columns, schema_overrides={"at": TIME})
    return engine.lookup(asked, at="at")


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 3), st.integers(170, 290), st.integers(0, 95), st.booleans()), max_size=30
    )
)
def test_what_is_archived_is_seen_by_no_request(tmp_path_factory, rows):
    store = TierStore(tmp_path_factory.mktemp("store"))
    for number, (size, day, delay, late) in enumerate(rows):
        store.append("at", base((f"k{number}", day + 1, size)), f"w-{number:06d}")
        store.append("done_at", done((f"k{number}", day + delay + 1, late)), f"w-{number:06d}")
    now = Instant(instant("2013-01-01") + 296 * DAY)
    store.clock.move_to(Instant(instant("2014-02-01") + 2 * DAY))
    definitions = definitions_of(FeatureSet(VIEWS, TRIPS))
    spans = {span for one in definitions for span in spans_of(one, "at")}
    # The rows are of a year before the clock, and requests of their time.
    behind = store.clock.now() - now
    store.reached = [Reach(part, Duration(span + behind), "views") for part, span in spans]
    whole = found_by(store, now)
    store.tiers.archive(TRIPS, now)
    assert found_by(store, now, warm_only=True).equals(whole)
    if any(day + delay < 283 for _, day, delay, _ in rows):
        assert store.cold()


def test_a_server_archives_what_is_declared_and_leaves_what_was_restored(tmp_path, caplog):
    store = TierStore(tmp_path)
    dataset = trips(archive="300d")
    store.datasets.commit(store.datasets.register(dataset))
    for day in (1, 2, 200):
        store.append("at", base((f"k{day}", day, day)), f"w-{day:06d}")
    store.clock.move_to(store.clock.now() + 2 * DAY)
    rounds = ArchiveRounds(store.tiers, [dataset, TRIPS], store.clock)
    assert rounds.beat() == 2
    assert rounds.beat() == 0
    store.restore()
    assert rounds.beat() == 0
    store.clock.move_to(store.clock.now() + 8 * DAY)
    store.columns.file_of("data/trips/at", "w-000001").write_bytes(b"broken")
    with caplog.at_level("ERROR"):
        assert rounds.beat() == 0
    assert "data.not_archived" in caplog.text


def test_a_dataset_is_published_or_archived():
    with pytest.raises(InvalidDeclaration, match="both published and archived"):
        trips(archive="400d", publish="1h")
    with pytest.raises(InvalidDeclaration, match="has archive='soon'"):
        trips(archive="soon")
