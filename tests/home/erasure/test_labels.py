"""Labels of a subject's requests are forgotten with them, and no entry names them once more."""

from __future__ import annotations

import polars as pl
from tests.home.erasure.people import People

from varv.home.erasure.labels import SubjectLabels
from varv.home.erasure.rows import Store
from varv.kernel.clock import instant
from varv.kernel.faults import Faults
from varv.kernel.sagas import Fact
from varv.labels.model import Chosen, FeedbackGiven, LabelsErased, Remark, RequestsChosen, stream_of
from varv.labels.views import LabelsView

DAY = instant("2014-01-31")


def test_requests_of_a_subject_wait_for_no_label_any_more(tmp_path):
    home = People(tmp_path / "home")
    store = Store(home.datasets, home.columns, home.views, home.secret, Faults())
    kinds = {"requested_at": DAY, "cause": "random", "probability": 1.0}
    chosen = RequestsChosen(
        model="m",
        since=DAY,
        until=DAY,
        n_requests=2,
        n_all=2,
        n_explored=0,
        chosen=tuple(Chosen(key=key, **kinds) for key in ("k1", "k2")),
    )
    said = FeedbackGiven(model="m", source="app", known_at=DAY, remarks=(Remark(key="k3", value=True),))
    home.datasets.commit([Fact(stream_of("m"), one) for one in (chosen, said)])
    labels = SubjectLabels(store, "m", pl.Series(["k1", "k3", "k9"]))
    assert labels.n_items() == 2
    labels.erase("e1")
    assert labels.n_items() == 0
    with home.views.reading(LabelsView) as view:
        assert set(view.of("m").items) == {"k2"}
        assert view.of("m").feedback == {}
    last = home.ledger.read(home.ledger.head().version - 1)[0].event
    assert isinstance(last, LabelsErased)
    assert not {"k1", "k3"} & set(last.keys)
    home.close()
