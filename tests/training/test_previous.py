"""A training goes on from a model that was fitted before: a class of one's own, a booster."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.training.samples import BINARY, RUNTIMES

import varv
from varv.kernel.columns import TIME
from varv.kernel.ids import Version
from varv.registry import open_package
from varv.training import FitInput, fit_package


class Frequency:
    """Predicts how often the outcome was 1, over all rows that it was ever given."""

    def __init__(self, n: int = 0, ones: int = 0) -> None:
        self.n, self.ones = n, ones

    def partial_fit(self, y: np.ndarray) -> Frequency:
        self.n, self.ones = self.n + len(y), self.ones + int(y.sum())
        return self

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return np.full(len(rows), self.ones / self.n)

    def save(self, folder: Path) -> None:
        (folder / "counts.json").write_text(json.dumps([self.n, self.ones]))

    @classmethod
    def load(cls, folder: Path) -> Frequency:
        return cls(*json.loads((folder / "counts.json").read_text()))


def counts(train, params):
    model = Frequency() if train.previous is None else train.previous.load(Frequency)
    return model.partial_fit(train.y)


def given(y: list[int], previous: bytes | None = None) -> FitInput:
    n = len(y)
    rows = pl.DataFrame(
        {
            "x": np.linspace(0, 1, n, dtype=np.float32),
            "outcome": np.array(y, np.int8),
            "requested_at": pl.Series(np.arange(n)).cast(TIME),
        }
    )
    probe, parent = rows.select("x"), None if previous is None else Version(1)
    return FitInput(rows=rows, probe=probe, names=("x",), params={}, seed=1, previous=previous, parent=parent)


def test_a_class_of_ones_own_goes_on_from_its_saved_state():
    train = varv.Train(counts)
    first = fit_package(train, BINARY, given([0, 0, 0, 1]), RUNTIMES)
    second = fit_package(train, BINARY, given([1, 1, 1, 1], first), RUNTIMES)
    state = json.loads(open_package(second).file("state/counts.json"))
    assert state == [8, 5]
    scores = RUNTIMES.load(open_package(second)).predict(np.zeros((2, 1), np.float32))
    assert scores[:, 0] == pytest.approx(5 / 8)


def test_a_booster_goes_on_from_its_trees():
    lightgbm = pytest.importorskip("lightgbm")

    def boosts(train, params):
        rows = lightgbm.Dataset(train.X, train.y)
        before = None if train.previous is None else train.previous.files["model.txt"].decode()
        start = None if before is None else lightgbm.Booster(model_str=before)
        settings = {"objective": "binary", "verbosity": -1, "min_data_in_leaf": 2, "num_threads": 1}
        return lightgbm.train(settings, rows, num_boost_round=5, init_model=start)

    train = varv.Train(boosts, warm_start=True)
    y = [0, 1] * 20
    first = fit_package(train, BINARY, given(y), RUNTIMES)
    second = fit_package(train, BINARY, given(y, first), RUNTIMES)
    trees = [open_package(one).file("model.txt").decode().count("\nTree=") for one in (first, second)]
    assert trees == [5, 10]


def test_without_a_previous_model_there_is_none():
    seen = []

    def looks(train, params):
        seen.append(train.previous)
        return counts(train, params)

    fit_package(varv.Train(looks), BINARY, given([0, 1]), RUNTIMES)
    assert seen == [None]
