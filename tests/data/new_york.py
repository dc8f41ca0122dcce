"""The real flights and weather of the example, loaded once a process."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

import polars as pl

from varv.data import Dataset, Frame

_EXAMPLE = Path(__file__).parents[2] / "examples" / "flights" / "nyc.py"


@cache
def nyc() -> ModuleType:
    spec = importlib.util.spec_from_file_location("nyc", _EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def flights() -> Dataset:
    return Dataset(
        "flights",
        source=Frame(nyc().flights),
        key="flight_id",
        event_time="requested_at",
        known_at={"departed_at": ["dep_delay", "left_late"], "arrived_at": ["arr_delay", "late"]},
    )


@cache
def weather() -> Dataset:
    return Dataset(
        "weather", source=Frame(nyc().weather), key=["origin", "observed_at"], event_time="observed_at"
    )


@cache
def rows(name: str) -> pl.DataFrame:
    return {"flights": flights, "weather": weather}[name]().load()
