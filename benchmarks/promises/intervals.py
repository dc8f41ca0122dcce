"""Do the AUC intervals of the report cover the truth as often as they state, when days differ?

    python -m benchmarks.promises.intervals [runs]

A model's requests and outcomes go through the comparison that a replay's report shows. Days have effects of
their own, independent or with correlation .5, of which the score knows nothing or most; the truth is the AUC
over infinitely many days.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl
from benchmarks.promises.row import Row, table
from benchmarks.promises.worlds import Numbers, autoregression
from scipy import special

from varv.home.comparison import DECLARED, PolicyRun, PolicyScore, compare
from varv.kernel.clock import DAY, Instant, instant
from varv.kernel.ids import ModelName
from varv.stats.ranking import auc_of_counts, score_cells
from varv.tasks import task_of

SINCE = instant("2023-01-01")
BASE, SLOPE, DAY_SD = -1.3, 1.0, 0.6
LOWEST, HIGHEST = 0.93, 0.97


class Setting(NamedTuple):
    """A world of days: their correlation, and the share of their effect that the score knows."""

    name: str
    correlation: float
    seen: float


SETTINGS = (
    Setting("independent days, unseen by the score", 0.0, 0.0),
    Setting("independent days, mostly seen", 0.0, 0.7),
    Setting("days with correlation .5, unseen by the score", 0.5, 0.0),
    Setting("days with correlation .5, mostly seen", 0.5, 0.7),
)

WINDOWS = {"January": (31, 100), "eleven months": (334, 40)}
"""Days, and requests a day."""


def scored(setting: Setting, effects: Numbers, rng: np.random.Generator) -> tuple[Numbers, Numbers]:
    """Return scores and outcomes of one request for each of `effects`, shapes (n,)."""
    known = BASE + SLOPE * rng.normal(size=effects.size)
    outcome = (rng.uniform(size=effects.size) < special.expit(known + effects)).astype(np.float64)
    return special.expit(known + setting.seen * effects), outcome


def truth(setting: Setting, rng: np.random.Generator) -> float:
    """Return the AUC over four million requests of as many days."""
    counts = np.zeros((2, 280))
    for _ in range(4):
        score, outcome = scored(setting, rng.normal(0, DAY_SD, size=1_000_000), rng)
        cells = score_cells(score)
        counts += [np.bincount(cells[outcome == kind], minlength=280) for kind in (1, 0)]
    return auc_of_counts(counts[:1], counts[1:]).value


def reported(setting: Setting, n_days: int, rows: int, rng: np.random.Generator) -> PolicyScore:
    """Return what the report says of one simulated stretch."""
    effects = autoregression(rng, n_days, correlation=setting.correlation, sd=DAY_SD)
    score, outcome = scored(setting, np.repeat(effects, rows), rng)
    n = score.size
    frame = pl.DataFrame(
        {
            "key": np.arange(n).astype(str),
            "requested_at": SINCE + np.arange(n) * (DAY // rows),
            "score": score,
            "outcome": outcome.astype(np.int8),
        }
    ).with_columns(pl.col("requested_at").cast(pl.Datetime("us", "UTC")))
    run = PolicyRun(ModelName("simulated"), task_of("binary"), frame, 1, 0, 0, 0, None)
    until = Instant(SINCE + n_days * DAY)
    return compare({DECLARED: run}, since=SINCE, until=until, seed=0).policies[0]


def coverage(setting: Setting, window: str, n_runs: int, seed: int) -> Row:
    """Return the row on how often the interval holds the truth."""
    true = truth(setting, np.random.default_rng(seed))
    n_days, rows = WINDOWS[window]
    covered = 0
    for child in np.random.SeedSequence([seed, n_days]).spawn(n_runs):
        found = reported(setting, n_days, rows, np.random.default_rng(child))
        shown = found.months[0] if window == "January" else found
        covered += (shown.auc_low or 0.0) <= true <= (shown.auc_high or 1.0)
    share = covered / n_runs
    bar = f"{LOWEST:.0%} to {HIGHEST:.0%}"
    question = f"how often the 95 % interval of the AUC of {window} covers"
    return Row(setting.name, question, bar, f"{share:.1%}", LOWEST <= share <= HIGHEST, n_runs)


def run(n_runs: int = 400, seed: int = 0, *, told: Callable[[str], None] = lambda text: None) -> list[Row]:
    """Return every row, `n_runs` simulated stretches each."""
    rows = []
    for setting in SETTINGS:
        for window in WINDOWS:
            rows.append(coverage(setting, window, n_runs, seed))
            told(f"{setting.name}, {window}")
    return rows


if __name__ == "__main__":
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    print(table(run(runs, told=lambda text: print(text, file=sys.stderr))))
