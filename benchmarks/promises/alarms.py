"""Do the monitors keep the rate of false alarms that they state, and how soon do they see a change?

    python -m benchmarks.promises.alarms [runs]

Every day goes through the code of production: the reference of each version, `measure_day`, and the monitor's
saga. A model of 120 days gets a new version every 30, with a reference of the week or month before it.
Nothing is ever wrong with any of them; so every alarm is a false one. Models are binary first, then of the
other tasks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import polars as pl
from benchmarks.promises.predicted import OTHERS, Predicted
from benchmarks.promises.row import Row, table
from benchmarks.promises.worlds import IID, WORLDS, Requests, Scored, World, turn_for

from varv.kernel.clock import DAY, HOUR, Instant
from varv.kernel.codec import Event
from varv.kernel.ids import ModelName, Version
from varv.monitoring import AlarmRaised, MonitorPlan, Window, monitor
from varv.monitoring.measure import measure_day
from varv.monitoring.reference import Reference, reference
from varv.monitoring.rules import MonitorSaga, MonitorState
from varv.tasks import task_of

MODEL = ModelName("simulated")
MONTH, N_DAYS = 30, 120
ROWS_QUIET, ROWS_CHANGED = 200, 500
CHANGE_DAY, LONGEST = 45, 30
DECLARED_DAYS = 200
"""Mean time between false alarms, as every monitor declares it unless told otherwise."""

REFERENCES = {"a week": 7, "a month": 31}

BEFORE = {
    ("bias", "a week"): 3.47,
    ("bias", "a month"): 2.51,
    ("accuracy", "a week"): 3.33,
    ("accuracy", "a month"): 2.31,
}
"""Mean days to the alarm with the chart of before, which took mean and spread from one version's reference:
measured with this module on its last commit, 400 runs."""

BINARY = {
    "": monitor.plan([monitor.performance("log_loss"), monitor.calibration()]),
    " with AUC": monitor.plan([monitor.performance("auc")]),
}
"""What is declared, by what is added to the kind of alarm that it raises."""


class Alarm(NamedTuple):
    """A false alarm: the day of the model's life, and the kind of the monitor that raised it."""

    day: int
    kind: str


def frame_of(days: list[Scored]) -> pl.DataFrame:
    """Return requests as telemetry has them, all days of one size; outcomes are known within the hour."""
    n = days[0].score.size
    requested = np.repeat(np.arange(len(days)), n) * DAY + np.concatenate([day.hour for day in days]) * HOUR
    return pl.DataFrame(
        {
            "requested_at": requested,
            "known_at": requested,
            "score": np.concatenate([day.score for day in days]),
            "outcome": np.concatenate([day.outcome for day in days]),
        }
    ).with_columns(pl.col("requested_at", "known_at").cast(pl.Datetime("us", "UTC")))


class Model:
    """A model's life under each of its plans: days go in, alarms come out."""

    def __init__(self, plans: Mapping[str, MonitorPlan] = BINARY) -> None:
        self._saga = MonitorSaga()
        self._plans = plans
        self._states: dict[str, MonitorState] = {
            name: self._saga.initial(f"monitor/{MODEL}") for name in plans
        }
        self._reference: Reference | None = None

    @property
    def open(self) -> bool:
        """Whether an alarm is open."""
        return any(state.open for state in self._states.values())

    def approve(self, version: int, days: pl.DataFrame, at: int) -> None:
        """Let a version with a reference of `days` be champion from day `at` on."""
        predicts = task_of(self._plans[""].task)
        self._reference = reference(days, task=predicts, model=MODEL, version=Version(version), features=())
        for name, plan in self._plans.items():
            self._feed(name, self._reference.set_for(plan, at=Instant(at * DAY)))

    def live(self, day: int, frame: pl.DataFrame) -> list[str]:
        """Measure a mature day and return the kinds of alarms that it raises."""
        assert self._reference is not None, "approve a version first"
        window = Window(Instant(day * DAY), Instant((day + 1) * DAY))
        measured = measure_day(frame, window, self._reference, self._plans[""])
        return [kind for event in measured for name in self._plans for kind in self._feed(name, event)]

    def _feed(self, name: str, event: Event) -> list[str]:
        step = self._saga.step(self._states[name], event, Instant(0))
        self._states[name] = step.state
        raised = [fact.event for fact in step.emits if isinstance(fact.event, AlarmRaised)]
        return [one.kind + name for one in raised]


def quiet_life(
    world: World, n_reference: int, rng: np.random.Generator, other: Predicted | None = None
) -> Iterator[Alarm]:
    """Yield the false alarms of one model in `N_DAYS`; a binary one, unless it is another."""
    n_days, n = n_reference + N_DAYS, ROWS_QUIET
    if other is None:
        requests = Requests(world, rng, n_days, rows=n, base=-1.3, slope=1.2)
        frame, model = frame_of([requests.day(day) for day in range(n_days)]), Model()
    else:
        frame = other.frame(world, rng, n_days, n)
        watched = [monitor.performance(), monitor.calibration()]
        model = Model({"": monitor.plan(watched, task=other.task)})
    for age in range(N_DAYS):
        day = n_reference + age
        if age % MONTH == 0:
            model.approve(1 + age // MONTH, frame.slice(age * n, n_reference * n), day)
        yield from (Alarm(age, kind) for kind in model.live(day, frame.slice(day * n, n)))


def false_alarms(
    world: World, name: str, n_runs: int, seed: int, other: Predicted | None = None
) -> list[Row]:
    """Return the rows on false alarms in one world with one kind of reference."""
    n_reference = REFERENCES[name]
    children = np.random.SeedSequence([seed, n_reference]).spawn(n_runs)
    alarms = [
        alarm
        for child in children
        for alarm in quiet_life(world, n_reference, np.random.default_rng(child), other)
    ]
    subject = world.name if other is None else f"{other.name}: {world.name}"
    kinds = ("performance", "calibration", "performance with AUC")[: 3 if other is None else 2]
    rows = []
    for kind in kinds:
        first = sum(alarm.kind == kind and alarm.day < MONTH for alarm in alarms)
        later = sum(alarm.kind == kind and alarm.day >= MONTH for alarm in alarms)
        declared = 365 / DECLARED_DAYS
        for age, count, days, times in (
            ("from the second month on", later, N_DAYS - MONTH, 1.0),
            ("in the first month", first, MONTH, 2.0),
        ):
            rate = count / (n_runs * days / 365)
            question = f"false {kind} alarms a model-year {age}, reference of {name}"
            bar = f"at most {times * declared:.2f}"
            rows.append(Row(subject, question, bar, f"{rate:.2f}", rate <= times * declared, n_runs))
    return rows


def days_to_alarm(
    change: str, world: World, n_reference: int, rng: np.random.Generator, angle: float
) -> int | None:
    """Return after how many days a change is seen, `LONGEST` at most; None if an alarm was open before."""
    base, slope = (-1.3, 1.2) if change == "bias" else (0.0, 1.5)
    n_days, n = n_reference + CHANGE_DAY + LONGEST, ROWS_CHANGED
    requests = Requests(world, rng, n_days, rows=n, base=base, slope=slope)
    first = n_reference + CHANGE_DAY
    wrong = {"bias": 0.05} if change == "bias" else {"turned": angle}
    days = [requests.day(day, **(wrong if day >= first else {})) for day in range(n_days)]
    frame, model = frame_of(days), Model()
    for age in range(CHANGE_DAY + LONGEST):
        day = n_reference + age
        if age in (0, MONTH):
            model.approve(1 + age // MONTH, frame.slice(age * n, n_reference * n), day)
        if age == CHANGE_DAY and model.open:
            return None
        raised = set(model.live(day, frame.slice(day * n, n)))
        if age >= CHANGE_DAY and raised & {"performance", "calibration"}:
            return age - CHANGE_DAY + 1
    return LONGEST


def delays(change: str, world: World, name: str, n_runs: int, seed: int) -> list[int]:
    """Return the days to the alarm of many models."""
    angle = turn_for(0.05, slope=1.5)
    children = np.random.SeedSequence([seed, REFERENCES[name], 7]).spawn(n_runs)
    found = (
        days_to_alarm(change, world, REFERENCES[name], np.random.default_rng(child), angle)
        for child in children
    )
    return [one for one in found if one is not None]


def detection(change: str, name: str, n_runs: int, seed: int) -> Row:
    """Return the row on how soon a change is seen with independent rows."""
    found = float(np.mean(delays(change, IID, name, n_runs, seed)))
    what = "+.05 of bias" if change == "bias" else "−5 points of accuracy"
    question = f"days to the alarm at {what}, {ROWS_CHANGED} requests a day, reference of {name}"
    bar = BEFORE[change, name]
    return Row(IID.name, question, f"at most {bar:.2f}", f"{found:.2f}", found <= bar, n_runs)


def run(n_runs: int = 400, seed: int = 0, *, told: Callable[[str], None] = lambda text: None) -> list[Row]:
    """Return every row, `n_runs` simulated models each."""
    rows: list[Row] = []
    for world in WORLDS:
        for name in REFERENCES:
            rows += false_alarms(world, name, n_runs, seed)
            told(f"{world.name}, reference of {name}")
    for other in OTHERS:
        for world in WORLDS:
            for name in REFERENCES:
                rows += false_alarms(world, name, n_runs, seed, other)
            told(f"{other.name}, {world.name}")
    for change in ("bias", "accuracy"):
        rows += [detection(change, name, n_runs, seed) for name in REFERENCES]
        told(change)
    return rows


if __name__ == "__main__":
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    print(table(run(runs, told=lambda text: print(text, file=sys.stderr))))
