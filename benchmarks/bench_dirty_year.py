"""The flights year made dirty: how much of what is clean is used, and whether every other row is accounted
for.

    python benchmarks/bench_dirty_year.py            # the year, about two minutes on two quiet cores
    python benchmarks/bench_dirty_year.py 2013-03-10 # until then only

One row in a hundred repeats a key, half of them with other values; one in two hundred has an impossible
value, a null key or no time; outcomes come months late, from before their request, or from the year 9999. The
weather is treated alike. Exits 1 if a bar is missed.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from varv.app.compose import open_home
from varv.app.replaying import run_replay
from varv.home.model import Comparison, PartRows
from varv.kernel.clock import VirtualClock, as_datetime, instant, wall_seconds
from varv.project import Replay, plan_of, project_of

FLIGHTS = Path(__file__).resolve().parent.parent / "examples" / "flights"
YEAR = "2014-01-01T05:00:00Z"
LEAST_CLEAN = 0.985
SEED = 2013
CLEAN = "clean"


class Dirty(NamedTuple):
    """The tables, and what was done to each row by its place in the source."""

    flights: pl.DataFrame
    weather: pl.DataFrame
    kinds: pl.Series
    weather_kinds: pl.Series


def dirtied(flights: pl.DataFrame, weather: pl.DataFrame, seed: int = SEED) -> Dirty:
    """Return the tables with dirt in them, the same for the same seed."""
    rng = np.random.default_rng(seed)
    flights, kinds = _with_bad_values(flights, rng)
    flights, kinds = _with_bad_outcomes(flights, kinds, rng)
    flights, kinds = _with_repeats(flights, kinds, rng, later=["requested_at", "departed_at", "arrived_at"])
    n = weather.height
    weather_kinds = np.full(n, CLEAN, object)
    wild = rng.choice(n, n // 200, replace=False)
    weather_kinds[wild] = "impossible value"
    temp = weather["temp"].to_numpy().copy()
    temp[wild] = -9999.0
    weather = weather.with_columns(temp=pl.Series(temp, nan_to_null=True))
    weather, weather_kinds = _with_repeats(weather, weather_kinds, rng, later=[])
    return Dirty(flights, weather, pl.Series(kinds.tolist()), pl.Series(weather_kinds.tolist()))


def _with_bad_values(flights: pl.DataFrame, rng: np.random.Generator) -> tuple[pl.DataFrame, np.ndarray]:
    n = flights.height
    kinds = np.full(n, CLEAN, object)
    chosen = rng.permutation(n)[: n // 200]
    for name, share in (("impossible value", 0.8), ("null key", 0.1), ("no time", 0.1)):
        part, chosen = np.split(chosen, [round(share * n / 200)])
        kinds[part] = name
    kind = pl.Series(kinds.tolist())
    wild = pl.Series(rng.choice([-99_999, 1_000_000, 999_999_999], n))
    bad = flights.with_columns(
        distance=pl.when(kind == "impossible value").then(wild).otherwise("distance"),
        flight_id=pl.when(kind != "null key").then("flight_id"),
        requested_at=pl.when(kind != "no time").then("requested_at"),
    )
    return bad.cast({"distance": flights.schema["distance"]}), kinds


def _with_bad_outcomes(
    flights: pl.DataFrame, kinds: np.ndarray, rng: np.random.Generator
) -> tuple[pl.DataFrame, np.ndarray]:
    landed = np.flatnonzero((kinds == CLEAN) & flights["arrived_at"].is_not_null().to_numpy())
    chosen = rng.permutation(landed)[: round(0.0225 * len(landed))]
    late, early, far = np.split(chosen, [round(len(chosen) * share) for share in (0.45, 0.8)])
    arrived = flights["arrived_at"].to_physical().fill_null(0).to_numpy().copy()
    missing = flights["arrived_at"].is_null()
    asked = flights["requested_at"].to_physical().fill_null(0).to_numpy()
    hour = 3_600_000_000
    arrived[late] += rng.integers(30 * 24 * hour, 200 * 24 * hour, len(late))
    arrived[early] = asked[early] - rng.integers(hour, 10 * 24 * hour, len(early))
    arrived[far] = instant("9999-01-01")
    for rows, kind in ((early, "early outcome"), (far, "outcome of the year 9999")):
        kinds[rows] = kind
    times = pl.Series(arrived).cast(pl.Datetime("us", "UTC"))
    return flights.with_columns(arrived_at=pl.when(~missing).then(times)), kinds


def _with_repeats(
    rows: pl.DataFrame, kinds: np.ndarray, rng: np.random.Generator, *, later: list[str]
) -> tuple[pl.DataFrame, np.ndarray]:
    """Append copies of clean rows: half of them the same, half with other values, some hours later."""
    chosen = rng.permutation(np.flatnonzero(kinds == CLEAN))[: rows.height // 100]
    same, other = np.split(chosen, 2) if len(chosen) % 2 == 0 else np.split(chosen[1:], 2)
    number = next(name for name in ("distance", "humid") if name in rows.columns)
    changed = rows[other].with_columns(
        pl.col(number) + 1, *(pl.col(name).dt.offset_by("5h") for name in later)
    )
    both = pl.concat([rows, rows[same], changed.cast(rows.schema)])
    copies = np.array(["equal repeat"] * len(same) + ["different repeat"] * len(other), object)
    return both, np.concatenate([kinds, copies])


def dirty_replay(until: str) -> tuple[Replay, Dirty]:
    """Return the replay of the flights on dirty data, up to `until` and without plants, and the data."""
    sys.path.insert(0, str(FLIGHTS))
    nyc = importlib.import_module("nyc")
    end = as_datetime(instant(until))
    flights = nyc.flights().filter(pl.col("requested_at") < end)
    weather = nyc.weather().filter(pl.col("observed_at") < end)
    data = dirtied(flights, weather)
    sys.modules.pop("flights", None)
    plain = nyc.flights, nyc.weather
    nyc.flights, nyc.weather = lambda: data.flights, lambda: data.weather
    try:
        replay = importlib.import_module("flights").replay
        replay.models[0].validate()
    finally:
        nyc.flights, nyc.weather = plain
        sys.modules.pop("flights", None)
    replay.until = instant(until)
    replay.plants = []
    return replay, data


def clean_share(home: Path, replay: Replay, data: Dirty) -> dict[str, float]:
    """Return, of each part of the flights and of the weather, the share of clean rows that are used as they
    are: of those that became known by the end of the replay.
    """
    world = open_home(home, [plan_of(replay.models[0])], VirtualClock(replay.until), durability="process")
    flights, weather = (world.datasets.read(dataset) for dataset in replay.models[0].datasets)
    world.close()
    shares = {}
    end = pl.col("@known") < as_datetime(replay.until)
    sources = (
        ("flights", data.flights, data.kinds, flights),
        ("weather", data.weather, data.weather_kinds, weather),
    )
    for dataset, (name, given, kinds, used) in zip(replay.models[0].datasets, sources, strict=True):
        for part in dataset.parts:
            columns = dataset.columns(part)
            known = dataset.part(given.filter(kinds == CLEAN), part).with_columns(
                pl.col(part).alias("@known")
            )
            clean = known.filter(end).select(columns)
            found = clean.join(used.select(columns), on=columns, how="semi", nulls_equal=True)
            shares[f"{name}/{part}"] = found.height / clean.height
    return shares


def adds_up(rows: PartRows) -> bool:
    """Return whether every row of a source is counted once."""
    left_out = rows.n_equal + rows.n_different + rows.n_waiting + rows.n_early
    left_out += rows.n_quarantined + rows.n_discarded
    return rows.n_source == rows.n_outside + rows.n_used + left_out


def expected(data: Dirty, replay: Replay) -> dict[str, int]:
    """Return how many rows of each kind of dirt were put into the flights' base part and outcomes."""
    counts = dict(data.kinds.value_counts(name="n").iter_rows())
    asked = pl.Series(data.flights["requested_at"])
    before = (asked < as_datetime(replay.train_at)) & (data.kinds == "impossible value")
    return {**counts, "before the contract": int(before.sum())}


def account_rows(found: Comparison, data: Dirty, replay: Replay) -> list[tuple[str, int, int]]:
    """Return what was found and what was put in, by kind."""
    base, _, outcomes, weather = found.rows
    put = expected(data, replay)
    n_weather = dict(data.weather_kinds.value_counts(name="n").iter_rows())
    impossible = put["impossible value"] - put["before the contract"]
    return [
        ("equal repeats", base.n_equal, put["equal repeat"]),
        ("different repeats", base.n_different, _n_fed(data, replay, "different repeat")),
        ("impossible values", base.reasons.get("impossible value of distance", 0), impossible),
        ("before the contract", base.n_before_contract, put["before the contract"]),
        ("null keys", base.reasons.get("null of flight_id", 0), put["null key"]),
        ("rows without a time", base.reasons.get("null of requested_at", 0), put["no time"]),
        ("outcomes before their request", *_early(outcomes, data, replay)),
        ("weather, repeats", weather.n_equal + weather.n_different, n_weather["equal repeat"] * 2),
    ]


def _n_fed(data: Dirty, replay: Replay, kind: str) -> int:
    asked = data.flights.filter(data.kinds == kind)["requested_at"]
    return int((asked < as_datetime(replay.until)).sum())


def _early(outcomes: PartRows, data: Dirty, replay: Replay) -> tuple[int, int]:
    early = data.flights.filter(data.kinds == "early outcome")
    fed = early.filter(pl.col("arrived_at") >= as_datetime(replay.since))
    found = outcomes.n_early + outcomes.reasons.get("known before its row of arrived_at", 0)
    return found, fed.height


def measured(
    until: str, home: Path
) -> tuple[Comparison, dict[str, float], list[tuple[str, int, int]], float]:
    """Replay the dirty flights in `home`; return the result, the shares of clean rows that were used, the
    accounts, and the seconds that it took.
    """
    replay, data = dirty_replay(until)
    began = wall_seconds()
    project_of("dirty", [replay]).validate()
    [found] = run_replay(replay, home, lambda *_: None, declared_only=True).models
    took = wall_seconds() - began
    return found, clean_share(home, replay, data), account_rows(found, data, replay), took


def main() -> int:
    """Measure, print, and say whether every bar holds."""
    until = sys.argv[1] if len(sys.argv) > 1 else YEAR
    with tempfile.TemporaryDirectory() as folder:
        found, shares, accounts, took = measured(until, Path(folder))
    held = True
    for warning in found.warnings:
        sys.stdout.write(f"WARNING: {warning}\n")
    for part, share in shares.items():
        held &= share >= LEAST_CLEAN
        sys.stdout.write(f"clean rows used, {part:<24} {share:>8.4%}  >= {LEAST_CLEAN:.1%}\n")
    for rows in found.rows:
        held &= adds_up(rows)
        sys.stdout.write(f"{rows.dataset}/{rows.part}: {rows}\n")
    for kind, n, n_put in accounts:
        held &= n == n_put
        sys.stdout.write(f"{kind:<32} {n:>7,} found  {n_put:>7,} put in\n")
    declared = found.policies[0]
    sys.stdout.write(
        f"log-loss {declared.log_loss:.4f}, AUC {declared.auc:.4f}, "
        f"{declared.n_retrains} retrains, {took:.0f} s\n{'ok' if held else 'MISSED'}\n"
    )
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
