"""Monitors: performance and calibration by day, drift by feature and window, alarms and their evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

from markupsafe import Markup

from varv.features.skew import CLASSES
from varv.fronts.web import words
from varv.fronts.web.charts import Cell, Line, Mark, Point, heat_map, line_chart
from varv.fronts.web.page import Page, Reading, date_text, not_one_of, time_range
from varv.kernel.clock import DAY, Instant, as_datetime, spoken
from varv.kernel.ids import ModelName
from varv.monitoring import FeatureDrift, PerformanceMeasured, Window
from varv.monitoring.evidence import UNITS
from varv.monitoring.summary import Column, Summary, by_month, columns_of, glossary, shown, summarised
from varv.monitoring.views import DriftMatrix
from varv.tasks import Task, TaskSpec, task_of

LONGEST_END = 12
"""Characters that fit beside the end of a line."""
SHOWN_WINDOWS = 6
PSI_LEVELS = (0.1, 0.2, 0.5, 1.0)
"""Population stability index from which a cell is drawn in the first to the fourth strength."""

SILENCE = 60 * DAY
"""Without outcomes for so long, what came before is another chapter: charts begin after it unless asked."""

RECENT_DAYS = 30
"""How many days the quality of a model is shown over in the list of models."""

SKEW_DAYS = 7
"""How many days of skew are counted together."""

Number = Callable[[PerformanceMeasured], float | None]


def monitors_page(now: Reading, query: Mapping[str, str]) -> Page:
    """Return every watched model with its last measurement."""
    lines = []
    for name in now.monitoring.models():
        series = daily(now, name)
        last = next((one for one in reversed(series) if one.n), None)
        lines.append(
            {
                "model": name,
                "version": now.monitoring.watched(name),
                "last": last,
                "numbers": shown(task_of(last.task), last) if last else [],
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
    within = [one for one in series if since <= one.window.start < until]
    task = task_of(series[-1].task if series else TaskSpec())
    last = next((one for one in reversed(within) if one.n), within[-1] if within else None)
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
        "series": within,
        "judged": task.has_outcome,
        "quality": _quality(by_month(now.monitoring.measured(name, since, until))),
        "glossary": glossary(task),
        "captions": {one.name: _caption(one) for one in columns_of(task)},
        "offsets": [one for one in now.monitoring.offsets(name) if since <= one.at < until + 3 * DAY],
        "last": last,
        "numbers": shown(task_of(last.task), last) if last else [],
        "drift": {"windows": matrix.windows, "features": matrix.features, "cells": matrix.cells},
        "table": _last_windows(matrix),
        "skew": _skew(now, model),
        "alarms": alarms,
        "n_open": sum(1 for one in alarms if one.cleared_at is None),
    }
    charts = {"drift": drift_map(matrix), **_charts(task, within, _marks(now, name))}
    return Page(f"Monitors of {model}", "monitor.html", data, charts)


def _skew(now: Reading, model: str) -> dict[str, object]:
    """Return how features were served in the last days that were compared."""
    held = now.skew.of(model)
    first = max(held.days, default=0) - (SKEW_DAYS - 1) * DAY
    lines = [
        {
            "feature": one.name,
            "n": one.n,
            "shares": [n / one.n if one.n else 0.0 for n in one.by_class().values()],
            "in_time": one.in_time / one.n if one.n and one.fresh is not None else None,
            "fresh": "" if one.fresh is None else spoken(one.fresh),
            "said": one.said(),
        }
        for one in held.latest(SKEW_DAYS)
    ]
    compared = sum(n for day, n in held.n_compared.items() if day >= first)
    record = now.loops.loops.get(model)
    declared = None if record is None else record.declared
    own = set() if declared is None else {one.view for one in declared.features}
    last = max(now.reads.days, default=0)
    return {
        "features": lines,
        "classes": CLASSES,
        "n_compared": compared,
        "left_out": held.left_out,
        "reads": [
            {"view": name, "n": one.n, "share": one.share, "fresh": spoken(one.fresh)}
            for name, one in sorted(now.reads.latest(last, SKEW_DAYS).items())
            if name in own
        ],
    }


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
    """Return the daily loss of whoever was champion, with what happened meanwhile; nothing where there is no
    loss.
    """
    series = last_chapter(daily(now, name))
    task = task_of(series[-1].task if series else TaskSpec())
    return Markup("") if task.loss is None else _chart(columns_of(task)[0], series, _marks(now, name))


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


def _chart(column: Column, series: list[PerformanceMeasured], marks: list[Mark]) -> Markup:
    """Return one number of every day with its band."""
    seen = [(one.window.start, one.numbers().get(column.name)) for one in series]
    points = [Point(at, None) if one is None else Point(at, one.value, one.low, one.high) for at, one in seen]
    title = f"{column.label[:1].upper()}{column.label[1:]} of the champion by day"
    description = f"{column.label} of each of {len(points)} days{UNITS.get(column.unit, '')}."
    # A long label would not fit beside the plot, and the heading has it.
    end = column.label if len(column.label) <= LONGEST_END else column.name.replace("_", " ")
    return line_chart(title, [Line(end, points)], description=description, marks=marks)


def _caption(column: Column) -> str:
    meaning = f": {column.meaning}" if column.meaning else UNITS.get(column.unit, "")
    return f"{column.label}{meaning}. Bands are 95 % intervals of each day, clustered by the hour."


def _charts(task: Task, series: list[PerformanceMeasured], marks: list[Mark]) -> dict[str, Markup]:
    """Return a chart of every number of the task, by its name, and one of rates where outcomes are 0 or 1."""
    return {
        **{column.name: _chart(column, series, marks) for column in columns_of(task)},
        "rates": line_chart(
            "Outcome rate and mean score by day",
            [
                _line("outcome", series, lambda one: one.base_rate, "one"),
                _line("score", series, lambda one: one.mean_score, "two"),
            ],
            description="Daily share of requests with outcome 1, and the mean predicted probability.",
            marks=marks,
            zero=True,
        ),
    }


def _quality(months: list[tuple[str, Summary]]) -> dict[str, object]:
    """Return the months as a table: labels of all numbers that some month has, and each month's numbers."""
    labels = {one.name: one.label for _, month in months for one in month.numbers}
    rows = [{"month": month, "cells": [month.number(name) for name in labels]} for _, month in months]
    return {"labels": list(labels.values()), "rows": rows}


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
