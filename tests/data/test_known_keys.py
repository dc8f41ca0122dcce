"""Keys kept in a snapshot: what comes after a restart is sorted out as by one that never ended."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.data.test_service import TRIPS, TYPES, base, done

from varv.data import Dataset, Datasets, DatasetsView, Frame, key_runs
from varv.kernel.clock import VirtualClock, instant
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ledger_sqlite import SqliteLedger
from varv.kernel.secret import Secret
from varv.kernel.snapshots import Position, Snapshots
from varv.kernel.views import Views


class Home:
    """Datasets of one home, which may be opened again."""

    def __init__(self, folder):
        self.folder = folder
        self.ledger = SqliteLedger(":memory:")
        self.columns = FolderColumns(folder / "columns", durable=False)
        self.views = Views(self.ledger, DatasetsView)
        self.datasets = self.opened()
        self.n_batches = 0

    def opened(self, *, kept=True):
        secret = Secret(self.folder / "digest.key")
        snapshots = Snapshots(self.folder / "snapshots", secret, "1", durable=False) if kept else None
        clock = VirtualClock(instant("2013-02-01"))
        return Datasets(self.ledger, self.columns, clock, self.views, secret, snapshots)

    def take(self, batch):
        self.n_batches += 1
        part, frame = batch
        self.datasets.append(TRIPS, part, frame, segment=f"s{self.n_batches}")

    def keep(self, dataset=TRIPS):
        head = self.ledger.head()
        write = self.datasets.keep_keys(dataset, Position(head.version, head.hash))
        return write is not None and write()

    def known(self, datasets):
        """Return what is remembered of every key that the tests use, and what waits."""
        keys = pl.DataFrame({"id": [f"t{i}" for i in range(12)]})
        hashes = keys.hash_rows(seed=0).to_numpy()
        index = datasets.keys.of(TRIPS)
        found = [[list(map(str, one)) for one in index.find(part, hashes)] for part in TRIPS.parts]
        return (
            found,
            datasets.keys.n_waiting_for(TRIPS, "done_at", keys),
            datasets.keys.event_times(TRIPS, keys),
        )


def hour(n):
    return dt.datetime(2013, 1, 1, tzinfo=dt.UTC) + dt.timedelta(hours=n)


ROW = st.tuples(st.booleans(), st.integers(0, 11), st.integers(0, 5))
BATCHES = st.lists(st.lists(ROW, min_size=1, max_size=4), max_size=8)


def frames(batches):
    made = []
    for rows in batches:
        bases = [(f"t{i}", hour(at), at) for is_base, i, at in rows if is_base]
        laters = [(f"t{i}", hour(at + 3), at % 2 == 0) for is_base, i, at in rows if not is_base]
        made += [("at", base(*bases))] if bases else []
        made += [("done_at", done(*laters))] if laters else []
    return made


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=BATCHES, cut=st.integers(0, 16), filed=st.booleans())
def test_keys_of_a_snapshot_and_what_came_after_are_those_of_everything(
    tmp_path_factory, batches, cut, filed
):
    with pytest.MonkeyPatch.context() as patch:
        if filed:
            patch.setattr(key_runs, "ROWS_IN_MEMORY", 2)
            patch.setattr(key_runs, "_STEP", 3)
        home, made = Home(tmp_path_factory.mktemp("home")), frames(batches)
        for batch in made[:cut]:
            home.take(batch)
        kept = home.keep() if made[:cut] else False
        for batch in made[cut:]:
            home.take(batch)
        again, anew = home.opened(), home.opened(kept=False)
        assert home.known(again) == home.known(anew) == home.known(home.datasets)
        assert kept == bool(made[:cut])


def test_after_a_restart_only_later_batches_are_read(tmp_path):
    home = Home(tmp_path)
    home.take(("at", base(("t1", hour(1), 1))))
    assert home.keep()
    home.take(("done_at", done(("t1", hour(2), True))))
    for path in (tmp_path / "columns" / "data" / "trips" / "at").iterdir():
        path.unlink()
    home.columns = FolderColumns(tmp_path / "columns", durable=False)
    home.datasets = home.opened()
    home.take(("at", base(("t1", hour(1), 1), ("t2", hour(1), 1))))
    with home.views.reading(DatasetsView) as view:
        assert view.arrivals.counts("trips", "at").n_equal == 1
        assert view.arrivals.counts("trips", "done_at").n_waiting == 0


def test_a_batch_that_is_not_committed_is_in_no_snapshot(tmp_path):
    home = Home(tmp_path)
    assert not home.keep()
    prepared = home.datasets.prepare_append(TRIPS, "at", base(("t1", hour(1), 1)), segment="s1")
    assert not home.keep()
    home.datasets.commit(prepared.facts)
    assert home.keep()


def test_keys_of_a_version_that_another_writer_made_are_in_no_snapshot(tmp_path):
    home = Home(tmp_path)
    home.take(("at", base(("t1", hour(1), 1))))
    home.opened(kept=False).remove(TRIPS, "at", pl.DataFrame({"id": ["t1"]}))
    assert not home.keep()
    home.take(("at", base(("t2", hour(2), 1))))
    assert home.keep()


def test_a_dataset_that_gained_a_column_reads_everything_anew(tmp_path):
    home = Home(tmp_path)
    home.take(("at", base(("t1", hour(1), 1))))
    assert home.keep()
    source = Frame(pl.DataFrame(schema={**TYPES, "weight": pl.Float64}))
    wider = Dataset("trips", source=source, key="id", event_time="at", known_at={"done_at": ["late"]})
    again, anew = home.opened(), home.opened(kept=False)
    keys = pl.DataFrame({"id": ["t1"]}).hash_rows(seed=0).to_numpy()
    found, expected = again.keys.of(wider).find("at", keys), anew.keys.of(wider).find("at", keys)
    assert found.rows.tolist() == expected.rows.tolist()
    assert found.rows.tolist() != home.datasets.keys.of(TRIPS).find("at", keys).rows.tolist()
