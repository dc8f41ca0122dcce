"""Monitors: performance and calibration by day, drift by feature and window, alarms and their evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

from markupsafe import Markup

from varv.fronts.web import words
from varv.fronts.web.charts import Cell, Line, Mark, Point, heat_map, line_chart
from varv.fronts.web.page import Page, Reading, date_text, not_one_of, time_range
from varv.kernel.clock import DAY, Instant, as_datetime
from varv.kernel.ids import ModelName
from varv.monitoring import FeatureDrift, PerformanceMeasured, Window
from varv.monitoring.summary import GLOSSARY, by_month, summarised
from varv.monitoring.views import DriftMatrix

SHOWN_WINDOWS = 6
PSI_LEVELS = (0.1, 0.2, 0.5, 1.0)
"""Population stability index from which a cell is drawn in the first to the fourth strength."""

SILENCE = 60 * DAY
"""Without outcomes for so long, what came before is another chapter: charts begin after it unless asked."""

RECENT_DAYS = 30
"""How many days the quality of a model is shown over in the list of models."""

Number = Callable[[PerformanceMeasured], float | None]


def monitors_page(now: Reading, query: Mapping[str, str]) -> Page:
    """Return every watched model with its last measurement."""
    lines = []
    for name in now.monitoring.models():
        series = daily(now, name)
        last = next((one for one in reversed(series) if one.log_loss is not None), None)
        lines.append(
            {
                "model": name,
                "version": now.monitoring.watched(name),
                "last": last,
                "quality": summarised(recent(series)),
                "n_open": len(now.monitoring.open_alarms(name)),
                "n_alarms": len(now.monitoring.alarms(name)),
            }
        )
    return Page("Monitors", "monitors.html", {"models": lines})


def monitor_page(now: Reading, model: str, query: Mapping[str, str]) -> Page:
    """Return the monitors of one model, for the days from ``from`` to ``to``.

    Raises
    ------
    NotFound
        If the model is not watched.
    InvalidInput
        If the range is not one of times.
    """
    name = ModelName(model)
    if name not in now.monitoring.models():
        known = [str(one) for one in now.monitoring.models()]
        raise not_one_of("monitor", model, known, "a monitor starts with the first champion")
    series = daily(now, name)
    chapter = last_chapter(series)
    ends = [chapter[0].window.start, chapter[-1].window.end] if chapter else [0, DAY]
    since, until = time_range(query, ends[0], ends[1])
    shown = [one for one in series if since <= one.window.start < until]
    matrix = _cut(now.monitoring.drift(name), since, until)
    alarms = [one for one in now.monitoring.alarms(name) if since <= one.raised_at < until + 3 * DAY]
    data: dict[str, object] = {
        "model": model,
        "version": now.monitoring.watched(name),
        "range": {
            "from": date_text(since),
            "to": date_text(until),
            "given": bool(query.get("from") or query.get("to")),
        },
        "first": date_text(series[0].window.start) if series else "",
        "months": _months(series),
        "series": shown,
        "quality": by_month(one for one in now.monitoring.measured(name, since, until)),
        "glossary": GLOSSARY,
        "offsets": [one for one in now.monitoring.offsets(name) if since <= one.at < until + 3 * DAY],
        "last": next((one for one in reversed(shown) if one.n), shown[-1] if shown else None),
        "drift": {"windows": matrix.windows, "features": matrix.features, "cells": matrix.cells},
        "table": _last_windows(matrix),
        "alarms": alarms,
        "n_open": sum(1 for one in alarms if one.cleared_at is None),
    }
    return Page(f"Monitors of {model}", "monitor.html", data, _charts(shown, matrix, _marks(now, name)))


def daily(now: Reading, name: ModelName) -> list[PerformanceMeasured]:
    """Return the measured windows of a model in order of time, each of the version that was champion then.

    On the day of a promotion two were: the one that answered more requests stands for the day.
    """
    by_window: dict[Window, PerformanceMeasured] = {}
    for one in now.monitoring.measured(name):
        before = by_window.get(one.window)
        if before is None or one.n_requests > before.n_requests:
            by_window[one.window] = one
    return [by_window[window] for window in sorted(by_window)]


def recent(series: list[PerformanceMeasured]) -> list[PerformanceMeasured]:
    """Return the last `RECENT_DAYS` of the days measured."""
    since = series[-1].window.start - (RECENT_DAYS - 1) * DAY if series else 0
    return [one for one in series if one.window.start >= since]


def last_chapter(series: list[PerformanceMeasured]) -> list[PerformanceMeasured]:
    """Return the days since outcomes last began to come, after a silence; all if there was none."""
    start = 0
    labelled = [index for index, one in enumerate(series) if one.n]
    for before, after in pairwise(labelled):
        if series[after].window.start - series[before].window.start > SILENCE:
            start = after
    return series[start:]


def loss_chart(now: Reading, name: ModelName) -> Markup:
    """Return the daily log-loss of whoever was champion, with what happened meanwhile."""
    return _loss(last_chapter(daily(now, name)), _marks(now, name))


def _marks(now: Reading, name: ModelName) -> list[Mark]:
    found = []
    for record in now.rollouts.of_model(name):
        if record.outcome and record.settled_at is not None:
            good = record.outcome == "promoted"
            label = f"v{record.version} {'promoted' if good else 'rolled back'}"
            found.append(Mark(record.settled_at, label, "good" if good else "bad"))
    found += [
        Mark(one.raised_at, f"▲ {one.raised.kind} alarm on {one.raised.subject}", "warn")
        for one in now.monitoring.alarms(name)
    ]
    return found


def _loss(series: list[PerformanceMeasured], marks: list[Mark]) -> Markup:
    points = [Point(one.window.start, one.log_loss, one.log_loss_low, one.log_loss_high) for one in series]
    return line_chart(
        "Log-loss of the champion by day",
        [Line("log-loss", points)],
        description=f"Daily log-loss in nats over {len(points)} days with 95 % intervals.",
        marks=marks,
    )


def _charts(series: list[PerformanceMeasured], matrix: DriftMatrix, marks: list[Mark]) -> dict[str, Markup]:
    auc = [Point(one.window.start, one.auc, one.auc_low, one.auc_high) for one in series]
    excess = [
        Point(one.window.start, one.excess_loss, one.excess_loss_low, one.excess_loss_high) for one in series
    ]
    return {
        "loss": _loss(series, marks),
        "auc": line_chart(
            "AUC of the champion within each day",
            [Line("AUC", auc)],
            description=f"Area under the ROC curve within each of {len(auc)} days, with 95 % intervals.",
            marks=marks,
        ),
        "excess": line_chart(
            "Excess loss of the champion by day",
            [Line("excess", excess)],
            description="Daily log-loss beyond what the scores promise, in nats, with 95 % intervals.",
            marks=marks,
        ),
        "calibration": line_chart(
            "Outcome rate and mean score by day",
            [
                _line("outcome", series, lambda one: one.base_rate, "one"),
                _line("score", series, lambda one: one.mean_score, "two"),
            ],
            description="Daily share of requests with outcome 1, and the mean predicted probability.",
            marks=marks,
            zero=True,
        ),
        "drift": drift_map(matrix),
    }


def _line(label: str, series: list[PerformanceMeasured], number: Number, style: str) -> Line:
    return Line(label, [Point(one.window.start, number(one)) for one in series], style)


def drift_map(matrix: DriftMatrix) -> Markup:
    """Return the drift matrix as a picture: the stronger, the larger the PSI; a ring marks harm."""
    rows = [
        (name, [_cell(cell) for cell in cells])
        for name, cells in zip(matrix.features, matrix.cells, strict=True)
    ]
    step = max(1, len(matrix.windows) // 6)
    columns = [
        f"{as_datetime(one.end):%d %b}" if index % step == 0 else ""
        for index, one in enumerate(matrix.windows)
    ]
    n_harmful = sum(1 for row in matrix.cells for cell in row if cell and cell.harmful)
    return heat_map(
        "Drift of every feature",
        rows,
        columns,
        description=f"{len(rows)} features by {len(columns)} windows; {n_harmful} cells are harmful.",
    )


def _cell(one: FeatureDrift | None) -> Cell | None:
    if one is None:
        return None
    strength = sum(one.psi >= level for level in PSI_LEVELS) if one.drifted else 0
    return Cell(strength, one.harmful)


def _cut(matrix: DriftMatrix, since: Instant, until: Instant) -> DriftMatrix:
    kept = [index for index, one in enumerate(matrix.windows) if since < one.end <= until]
    cells = tuple(tuple(row[index] for index in kept) for row in matrix.cells)
    return DriftMatrix(tuple(matrix.windows[index] for index in kept), matrix.features, cells)


def _last_windows(matrix: DriftMatrix) -> dict[str, object]:
    """Return the newest windows as a table, harmful and drifted features first."""
    windows: tuple[Window, ...] = matrix.windows[-SHOWN_WINDOWS:]
    rows = [
        {"feature": name, "cells": cells[-SHOWN_WINDOWS:]}
        for name, cells in sorted(zip(matrix.features, matrix.cells, strict=True), key=_by_last_psi)
    ]
    return {"windows": windows, "rows": rows}


def _by_last_psi(row: tuple[str, tuple[FeatureDrift | None, ...]]) -> tuple[int, float, str]:
    last = row[1][-1] if row[1] else None
    rank = 2 if last is None or not last.drifted else 0 if last.harmful else 1
    return (rank, -(last.psi if last else 0.0), row[0])


def _months(series: list[PerformanceMeasured]) -> list[dict[str, str]]:
    """Return the calendar months that were measured, for links to each."""
    found: dict[str, dict[str, str]] = {}
    for one in series:
        when = as_datetime(one.window.start)
        following = (when.year + when.month // 12, when.month % 12 + 1)
        key = f"{when:%Y-%m}"
        found[key] = {
            "name": words.month(one.window.start),
            "from": f"{key}-01",
            "to": f"{following[0]}-{following[1]:02d}-01",
        }
    return list(found.values())
