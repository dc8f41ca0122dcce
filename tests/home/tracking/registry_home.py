"""A home whose registry is written to and asked, over real files, which can be opened again or lost."""

from __future__ import annotations

from tests.loop.test_rules import POLICY

from varv.app.compose import TRACKING, open_engine, open_ledger, open_tracking
from varv.home.tracking import logged_search, registry_search
from varv.home.tracking.versions import create_version
from varv.kernel.clock import SystemClock
from varv.kernel.ledger import Append, Change
from varv.kernel.sagas import Message
from varv.loop.model import LoopStarted, RetrainAsked, RetrainTriggered
from varv.loop.plan import loop_id
from varv.registry import AliasMoved, VersionRegistered, reading
from varv.runs import Point
from varv.runs.logged import reading as logged_reading

BY_NOBODY_ELSE = (
    "points",
    "chunk",
    "sealed",
    "latest",
    "link",
    "linked",
    "artifact",
    "webhook_secret",
    "webhook_told",
)
"""Tables whose rows are in no entry."""


class RegistryHome:
    def __init__(self, folder, **options):
        self.folder, self.options = folder, options
        self.open()

    def open(self):
        self.ledger = open_ledger(self.folder, durability="process")
        self.desk = open_tracking(
            self.folder, self.ledger, SystemClock(), durability="process", **self.options
        )

    def close(self):
        self.desk.close()
        self.ledger.close()

    def reopened(self):
        self.close()
        self.open()
        return self

    def refolded(self):
        """Open the home again after its file of tables was lost."""
        self.close()
        for file in self.folder.glob(f"{TRACKING}*"):
            file.unlink()
        self.open()
        return self

    def rows(self):
        """Return all rows that follow from entries, by table."""
        with self.desk.recorder.reading() as db:
            tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return {
                table: sorted(db.execute(f"SELECT * FROM {table}").fetchall(), key=repr)
                for table in tables
                if table not in BY_NOBODY_ELSE
            }

    def do(self, write):
        return self.desk.recorder.do(write)

    # What clients do

    def begin(self):
        return self.do(self.desk.runs.create_run("0"))

    def register(self, name, **said):
        self.do(self.desk.models.create(name, **said))

    def version(self, name, source="", **said):
        if not source:
            said["run"] = said.get("run") or self.begin()
            source = f"runs:/{said['run']}/model"
        return self.do(create_version(self.desk.models, self.desk.logged, name, source, **said)).number

    def log_model(self, **said):
        return self.do(self.desk.logged.create("0", **said))

    def measure(self, run, *points):
        self.do(self.desk.runs.log(run, points=[Point(*point) for point in points]))

    # What loops do

    def declare(self, name, first_version=1, guards=()):
        engine = open_engine(self.ledger, SystemClock())
        started = LoopStarted(policy=POLICY, declaration="0" * 64, first_version=first_version)
        engine.tell(Message(loop_id(name), started), guards=guards)

    def retrain(self, name):
        """Have the loop begin a candidate, and return its number."""
        engine = open_engine(self.ledger, SystemClock())
        entries = engine.tell(Message(loop_id(name), RetrainAsked(by="ana", reason="to see")))
        return next(entry.event.version for entry in entries if isinstance(entry.event, RetrainTriggered))

    def train(self, name, version):
        moved = AliasMoved(model=name, alias="champion", version=version, previous=None)
        facts = (Append(f"model/{name}", trained(name, version)), Append(f"model/{name}", moved))
        self.ledger.commit(Change(at=SystemClock().now(), facts=facts))
        self.settle()

    def settle(self):
        """Have the tables show what others have put into the ledger."""
        head = self.ledger.head().version
        while True:
            with self.desk.recorder.reading() as db:
                if db.execute("SELECT seq FROM applied").fetchone()[0] >= head:
                    return

    # What is asked

    def model(self, name):
        with self.desk.recorder.reading() as db:
            return reading.registered_model(db, name)

    def numbers(self, filter="", **said):
        with self.desk.recorder.reading() as db:
            page = registry_search.versions(db, filter, **said)
            return [(one.model, one.number) for one in reading.versions(db, page.numbers)]

    def names(self, filter="", **said):
        with self.desk.recorder.reading() as db:
            page = registry_search.models(db, filter, **said)
            return [one.name for one in reading.registered_models(db, page.numbers)]

    def found(self, name, version):
        with self.desk.recorder.reading() as db:
            return reading.version(db, name, version)

    def logged(self, id, **said):
        with self.desk.recorder.reading() as db:
            return logged_reading.logged_model(db, id, **said)

    def logged_names(self, filter="", **said):
        with self.desk.recorder.reading() as db:
            page = logged_search.logged_models(db, ["0"], filter, **said)
            return [one.name for one in logged_reading.logged_models(db, page.numbers)]


def trained(name, version):
    """Return the event by which a loop registers a version."""
    return VersionRegistered(
        model=name,
        version=version,
        package="a" * 64,
        reference="b" * 64,
        signature=("x",),
        estimator="trees",
        trained_from=0,
        held_out_from=1,
        cutoff=2,
        n_rows=3,
        n_validation=1,
        metrics={},
        params={},
        seed=0,
        code="c" * 64,
        environment="d" * 64,
        datasets=(),
        pipeline_key="e" * 64,
        work=3,
    )
