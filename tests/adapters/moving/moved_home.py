"""A home that runs are moved into, over real files, and what is in it as its clients would see it."""

from __future__ import annotations

from varv.adapters.moving import open_mlflow
from varv.app.compose import open_ledger, open_tracking
from varv.home.moving import Importing, LocalTaker
from varv.kernel.clock import SystemClock
from varv.kernel.stated_tags import free
from varv.registry import reading as registry_reading
from varv.registry.model import VersionScanned
from varv.runs import reading
from varv.runs.histories import points_of
from varv.runs.logged import reading as logged_reading
from varv.runs.logged.model import ModelDescribed
from varv.runs.reading import experiments
from varv.runs.traces import reading as trace_reading


def _found_in_files(event):
    if isinstance(event, ModelDescribed):
        return bool(event.tags) and not free(event.tags)
    return isinstance(event, VersionScanned)


class MovedHome:
    """A home, open."""

    def __init__(self, folder):
        folder.mkdir()
        self.folder = folder
        self.ledger = open_ledger(folder, durability="process")
        self.desk = open_tracking(folder, self.ledger, SystemClock(), durability="process")

    def take(self, source, **how):
        try:
            return Importing(source, LocalTaker(self.desk, source.name), **how).run()
        finally:
            source.close()

    def take_mlflow(self, uri, artifacts=None, **how):
        return self.take(open_mlflow(str(uri), {}, artifacts), **how)

    def taken(self):
        """Return the entries of what was brought; what a thread finds in files comes when it comes."""
        entries = (entry for entry in self.ledger.read() if not _found_in_files(entry.event))
        return [(entry.stream, entry.name, entry.data) for entry in entries]

    def close(self):
        self.desk.close()
        self.ledger.close()

    def read(self, look, *asked, **how):
        with self.desk.recorder.reading() as db:
            return look(db, *asked, **how)

    def experiments(self):
        def look(db):
            rows = db.execute("SELECT no FROM experiment ORDER BY no").fetchall()
            return {one.name: one for one in experiments(db, [no for (no,) in rows])}

        return self.read(look)

    def runs(self):
        def look(db):
            rows = db.execute("SELECT id FROM run ORDER BY started_ms, id").fetchall()
            return {one.name: one for one in (reading.run(db, id) for (id,) in rows)}

        return self.read(look)

    def history(self, run, metric):
        found = self.read(points_of, run, metric)
        return [tuple(point) for point in found[["at", "step", "value"]].tolist()]

    def files(self, owner):
        def look(db):
            rows = db.execute("SELECT path, digest FROM artifact WHERE owner = ? ORDER BY path", (owner,))
            return {path: self.desk.runs.blobs.get(digest) for path, digest in rows.fetchall()}

        return self.read(look)

    def versions(self, name):
        def look(db):
            rows = db.execute("SELECT no FROM version ORDER BY number").fetchall()
            found = registry_reading.versions(db, [no for (no,) in rows])
            return {one.number: one for one in found if one.model == name}

        return self.read(look)

    def registered(self, name):
        return self.read(registry_reading.registered_model, name)

    def traces(self):
        def look(db):
            numbers = [no for (no,) in db.execute("SELECT no FROM trace ORDER BY at_ms")]
            return {one.info.id: one for one in trace_reading.traces(db, numbers)}

        return self.read(look)

    def spans(self, trace):
        return self.read(trace_reading.spans, self.traces()[trace], partial=True)

    def traces_of(self, target):
        def look(db):
            asked = "SELECT trace FROM trace_link WHERE target = ? ORDER BY trace"
            return [trace for (trace,) in db.execute(asked, (target,))]

        return self.read(look)

    def logged_model(self, id):
        return self.read(logged_reading.logged_model, id)
