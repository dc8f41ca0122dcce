"""A home that runs are moved into, over real files, and what is in it as its clients would see it."""

from __future__ import annotations

from varv.adapters.moving import open_mlflow
from varv.app.compose import open_ledger, open_tracking
from varv.home.moving import Importing, LocalTaker
from varv.kernel.clock import SystemClock
from varv.registry import reading as registry_reading
from varv.registry.model import VersionScanned
from varv.runs import reading
from varv.runs.histories import points_of
from varv.runs.logged import reading as logged_reading
from varv.runs.reading import experiments


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
        found = VersionScanned.event_name
        return [(entry.stream, entry.name, entry.data) for entry in self.ledger.read() if entry.name != found]

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

    def logged_model(self, id):
        return self.read(logged_reading.logged_model, id)
