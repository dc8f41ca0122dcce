"""What a replay tells while it runs: a line a month, with what was measured of that month."""

from __future__ import annotations

import io

from varv.app.progress import ReplayProgress
from varv.home.replay import Progress
from varv.kernel.clock import DAY, Instant, instant
from varv.kernel.codec import Event, canonical
from varv.kernel.ids import ModelName, Version
from varv.kernel.ledger import Entry
from varv.loop.model import FaultPlanted, PlantedFault
from varv.monitoring import PerformanceMeasured
from varv.monitoring.model import ScoreCounts
from varv.monitoring.windows import day_of

SINCE, UNTIL = instant("2024-01-01"), instant("2024-04-01")


def entry(event: Event, at: Instant, stream: str = "s") -> Entry:
    return Entry(1, stream, 1, event.event_name, event.event_version, at, None, canonical(event), b"")


def measured(start: Instant, *, n: int, auc: float | None, model: str = "m") -> Entry:
    counts = ScoreCounts(first=100, positives=(0, 1, 3), negatives=(3, 1, 0))
    quality = {} if auc is None else {"auc": auc, "log_loss": 0.5, "scored": counts}
    window = day_of(start)
    day = PerformanceMeasured(
        model=ModelName(model),
        version=Version(1),
        window=window,
        n_requests=n,
        n=0 if auc is None else n,
        missing_share=0.0,
        **quality,
    )
    return entry(day, Instant(window.end + DAY))


def told(*steps: tuple[str, Instant, list[Entry]], models: tuple[str, ...] = ("m",)) -> list[str]:
    stream = io.StringIO()
    progress = ReplayProgress(SINCE, UNTIL, models, stream)
    for policy, now, entries in steps:
        progress.tick(policy, Progress(now, 100), entries)
    progress.close()
    return stream.getvalue().splitlines()


def test_a_month_is_told_under_its_own_name_once_all_its_days_are_measured():
    january, last, february = instant("2024-01-30"), instant("2024-01-31"), instant("2024-02-01")
    lines = told(
        ("declared", instant("2024-02-01"), [measured(january, n=100, auc=0.6)]),
        ("declared", instant("2024-02-02"), [measured(last, n=300, auc=0.8)]),
        ("declared", instant("2024-02-03"), [measured(february, n=50, auc=None)]),
    )
    assert lines == [
        "declared  Jan 2024      400 requests  log-loss 0.500, AUC 0.969, AUC within days 0.750  (2 days)",
        "declared  Feb 2024       50 requests",
    ]


def test_every_policy_has_its_own_months():
    day = instant("2024-01-30")
    lines = told(
        ("declared", instant("2024-02-01"), [measured(day, n=10, auc=0.6)]),
        ("never", instant("2024-02-01"), [measured(day, n=20, auc=0.7)]),
    )
    assert [line.split()[0] for line in lines] == ["declared", "never"]
    assert [line.split()[3] for line in lines] == ["10", "20"]


def test_decisions_of_the_declared_policy_are_told_when_they_are_made_and_of_others_are_not():
    at = instant("2024-02-05")
    planted = entry(FaultPlanted(plant=PlantedFault("leaky", "delay", "at once")), at)
    lines = told(("declared", at, [planted]), ("never", at, [planted]))
    assert lines == ["2024-02-05  PLANTED leaky: reads delay, breaks at once"]


def test_of_several_models_each_has_its_own_months_and_lines_by_its_name():
    day, at = instant("2024-01-30"), instant("2024-02-05")
    planted = entry(FaultPlanted(plant=PlantedFault("leaky", "delay", "at once")), at, "loop/late")
    lines = told(
        ("declared", instant("2024-02-01"), [measured(day, n=10, auc=0.6, model="late")]),
        ("declared", instant("2024-02-01"), [measured(day, n=20, auc=0.7, model="minutes")]),
        ("declared", at, [planted]),
        models=("late", "minutes"),
    )
    assert [line.split()[3:5] for line in lines[1:]] == [["late", "10"], ["minutes", "20"]]
    assert lines[0] == "2024-02-05  late     PLANTED leaky: reads delay, breaks at once"
