"""A project in a file whose fits are asked for without a home: its task, its functions, and rows for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from varv.kernel.columns import TIME
from varv.project import load_project
from varv.training import FitInput

SOURCE = '''
"""A model whose data nobody reads here."""

import os

import varv

data = varv.Dataset("parcels", source=varv.Csv("nowhere.csv"), key="key", event_time="at",
                    known_at={"known_at": ["late"]})


def fit(train, params):
    from sklearn.linear_model import LogisticRegression

    where = "another process" if os.getpid() != params["owner"] else "this one"
    print("fitting", len(train), "rows in", where)
    return LogisticRegression(C=params["C"]).fit(train.X, train.y)


def _model(name, chosen, **train):
    return varv.Model(
        name,
        requests=data,
        features=["load", "heat"],
        outcome=varv.Outcome("late", known_at="known_at"),
        train=varv.Train(chosen, **train),
    )


def prints_much(train, params):
    for number in range(200_000):
        print("line", number)
    return fit(train, params)


def hangs(train, params):
    print("before the loop", flush=True)
    while True:
        pass


def holds(train, params):
    return fit(train, {**params, "held": bytearray(b"x" * (600 << 20))})


late = _model("late", fit)
loud = _model("loud", prints_much)
slow = _model("slow", hangs, time="12s")
patient = _model("patient", hangs)
large = _model("large", holds, memory="400MB")
'''


def project_file(folder: Path) -> Path:
    """Write the project and return its file."""
    file = folder / "fitted.py"
    file.write_text(SOURCE)
    return file


def declared(file: Path, name: str):
    """Return the training and the task of one of its models, as an owner has loaded them."""
    [model] = load_project(str(file)).only(name).models
    return model.train, model.task


def rows_to_fit(n: int = 2000, *, n_columns: int = 2, owner: int = 0, seed: int = 3) -> FitInput:
    """Return rows to fit on."""
    rng = np.random.default_rng(seed)
    names = ("load", "heat", *(f"x{number}" for number in range(n_columns - 2)))
    columns = {name: rng.normal(size=n).astype(np.float32) for name in names}
    late = (rng.random(n) < 1 / (1 + np.exp(-2 * columns["load"]))).astype(np.int8)
    at = pl.Series(np.arange(n, dtype=np.int64)).cast(TIME)
    rows = pl.DataFrame({**columns, "outcome": late, "requested_at": at})
    params = {"C": 0.5, "owner": owner}
    return FitInput(rows=rows, probe=rows.head(50).select(names), names=names, params=params, seed=seed)
