"""A restart from snapshots: the same features as from everything, whatever became of the files."""

from __future__ import annotations

import json
import shutil
from typing import NamedTuple

import polars as pl
import pytest
from tests.app.serving import Server, eventually, varv

from varv.app.compose import open_ledger, open_snapshots, open_views
from varv.app.server.memory import Memory
from varv.data import Datasets
from varv.data.intake import Batch
from varv.features import FeatureEngine
from varv.kernel.clock import HOUR, SystemClock
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ids import Version
from varv.kernel.secret import SECRET_FILE, Secret
from varv.kernel.snapshots import SNAPSHOTS, Position
from varv.project import load_project

PARCEL = {"district": "harbour", "courier": "eli", "distance_km": 4.5, "weight_kg": 1.2, "hour": 18}

pytestmark = pytest.mark.slow


class Lived(NamedTuple):
    """A home that was served, killed, served again and killed again."""

    home: object
    file: object


def said(server, keys):
    for key in keys:
        assert server.predict(key, **PARCEL).status_code == 200
        rows = [{"delivery_id": key, "late": 1}]
        assert server.act("outcome.record", model="late-parcel", rows=rows).status_code == 200


def taken_in(home, key):
    found = json.loads(varv(home, "why", key, "--json", check=False))
    return True if len(found.get("sources", ())) >= 2 else None


def found(home, of):
    return list((home / SNAPSHOTS).glob(f"{of}.deliveries~*.snapshot"))


@pytest.fixture(scope="module")
def lived(served_project, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lived")
    home, file = folder / "home", served_project(folder)
    server = Server(home, file)
    # The first intake compacts, and has snapshots written.
    eventually(lambda: True if all(found(home, of) for of in ("keys", "features")) else None)
    said(server, ["one", "two"])
    eventually(lambda: taken_in(home, "two"))
    server.kill()
    server = Server(home, file)
    said(server, ["three"])
    eventually(lambda: taken_in(home, "three"))
    server.kill()
    return Lived(home, file)


@pytest.fixture
def home(lived, tmp_path):
    """A copy, since tests change it."""
    return shutil.copytree(lived.home, tmp_path / "home")


class Opened:
    """What a worker would remember of a home, and what features it would find."""

    def __init__(self, home, file):
        self.home, self.plan = home, load_project(str(file)).plans()[0]
        self.ledger = open_ledger(home, read_only=True)
        self.secret = Secret(home / SECRET_FILE)
        views, columns = open_views(self.ledger), FolderColumns(home / "columns")
        self.datasets = Datasets(self.ledger, columns, SystemClock(), views, self.secret)
        self.dataset = self.plan.schema.requests

    def remembered(self, folder=None):
        """Return what is remembered from the snapshots in a folder, those of the home by default."""
        memory = Memory(self.secret, open_snapshots(folder or self.home))
        FeatureEngine(self.plan.schema.features, self.dataset, memory.features)
        memory.restore(self.datasets, [self.dataset], self.ledger)
        return memory

    def features(self, memory):
        engine = FeatureEngine(self.plan.schema.features, self.dataset, memory.features)
        rows = self.datasets.read_part(self.dataset, self.dataset.event_time)
        last = rows[self.dataset.event_time].cast(pl.Int64).max()
        asked = rows.tail(40).with_columns(pl.lit(last + HOUR).cast(pl.Datetime("us", "UTC")).alias("now"))
        found = engine.lookup(asked, "now")
        return found, memory.ever_empty(self.dataset)

    def same(self, tmp_path, memory):
        found, expected = self.features(memory), self.features(self.remembered(tmp_path / "nothing"))
        assert found[0].equals(expected[0])
        assert found[1] == expected[1]
        assert expected[0]["courier_lately.late_mean_7d"].null_count() < 40


@pytest.fixture
def opened(home, lived):
    made = Opened(home, lived.file)
    yield made
    made.ledger.close()


def test_a_home_that_was_killed_has_the_features_of_everything_from_a_snapshot_and_what_came_after(
    opened, tmp_path
):
    memory = opened.remembered()
    versions = len(opened.datasets.versions(opened.dataset))
    assert 0 < memory._kept[opened.dataset.name] < versions
    opened.same(tmp_path, memory)


def test_a_snapshot_of_what_was_observed_after_a_restart_holds_it_all(opened, tmp_path):
    memory = opened.remembered()
    head = opened.ledger.head()
    version = Version(len(opened.datasets.versions(opened.dataset)))
    memory.keep([opened.dataset], Position(head.version, head.hash), {opened.dataset.name: version})
    memory.close()
    again = opened.remembered()
    assert again._kept[opened.dataset.name] == version
    opened.same(tmp_path, again)


def test_files_that_are_not_what_was_written_change_nothing(opened, home, lived, tmp_path):
    for file in (home / SNAPSHOTS).iterdir():
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    memory = opened.remembered()
    assert not memory._kept
    opened.same(tmp_path, memory)
    server = Server(home, lived.file)
    said(server, ["after"])
    eventually(lambda: taken_in(home, "after"))
    assert server.stop() == 0


def test_an_orderly_end_leaves_a_snapshot_of_everything_that_verify_and_plan_pass_over(home, lived, tmp_path):
    server = Server(home, lived.file)
    said(server, ["last"])
    eventually(lambda: taken_in(home, "last"))
    assert server.stop() == 0
    report = json.loads(varv(home, "verify", "--json"))
    assert report["ok"]
    assert not [name for name in report["unread"] if SNAPSHOTS in name]
    varv(home, "plan", str(lived.file))
    opened = Opened(home, lived.file)
    n_versions = len(opened.datasets.versions(opened.dataset))
    assert opened.remembered()._kept[opened.dataset.name] == n_versions
    # A copy elsewhere has the same ledger and secret, so it takes them as well.
    copied = Opened(shutil.copytree(home, tmp_path / "copy"), lived.file)
    assert copied.remembered()._kept[opened.dataset.name] == n_versions
    opened.ledger.close()
    copied.ledger.close()


def test_a_batch_that_is_told_again_changes_nothing(opened, tmp_path):
    memory = opened.remembered()
    for part in opened.dataset.parts:
        rows = opened.datasets.later(opened.dataset, part, Version(0))
        memory.rows_known(Batch(opened.dataset, part, rows))
    opened.same(tmp_path, memory)


def test_an_owner_that_is_killed_while_it_writes_leaves_what_was_before(home, lived, tmp_path):
    before = {path.name.split("~")[0] for path in (home / SNAPSHOTS).iterdir()}
    # The first intake after a start compacts, and then writes.
    server = Server(home, lived.file, wait=False, fault="snapshots.before_rename:1:kill")
    assert server.process.wait(120) == 137
    left = [path.name for path in (home / SNAPSHOTS).iterdir()]
    # A worker may have put a newer one in the place of its own by then, and removed the draft that was left.
    assert before <= {name.split("~")[0] for name in left if not name.startswith(".")}
    opened = Opened(home, lived.file)
    assert opened.remembered()._kept
    opened.same(tmp_path, opened.remembered())
    opened.ledger.close()
