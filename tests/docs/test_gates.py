"""The page on gates runs: its blocks are executed, and a model can be declared and judged with them."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from tests.training.gates.judgements import judgement
from tests.training.samples import RUNTIMES, built, given

import varv
from varv.training.gates import Served, judge

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "gates.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
N = 3000


def rows() -> pl.DataFrame:
    rng = np.random.default_rng(1)
    return pl.DataFrame(
        {
            "key": [f"f-{number}" for number in range(N)],
            "carrier": ["UA", "AA", "DL"] * (N // 3),
            "distance": pl.Series(rng.normal(900, 200, N), dtype=pl.Float32),
            "wind": pl.Series(rng.gamma(3, 5, N), dtype=pl.Float32),
        }
    )


def declared_gates() -> list:
    names: dict[str, object] = {}
    for block in BLOCKS:
        exec(compile(block, "gates.md", "exec"), names)
    return names["gates"]


def test_a_model_can_be_declared_with_the_gates_of_the_page():
    at = pl.Series([dt.datetime(2024, 1, 1, tzinfo=dt.UTC)], dtype=pl.Datetime("us", "UTC"))
    past = rows().head(1).with_columns(at=at, landed_at=at, late=pl.lit(1))
    flights = varv.Dataset(
        "flights", source=varv.Frame(past), key="key", event_time="at", known_at={"landed_at": ["late"]}
    )
    varv.Model(
        "late",
        requests=flights,
        features=["carrier", "distance", "wind"],
        outcome=varv.Outcome("late", known_at="landed_at"),
        train=varv.Train(lambda train, params: None),
        gates=declared_gates(),
    ).validate()


def test_every_gate_of_the_page_gives_an_answer():
    from sklearn.linear_model import LogisticRegression

    train = given(rows().drop("key"), np.zeros(N))
    late = (train.X[:, 2] + np.random.default_rng(2).normal(0, 5, N) > 20).astype(np.int64)
    blob = built(LogisticRegression(max_iter=1000).fit(train.X, late), train)
    held_out = replace(
        judgement("binary", champion=0.2), rows=rows(), served=Served(lambda: blob, RUNTIMES), outcome=late
    )
    results = judge(declared_gates(), held_out)
    assert len(results) == 12
    assert all(result.question.endswith("?") and result.answer.endswith(".") for result in results)
    assert {result.gate: result.passed for result in results if "wind" in result.question} == {
        "direction more wind": True
    }
