from __future__ import annotations

import msgspec
import pytest

from varv.rollout import Rollout
from varv.rollout.grounds import Evidence

from .samples import BINARY


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({}, "difference"),
        ({"shift": 6.3, "share": 0.05, "step_difference": 0.5}, "at 5 %"),
        ({"shift": 6.3, "excess": 400.0, "excess_at": 280.0}, "excess 400 nats, 280 allowed"),
        ({"shift": 6.3, "excess": 400.0, "excess_at": 280.0, "log_harm": 9.0}, "in the shadow"),
        ({"log_harm": 9.0, "log_harm_missing": 8.0, "n_missing": 1200}, "1,200 requests without an answer"),
        ({"log_harm": 9.0, "log_harm_slow": 8.0}, "evidence of slower answers 8.00"),
    ],
)
def test_a_verdict_begins_with_what_decided_it(changes, first):
    seen = msgspec.structs.replace(
        Evidence.none(Rollout().plan_for(BINARY)), difference=-0.1, low=-0.2, high=0.0
    )
    line = msgspec.structs.replace(seen, **changes).line().replace("\u00a0", " ")
    assert line.startswith(first)


def test_a_negative_number_has_a_minus_sign():
    seen = msgspec.structs.replace(Evidence.none(Rollout().plan_for(BINARY)), log_harm=-1.5, log_safety=-2.25)
    assert "harm −1.50" in seen.line()
    assert "safety −2.25" in seen.line()
