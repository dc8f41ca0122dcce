"""A home's tracking, over real files, which can be opened again."""

from __future__ import annotations

import pytest

from varv.app.compose import open_ledger, open_tracking
from varv.kernel.clock import SystemClock
from varv.kernel.faults import Faults
from varv.runs import Point, reading


class TrackedHome:
    def __init__(self, folder):
        self.folder = folder
        self.open()

    def open(self, faults=None):
        faults = faults or Faults()
        self.ledger = open_ledger(self.folder, durability="process", faults=faults)
        self.desk = open_tracking(
            self.folder, self.ledger, SystemClock(), durability="process", faults=faults
        )
        self.tracking = self.desk.runs

    def close(self):
        self.desk.close()
        self.ledger.close()

    def reopened(self, faults=None):
        self.close()
        self.open(faults)

    def do(self, write):
        return self.tracking.recorder.do(write)

    def begin(self, experiment="0", **said):
        return self.do(self.tracking.create_run(experiment, **said))

    def log(self, run, *points, **said):
        self.do(self.tracking.log(run, points=[Point(*point) for point in points], **said))

    def run(self, id):
        with self.tracking.recorder.reading() as db:
            return reading.run(db, id)

    def metrics(self, id):
        return {one.name: one.glance for one in self.run(id).metrics}


@pytest.fixture
def home(tmp_path):
    made = TrackedHome(tmp_path)
    yield made
    made.close()
