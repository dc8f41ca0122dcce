"""What an outcome counts for follows from the coins that are on record."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varv.kernel.clock import DAY, VirtualClock, instant
from varv.kernel.ledger import Append, Change
from varv.kernel.ledger_sqlite import SqliteLedger
from varv.labels.counting import Counted, counted, inverse_propensity
from varv.labels.model import Chosen, FeedbackGiven, LabelGiven, Remark, RequestsChosen, stream_of

NOW, M = instant("2026-03-01"), "late"


def chosen(*keys, probability, cause="random"):
    requests = tuple(Chosen(key=key, requested_at=NOW, cause=cause, probability=probability) for key in keys)
    more = {"model": M, "n_requests": 9, "n_all": 9, "n_explored": 0}
    return RequestsChosen(since=NOW - DAY, until=NOW, chosen=requests, **more)


def remark(key, weight, *, revised=False):
    remarks = (Remark(key=key, value=1, weight=weight),)
    return FeedbackGiven(model=M, source="app", known_at=NOW, remarks=remarks, revised=revised)


@pytest.fixture
def ledger():
    found = SqliteLedger(":memory:")
    yield found
    found.close()


def test_a_label_counts_for_those_that_were_chosen_and_not_labelled_as_well(ledger):
    clock = VirtualClock(NOW)

    def tell(*events):
        ledger.commit(Change(at=clock.now(), facts=tuple(Append(stream_of(M), one) for one in events)))

    tell(chosen("a", "b", "c", "d", probability=0.5), chosen("u", probability=1.0, cause="unsure"))
    tell(*(LabelGiven(model=M, key=key, by="ana", value=1, settles=key != "d") for key in "abd"))
    tell(LabelGiven(model=M, key="u", by="ana", value=0, settles=True), remark("f", 3.0), remark("f", 9.0))
    assert counted(ledger, M, NOW) == Counted({"a": 0.25, "b": 0.25, "u": 1.0}, {"f": 3.0})
    clock.move_to(NOW + DAY)
    tell(remark("f", 9.0, revised=True), LabelGiven(model=M, key="c", by="bo", value=0, settles=True))
    assert counted(ledger, M, NOW) == Counted({"a": 0.25, "b": 0.25, "u": 1.0}, {"f": 3.0})
    assert counted(ledger, M, NOW + DAY).chances["c"] == 0.375
    assert counted(ledger, M, NOW + DAY).feedback == {"f": 9.0}


@given(st.floats(0.05, 0.5), st.integers(0, 50))
def test_both_arms_of_a_rollout_together_count_as_one_version_did(share, n_before):
    n = 2000
    n_candidate = round(n * share)
    arms = [None] * n_before + ["candidate"] * n_candidate + ["champion"] * (n - n_candidate)
    shares = [None] * n_before + [n_candidate / n] * n
    rows = pl.DataFrame(
        {"key": [str(i) for i in range(len(arms))], "arm": arms, "share": shares},
        schema={"key": pl.String, "arm": pl.String, "share": pl.Float64},
    )
    weights = inverse_propensity(rows, Counted({}, {})).to_numpy()
    assert weights[n_before:].mean() == pytest.approx(1, abs=0.03)
    assert np.all(weights > 0)
