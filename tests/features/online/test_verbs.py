"""The list of feature views, beside a server and without one."""

from __future__ import annotations

from tests.features.online.homes import VIEWS, OnlineHome, base, later

from varv.app.server.measures import of_online
from varv.features.online.verbs import ListOnline, OnlineDesk, list_online
from varv.kernel.clock import DAY, MINUTE


def test_rows_that_came_too_late_for_every_feature_are_listed_by_a_server(tmp_path):
    home = OnlineHome(tmp_path)
    home.append("at", base([(1, 0, "ann", 1, 1.0, "red"), (2, 300, "ann", 1, 3.0, "red")]))
    home.append("done_at", later([(1, 93 * DAY // MINUTE, 5.0), (2, 400, 6.0)]))
    own = home.views, home.datasets, home.clock, home.store, lambda: VIEWS, home.materialiser
    served = OnlineDesk(*own, progress=home.engine(VIEWS).store.progress)
    found = {one.view: one.n_too_late for one in list_online(served, ListOnline()).views}
    assert found == {"last": 0, "colors": 0, "paid": 1, "recent": 0, "costs": 1, "all": 0}
    [family] = [one for one in of_online(served.shown()) if one.name.endswith("too_late_rows_total")]
    assert {one.labels["view"]: one.value for one in family.samples} == found
    alone = list_online(OnlineDesk(*own), ListOnline()).views
    assert {one.n_too_late for one in alone} == {None}
