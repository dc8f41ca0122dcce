"""A home holds one replay: it is gone on with, kept, or set aside whole, and never mixed with another."""

from __future__ import annotations

import polars as pl
import pytest
from tests.loop.synthetic import declared, entries_of, head_of, parcels, quietly, replayed

import varv
from varv.app.compose import open_ledger
from varv.app.replaying import read_comparison, run_replay
from varv.kernel.clock import Instant
from varv.kernel.codec import Event, event
from varv.kernel.errors import FailedPrecondition, InvalidDeclaration
from varv.kernel.ledger import Append, Change
from varv.project import plan_of, replay_digest

pytestmark = pytest.mark.slow

TIME = pl.Datetime("us", "UTC")
SHORT = "2024-03-23T00:00:00Z"


@event("test.live_started")
class LiveStarted(Event, frozen=True):
    """Stands for what a live model would write."""


def digest(replay):
    return replay_digest(replay, [plan_of(model) for model in replay.models])


def short(**options) -> varv.Replay:
    return declared(until=SHORT, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    home = tmp_path_factory.mktemp("finished")
    return home, replayed(short(), home)


def test_the_comparison_is_beside_the_ledger(finished):
    home, comparison = finished
    kept = read_comparison(home)
    assert kept is not None
    assert kept.models == (comparison,)
    assert comparison.policies[0].cpu_s is not None
    assert read_comparison(home / "nowhere") is None


def test_no_measurement_of_the_machine_is_in_the_ledger(finished):
    home, _ = finished
    last = entries_of(home)[-1]
    assert last.name == "replay.policies_compared"
    assert last.event.comparison.policies[0].cpu_s is None
    assert str(home).encode() not in b"".join(entry.data for entry in entries_of(home))


@pytest.mark.slow
def test_another_policy_is_replayed_without_running_the_finished_one_again(finished, tmp_path):
    replayed(short(), tmp_path)
    n_before = len(entries_of(tmp_path))
    watched = []
    run_replay(short(references=("never",)), tmp_path, lambda name, progress, entries: watched.append(name))
    assert set(watched) == {"never"}
    assert [entry.name for entry in entries_of(tmp_path)[n_before:]] == ["replay.policies_compared"]


@pytest.mark.slow
def test_those_who_watch_see_every_entry_once_and_in_order(tmp_path):
    seen = []
    run_replay(short(), tmp_path, lambda name, progress, entries: seen.extend(entries), declared_only=True)
    kept = entries_of(tmp_path)
    assert seen == kept[: len(seen)]
    assert [entry.name for entry in kept[len(seen) :]] == ["replay.finished", "replay.policies_compared"]


@pytest.mark.slow
def test_a_fresh_replay_sets_the_finished_one_aside(tmp_path):
    replayed(short(), tmp_path)
    run_replay(short(), tmp_path, quietly, declared_only=True, fresh=True)
    run_replay(short(), tmp_path, quietly, declared_only=True, fresh=True)
    kept = sorted((tmp_path / "replays").iterdir())
    assert len(kept) == 2
    assert {head_of(path) for path in kept} == {head_of(tmp_path)}


def test_other_data_under_the_same_declaration_set_the_old_replay_aside(tmp_path):
    replayed(short(), tmp_path)
    before = head_of(tmp_path)
    changed = parcels().with_columns(load=pl.col("load").round(2))
    assert digest(short()) == digest(short(past=changed))
    replayed(short(past=changed), tmp_path)
    [aside] = (tmp_path / "replays").iterdir()
    assert head_of(aside) == before


def test_what_is_not_a_replays_own_is_not_moved(tmp_path):
    (tmp_path / "parcels.py").write_text("import varv")
    (tmp_path / "data").mkdir()
    replayed(short(), tmp_path)
    run_replay(short(), tmp_path, quietly, declared_only=True, fresh=True)
    assert (tmp_path / "parcels.py").exists()
    assert (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 8},
        {"on": ("schedule:9d",)},
        {"until": "2024-03-24T00:00:00Z"},
        {"plants": (varv.Plant("leaky", at="2024-03-22", column="delay"),)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_is_declared_otherwise_makes_another_replay(change):
    assert digest(declared(**({"until": SHORT} | change))) != digest(short())


def test_a_derived_feature_that_is_computed_otherwise_makes_another_replay():
    def derived(factor):
        replay = short()
        replay.models[0].features = (
            *replay.models[0].features,
            varv.derived("twice", pl.col("load") * factor),
        )
        return digest(replay)

    assert derived(2) == derived(2)
    assert derived(2) != derived(3)


def test_the_history_of_a_live_model_is_never_replaced(tmp_path):
    ledger = open_ledger(tmp_path)
    ledger.commit(Change(at=Instant(0), facts=(Append("live", LiveStarted()),)))
    ledger.close()
    with pytest.raises(FailedPrecondition, match=r"holds the history of a live model.*another home"):
        replayed(short(), tmp_path)
    assert [entry.name for entry in entries_of(tmp_path)] == ["test.live_started"]


def test_a_declaration_that_cannot_work_touches_nothing(tmp_path):
    replay = short()
    replay.models[0].features = ("late",)
    with pytest.raises(InvalidDeclaration, match="would leak"):
        replayed(replay, tmp_path / "home")
    assert not (tmp_path / "home").exists()


_ALL_LOST = r"answered nothing .*100\.0% of the rows of .*asked_at were not used.* in quarantine"


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda rows: rows.clear(), "answered nothing"),
        (lambda rows: rows.with_columns(parcel=pl.lit(None, pl.String)), _ALL_LOST),
        (lambda rows: rows.with_columns(asked_at=pl.lit(None, TIME)), _ALL_LOST),
        (lambda rows: rows.with_columns(late=pl.lit(None, pl.Boolean)), "answered nothing"),
        (lambda rows: rows.with_columns(late=pl.lit(value=True)), "answered nothing"),
        (
            lambda rows: rows.with_columns(arrived_at=pl.lit(None, TIME)),
            "answered nothing",
        ),
        (lambda rows: rows.head(40), "answered nothing"),
    ],
    ids=["empty", "no keys", "no times", "null outcomes", "one outcome", "never known", "few rows"],
)
def test_bad_data_end_in_a_clear_error_and_a_ledger_that_verifies(tmp_path, spoil, problem):
    from varv.app.verifying import verify_report

    with pytest.raises(FailedPrecondition, match=problem):
        replayed(short(past=spoil(parcels())), tmp_path)
    if (tmp_path / "ledger.db").exists():
        assert verify_report(tmp_path).ok


@pytest.mark.slow
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e300], ids=str)
def test_numbers_at_the_ends_of_the_line_are_borne(tmp_path, value):
    odd = pl.when(pl.col("parcel").str.ends_with("7")).then(value).otherwise(pl.col("heat"))
    comparison = replayed(short(past=parcels().with_columns(heat=odd)), tmp_path)
    assert comparison.policies[0].n > 100


@pytest.mark.slow
def test_texts_of_every_kind_are_borne(tmp_path):
    odd = (
        pl.when(pl.col("parcel").str.ends_with("7"))
        .then(pl.lit("../ö\u202e\n'\";--"))
        .otherwise(pl.col("route"))
    )
    comparison = replayed(short(past=parcels().with_columns(route=odd)), tmp_path)
    assert comparison.policies[0].n > 100
