"""Several runs side by side: only what differs, their curves, how parameters and metrics go together."""

from __future__ import annotations

import difflib
import math
import sqlite3
from collections.abc import Sequence
from urllib.parse import urlencode

import msgspec
from markupsafe import Markup

from varv.fronts.web.page import Asking, Page, Reading
from varv.fronts.web.pages.runs import Drawing
from varv.fronts.web.plots import (
    MOST_STYLES,
    Column,
    Labelled,
    Value,
    curve_chart,
    parallel_chart,
    scatter_chart,
)
from varv.fronts.web.viewer import text_of
from varv.home.tracking.looking import MOST_COMPARED, RunDesk, lines_of
from varv.kernel.errors import InvalidInput
from varv.runs import artifacts, reading
from varv.runs.comparing import RunLine, differences, metric_differences, varying
from varv.runs.curves import AXES, MOST_CURVES, Curves

MOST_CHARTS = 4
MOST_COLUMNS = 12
"""Of parallel coordinates."""
MOST_LINES = 50
MOST_BUCKETS, LEAST_BUCKETS, BUCKETS_TOGETHER = 120, 30, 2000
MOST_ROWS = 200
"""Rows of the table of what differs."""
MOST_DIFF_LINES = 400


class TextDiff(msgspec.Struct, frozen=True):
    """In what lines two texts differ, each line with ``+``, ``-`` or a space before it; no lines where one is
    no text, or too long.
    """

    path: str
    is_text: bool
    lines: tuple[str, ...] = ()
    is_cut: bool = False


def compare_page(now: Reading, query: Asking) -> Page:
    """Return a comparison of the runs that ``runs`` names, once for each or with commas between them.

    Raises
    ------
    NotFound
        If one does not exist.
    InvalidInput
        If there are too few or too many, or the query is not understood.
    """
    desk = now.require_runs()
    named = [one.strip() for text in query.getlist("runs") for one in text.split(",") if one.strip()]
    if len(named) < 2:
        data: dict[str, object] = {"n_named": len(named), "most": MOST_COMPARED}
        return Page("Compare runs", "compare_none.html", data)
    drawing, group = Drawing.of(query), query.get("group", "")
    with desk.search.reading() as db:
        compared = [desk.compared(db, run) for run in desk.chosen(db, named)]
        runs = [one.run for one in compared]
        lines = lines_of(runs)
        metrics = _metrics(lines, query.getlist("metric"))
        curves = _curves(desk, db, runs, metrics, drawing, group)
        diff = _text_diff(desk, db, runs, query.get("file", ""))
    everything = query.get("all", "") == "1"
    rows = differences(compared, all_rows=everything)
    data = {
        "runs": lines,
        "run_ids": [one.id for one in runs],
        "asked_metrics": query.getlist("metric"),
        "rows": rows[:MOST_ROWS],
        "n_rows": len(rows),
        "measured": metric_differences(lines, all_rows=everything),
        "everything": everything,
        "drawing": drawing,
        "axes": AXES,
        "group": group,
        "curved": list(curves),
        "n_drawn": len(runs) if group else min(len(runs), MOST_CURVES),
        "curves": curves,
        "diff": diff,
        "address": _address([one.id for one in runs]),
        "most_styles": MOST_STYLES,
    }
    charts = {name: _curve_chart(name, one, runs, drawing) for name, one in curves.items()}
    charts |= _relations(lines, query, data)
    return Page(f"Compare {len(runs)} runs", "compare.html", data, charts)


def _address(runs: Sequence[str]) -> dict[str, str]:
    """Return addresses of the same comparison, otherwise shown; what is added to one comes after an ``&``."""
    base = "/compare?" + urlencode([("runs", one) for one in runs])
    return {"all": f"{base}&all=1", "differing": base, "base": base}


def _metrics(lines: Sequence[RunLine], asked: Sequence[str]) -> list[str]:
    """Return the metrics whose curves are drawn: those asked for, or the first that vary and are curves."""
    known = varying(lines)[1]
    chosen = [name for name in dict.fromkeys(asked) if any(name in one.metrics for one in lines)]
    curved = [name for name in known if any(one.metrics[name].n > 1 for one in lines if name in one.metrics)]
    return (chosen or curved)[:MOST_CHARTS]


def _curves(
    desk: RunDesk,
    db: sqlite3.Connection,
    runs: Sequence[reading.Run],
    metrics: Sequence[str],
    drawing: Drawing,
    group: str,
) -> dict[str, Curves]:
    drawn = runs if group else runs[:MOST_CURVES]
    together = BUCKETS_TOGETHER // max(1, len(drawn) * len(metrics))
    n_buckets = max(LEAST_BUCKETS, min(MOST_BUCKETS, together))
    return {
        name: desk.curves(
            db,
            drawn,
            [name],
            axis=drawing.axis,
            n_buckets=n_buckets,
            smoothing=drawing.smooth,
            group=group,
        )
        for name in metrics
    }


def _curve_chart(name: str, found: Curves, runs: Sequence[reading.Run], drawing: Drawing) -> Markup:
    places = {run.id: Labelled(run.name, place) for place, run in enumerate(runs)}
    labels = [Labelled(one.group, place) for place, one in enumerate(found.groups)]
    labels = labels or [places[one.run] for one in found.curves]
    what = "means of groups" if found.groups else "runs"
    description = f"{name} of {len(labels)} {what} {drawing.text()}."
    return curve_chart(name, found, labels, description=description, log=drawing.log)


def _relations(lines: Sequence[RunLine], query: Asking, data: dict[str, object]) -> dict[str, Markup]:
    """Return how what varies goes together: parallel coordinates, and a scatter of two of them."""
    params, metrics = varying(lines)
    vary = [name for name in metrics if len({_last(one, name) for one in lines}) > 1]
    names = [f"params.{name}" for name in params[:8]]
    names += [f"metrics.{name}" for name in vary][: MOST_COLUMNS - len(names)]
    labels = [Labelled(one.name, place) for place, one in enumerate(lines)][:MOST_LINES]
    columns = [Column(name.partition(".")[2], [field_of(one, name) for one in lines]) for name in names]
    first_metric = next((name for name in names if name.startswith("metrics.")), "")
    x = query.get("x", "") or (names[0] if names else "")
    y = query.get("y", "") or first_metric
    data |= {"fields": names, "x": x, "y": y, "n_columns": len(names)}
    points = [(label, field_of(one, x), field_of(one, y)) for label, one in zip(labels, lines, strict=False)]
    told = f"{len(labels)} runs over {', '.join(one.name for one in columns)}."
    return {
        "parallel": parallel_chart("What varies, run by run", columns, labels, description=told),
        "scatter": scatter_chart(f"{y} over {x}", points, description=f"{len(points)} runs."),
    }


def field_of(line: RunLine, field: str) -> Value:
    """Return a parameter or a metric of a run as something to draw: a number wherever it is one.

    Raises
    ------
    InvalidInput
        If the field is neither.
    """
    kind, _, name = field.partition(".")
    if kind == "metrics":
        return _last(line, name)
    if kind != "params":
        raise InvalidInput(
            "field", field[:80], "is neither a parameter nor a metric", hint="write params.depth"
        )
    text = line.params.get(name)
    try:
        number = math.nan if text is None else float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _last(line: RunLine, metric: str) -> float | None:
    return found.last if (found := line.metrics.get(metric)) else None


def _text_diff(
    desk: RunDesk, db: sqlite3.Connection, runs: Sequence[reading.Run], path: str
) -> TextDiff | None:
    """Return the difference of one artifact between the first two runs."""
    if not path:
        return None
    texts = []
    for run in runs[:2]:
        text = text_of(desk.blobs, artifacts.find(db, f"runs/{run.id}", path))
        if text is None:
            return TextDiff(path, is_text=False)
        texts.append(text.splitlines())
    before, after = texts
    lines = [*difflib.unified_diff(before, after, runs[0].name, runs[1].name, lineterm="")]
    return TextDiff(path, True, tuple(lines[:MOST_DIFF_LINES]), len(lines) > MOST_DIFF_LINES)
