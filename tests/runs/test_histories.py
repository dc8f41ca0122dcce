from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varv.kernel.errors import InvalidInput
from varv.runs import histories
from varv.runs.histories import page_of, sampled
from varv.runs.model import DatasetInput, InputTag
from varv.runs.points import distinct, in_order, packed, read

POINTS = st.lists(
    st.tuples(
        st.just(1),
        st.integers(0, 1),
        st.integers(0, 3),
        st.integers(-1, 2),
        st.sampled_from([-1.0, 0.0, 0.5, math.nan]),
    ),
    max_size=30,
)


@given(points=POINTS, most=st.integers(1, 5))
def test_pages_of_a_history_are_the_whole(points, most):
    whole = in_order(distinct(read([packed(points)])))
    parts, token = page_of(whole, most, "")
    found = [parts]
    while token:
        parts, token = page_of(whole, most, token)
        found.append(parts)
    assert np.concatenate(found).tobytes() == whole.tobytes()
    assert all(len(part) == most for part in found[:-1])


def test_a_page_token_of_a_history_is_one_that_was_given():
    for token in ("garbage", "e30=", "WzEsMl0="):
        with pytest.raises(InvalidInput, match="page token"):
            page_of(read([]), 5, token)
    with pytest.raises(InvalidInput, match="positive"):
        page_of(read([]), 0, "")


@given(points=POINTS, most=st.integers(1, 40))
def test_a_sample_has_the_first_and_the_last_point(points, most):
    whole = read([packed(points)])
    ordered = sampled(whole, len(points) + 1)
    found = sampled(whole, most)
    assert len(found) == min(most, len(points))
    assert sorted(found["step"].tolist()) == found["step"].tolist()
    if len(found):
        assert found[-1].tobytes() == ordered[-1].tobytes()
        assert most == 1 or found[0].tobytes() == ordered[0].tobytes()


def test_a_sample_is_of_the_steps_that_are_wanted():
    whole = read([packed([(1, 0, 0, step, 0.5) for step in range(10)])])
    assert sampled(whole, 100, (3, 5))["step"].tolist() == [3, 4, 5]
    assert sampled(whole, 100, (30, 50))["step"].tolist() == []


def test_a_run_or_a_metric_that_does_not_exist_has_no_points(home):
    run = home.begin()
    home.log(run, ("loss", 0.5, 1))
    with home.tracking.recorder.reading() as db:
        assert len(histories.points_of(db, run, "loss")) == 1
        assert len(histories.points_of(db, run, "none")) == 0
        assert len(histories.points_of(db, "none", "loss")) == 0


def test_a_dataset_is_listed_once_for_each_way_it_was_used(home):
    def read_by(run, name, context):
        tags = (InputTag("mlflow.data.context", context),) if context else ()
        one = DatasetInput(name=name, digest="1", source_type="", source="", tags=tags)
        home.do(home.tracking.link(run, datasets=[one]))

    for context in ("train", "train", "eval", ""):
        read_by(home.begin(), "flights", context)
    with home.tracking.recorder.reading() as db:
        found = histories.datasets_of(db, ["0", "99"])
    assert {(one.experiment, one.name, one.context) for one in found} == {
        ("0", "flights", "train"),
        ("0", "flights", "eval"),
        ("0", "flights", None),
    }
    assert len(found) == 3
