"""Models of the parcels that were trained elsewhere, as files."""

from __future__ import annotations

from pathlib import Path

import lightgbm
import numpy as np
import polars as pl
from tests.loop.synthetic import parcels

QUIET = {"verbosity": -1, "num_threads": 1, "deterministic": True}


def foreign_file(
    folder: Path, *, names: tuple[str, ...] = ("load", "heat"), until: str = "2024-03-20"
) -> Path:
    """Write a model of LightGBM that was fitted on the parcels asked for before a day."""
    day = pl.lit(until).str.to_datetime(time_zone="UTC", time_unit="us")
    past = parcels().filter(pl.col("asked_at") < day, pl.col("late").is_not_null())
    X = np.column_stack([past[name].to_numpy() if name in past.columns else past["load"] for name in names])
    data = lightgbm.Dataset(X, past["late"].to_numpy().astype(float), feature_name=list(names))
    path = folder / "elsewhere.txt"
    lightgbm.train({"objective": "binary", **QUIET}, data, 30).save_model(path)
    return path
