"""A live home whose requests people label."""

from __future__ import annotations

import numpy as np
from tests.home.live_home import LiveHome
from tests.loop.synthetic import declared

import varv
from varv.data.versioning.keeping import Versions
from varv.data.versioning.verbs import VersionsDesk
from varv.home.labelling.desk import Labelling
from varv.home.labelling.verbs import GiveRequest, TakeRequest, give, take
from varv.home.review.verbs import Reviews
from varv.home.tables import Tables

M = "late-parcel"


class Labelled(LiveHome):
    """A live home whose requests are labelled, with some requests of the day before."""

    def __init__(self, folder, *, serving=None, n=60, **labelling):
        [model] = declared().models
        given = {"budget": 10, "double": 0.0, "lease": "1h"} | labelling
        model.labelling, model.serving = varv.Labelling(**given), serving
        super().__init__(folder, model, declaration="1" * 64)
        rng = np.random.default_rng(4)
        for number in range(n):
            row = {"load": [float(rng.random())], "heat": [float(rng.normal())], "route": ["north"]}
            self.answering.answer(row, f"n{number}")
        self.ingest()
        self.later(1)

    @property
    def labelling(self):
        home = self.home
        tables = Tables(home.folder, home.ledger, home.views, self.clock, most_rows=None)
        versions = Versions(home.datasets, home.views, home.ledger, self.clock, lambda name: {})
        return Labelling(
            tables=tables,
            views=home.views,
            ledger=home.ledger,
            clock=self.clock,
            reviews=Reviews(tables=tables, views=home.views, clock=self.clock, engine=home.engine),
            engine=home.engine,
            inbox=self.inbox,
            versions=VersionsDesk(
                home.folder,
                home.datasets,
                home.views,
                home.ledger,
                versions,
                self.live.rewrite,
                home.lock,
                flows=True,
            ),
        )

    def take(self, by="ana", n=100):
        return take(self.labelling, TakeRequest(by=by, n=n)).questions

    def give(self, key, value, by="ana", **more):
        return give(self.labelling, GiveRequest(key=key, by=by, value=value, **more))

    def outcomes(self):
        self.ingest()
        rows = self.labelling.rows(M, 0, self.clock.now() + 1).drop_nulls("outcome")
        return dict(rows.filter(rows["key"].str.starts_with("n")).select("key", "outcome").iter_rows())
