"""Pulls: what is new comes once, wherever a pull ends."""

from __future__ import annotations

import polars as pl
import pytest
from tests.data.ingestion.sources import TYPES, Pulls, Shop

from varv.data import Csv, Dataset, Frame
from varv.data.ingestion.views import PullsView
from varv.data.sources import steps as stepping
from varv.data.views import DatasetsView
from varv.kernel.clock import DAY, HOUR
from varv.kernel.errors import FailedPrecondition, InvalidInput, Unavailable, VarvError
from varv.kernel.faults import Crash, Faults


@pytest.fixture
def shop(tmp_path):
    made = Shop(tmp_path)
    made.say("a", 1, 10, changed=1)
    made.say("b", 2, 20, changed=2, done=3, late=1)
    return made


def counts(pulled) -> tuple[int, ...]:
    return pulled.n_read, pulled.n_new, pulled.n_known, pulled.n_different, pulled.n_changed


def test_each_pull_brings_what_is_new_and_what_became_known(tmp_path, shop):
    pulls = Pulls(tmp_path, shop.source())
    assert counts(pulls.pull()) == (2, 3, 0, 0, 0)
    assert pulls.rows() == {"a": (10, None), "b": (20, True)}
    shop.say("a", 1, 10, changed=3, done=5, late=0)
    shop.say("c", 4, 30, changed=3)
    # The row at the boundary is read again and known.
    found = pulls.pull()
    assert (found.n_read, found.n_new, found.n_known) == (3, 2, 2)
    assert pulls.rows() == {"a": (10, False), "b": (20, True), "c": (30, None)}
    version = pulls.datasets.version(pulls.dataset)
    assert pulls.pull().version == version


def test_a_row_that_was_committed_as_late_as_the_last_one_is_not_missed(tmp_path, shop):
    pulls = Pulls(tmp_path, shop.source())
    pulls.pull()
    shop.say("z", 9, 90, changed=2)
    assert pulls.pull().n_new == 1
    assert pulls.rows()["z"] == (90, None)


def test_rows_that_are_said_otherwise_are_counted_and_left_unless_merged(tmp_path, shop):
    pulls = Pulls(tmp_path, shop.source())
    pulls.pull()
    shop.say("a", 1, 99, changed=3)
    assert pulls.pull().n_different == 1
    assert pulls.rows()["a"] == (10, None)
    (tmp_path / "merged").mkdir()
    merging = Pulls(tmp_path / "merged", shop.source(), updates="merge")
    merging.pull()
    shop.say("a", 1, 77, changed=4)
    found = merging.pull()
    assert (found.n_changed, found.n_new) == (1, 0)
    assert merging.rows()["a"] == (77, None)
    assert merging.datasets.read(merging.dataset, version=2)["size"].to_list() == [99, 20]


def test_rows_that_the_source_has_no_more_go_when_keys_are_compared(tmp_path, shop):
    pulls = Pulls(tmp_path, shop.source(), deletes="1d")
    pulls.pull()
    shop.forget("b")
    assert pulls.pull().n_removed == 0
    pulls.clock.move_to(pulls.clock.now() + DAY)
    assert pulls.pull().n_removed == 2
    assert pulls.rows() == {"a": (10, None)}
    shop.say("b", 2, 21, changed=5)
    assert pulls.pull().n_new == 1
    shop.forget("a")
    shop.forget("b")
    pulls.clock.move_to(pulls.clock.now() + DAY)
    with pytest.raises(InvalidInput, match="has no row any more"):
        pulls.pull()
    assert len(pulls.rows()) == 2


def test_a_failure_is_on_record_once_an_hour_until_a_pull_ends_well(tmp_path, shop):
    pulls = Pulls(tmp_path, shop.source())
    pulls.pull()
    shop.path.rename(tmp_path / "away.db")
    for _ in range(3):
        with pytest.raises(Unavailable, match="cannot be read"):
            pulls.pull()
    with pulls.views.reading(PullsView) as view:
        state = view.state("trips")
        assert (state.n_failures, state.failed.code) == (1, "unavailable")
    pulls.clock.move_to(pulls.clock.now() + HOUR)
    with pytest.raises(Unavailable):
        pulls.pull()
    (tmp_path / "away.db").rename(shop.path)
    pulls.pull()
    with pulls.views.reading(PullsView) as view:
        assert (view.state("trips").n_failures, view.state("trips").failed) == (2, None)


def test_a_dataset_without_a_history_is_not_pulled(tmp_path, shop):
    pulls = Pulls(tmp_path, shop.source())
    unknown = Dataset("others", source=shop.source(), key="id", event_time="at")
    with pytest.raises(FailedPrecondition, match="has no history yet"):
        pulls.puller.pull(unknown)


@pytest.mark.parametrize("point", ["pull.after_step", "pull.after_merge", "columns.before_rename"])
def test_a_pull_that_dies_goes_on_without_losing_or_doubling_a_row(tmp_path, shop, point, monkeypatch):
    monkeypatch.setattr(stepping, "BATCH_ROWS", 3)
    for number in range(10):
        shop.say(f"k{number}", 3 + number, number, changed=5 + number // 4)
    pulls = Pulls(tmp_path, shop.source(), updates="merge")
    pulls.pull()
    for number in range(20):
        shop.say(f"k{number}", 3 + number % 20, 100 + number, changed=20 + number // 4)
    n_crashes = 0
    for nth in range(1, 40):
        pulls.faults = Faults(point, nth=nth)
        pulls.reopen()
        try:
            pulls.pull()
            break
        except Crash:
            n_crashes += 1
    assert n_crashes or point.startswith("columns")
    pulls.faults = None
    pulls.reopen()
    pulls.pull()
    assert pulls.rows() == {
        "a": (10, None),
        "b": (20, True),
        **{f"k{number}": (100 + number, None) for number in range(20)},
    }
    with pulls.views.reading(DatasetsView) as view:
        assert not view.arrivals.quarantine()


def test_text_that_does_not_fit_the_stored_types_goes_to_quarantine(tmp_path):
    (tmp_path / "in").mkdir()
    head = "id,at,size,done_at,late\n"
    (tmp_path / "in" / "1.csv").write_text(f"{head}a,2013-01-01,1,,\nb,2013-01-02 10:00,2,2013-01-03,true\n")
    pulls = Pulls(tmp_path, Csv(str(tmp_path / "in" / "*.csv")))
    assert pulls.pull().n_new == 3
    (tmp_path / "in" / "2.csv").write_text(f"{head}c,2013-01-03,many,,\nd,yesterday,4,,\ne,2013-01-05,5,,\n")
    found = pulls.pull()
    assert (found.n_read, found.n_new, found.n_aside) == (3, 1, 2)
    assert pulls.rows() == {"a": (1, None), "b": (2, True), "e": (5, None)}
    with pulls.views.reading(DatasetsView) as view:
        [held] = view.arrivals.quarantine()
    assert set(pulls.datasets.rows_put_aside(held)["size"]) == {"many", "4"}
    (tmp_path / "in" / "2.csv").touch()
    again = pulls.pull()
    assert (again.n_read, again.n_new, again.n_aside) == (3, 0, 0)


def test_files_that_were_read_are_not_read_again_and_one_cut_short_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(stepping, "BATCH_ROWS", 2)
    file = tmp_path / "rows.csv"
    rows = "".join(f"k{number},2013-01-0{number + 1},{number},,\n" for number in range(7))
    file.write_text(f"id,at,size,done_at,late\n{rows}")
    pulls = Pulls(tmp_path, Csv(str(file)))
    found = pulls.puller.pull(pulls.dataset, stopped=lambda: True)
    assert (found.done, found.n_read) == (False, 2)
    pulls.reopen()
    found = pulls.pull()
    assert (found.done, found.n_read, found.n_known) == (True, 5, 0)
    assert pulls.pull().n_read == 0
    assert len(pulls.rows()) == 7


def test_whatever_a_function_raises_is_a_failure_of_the_source(tmp_path):
    state = ["fine"]

    def rows() -> pl.DataFrame:
        if state != ["fine"]:
            raise RuntimeError("out of order")
        return pl.DataFrame(schema=TYPES)

    pulls = Pulls(tmp_path, Frame(rows))
    state[0] = "broken"
    with pytest.raises(Unavailable, match="RuntimeError: out of order"):
        pulls.pull()
    with pulls.views.reading(PullsView) as view:
        assert view.state("trips").n_failures == 1


def test_a_source_that_is_no_longer_read_the_same_begins_anew(tmp_path, shop):
    pulls = Pulls(tmp_path, shop.source())
    pulls.pull()
    pulls.dataset.source = shop.source(watermark="")
    found = pulls.pull()
    assert (found.n_read, found.n_new) == (2, 0)
    assert isinstance(pulls.datasets.read(pulls.dataset), pl.DataFrame)
    assert issubclass(Unavailable, VarvError)


def test_personal_keys_are_known_again_by_their_pseudonyms(tmp_path, shop):
    pulls = Pulls(tmp_path, shop.source(), pii={"id": "pseudonymise"}, deletes="1d")
    assert pulls.pull().n_new == 3
    kept = pulls.rows()
    assert not {"a", "b"} & set(kept)
    shop.say("c", 4, 30, changed=3)
    assert counts(pulls.pull())[:3] == (2, 1, 1)
    assert set(kept) < set(pulls.rows())
    assert len(pulls.rows()) == 3
