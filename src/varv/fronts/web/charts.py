"""Charts as SVG, made on the server: lines with bands, a ladder of steps, a heat map.

Pure functions from numbers to markup; no script and no style attribute, so they stand under the strictest
content policy. Text keeps its size at every width: horizontal places are percentages, and only the layer of
lines, which has no text, is stretched. Colours are classes of `static/varv.css`. Every line has a dash of its
own and its name at its end, so that nothing depends on colour.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec
from markupsafe import Markup

from varv.fronts.web.axes import Range, covering, spread, thinned, time_ticks
from varv.fronts.web.drawing import (
    LABEL_GAP,
    WIDTH,
    chart_id,
    framed,
    number_axis,
    place,
    time_axis,
    value_axis,
)
from varv.kernel.clock import DAY, Instant

LONGEST_LABEL = 36
NARROWEST_MARK_GAP = 0.045
NARROW_MARK_GAP = 0.16
"""Of the marks that keep their name on a narrow screen."""


class Point(msgspec.Struct, frozen=True):
    """A value at an instant and its interval; None where it could not be computed."""

    at: Instant
    value: float | None
    low: float | None = None
    high: float | None = None


class Line(msgspec.Struct, frozen=True):
    """A line and its band. `style` is one of ``one`` (solid), ``two``, ``three`` and ``four`` (dashed)."""

    label: str
    points: Sequence[Point]
    style: str = "one"


class Curve(msgspec.Struct, frozen=True):
    """A line over a plane of two numbers, in the order of its points; `style` as of a `Line`."""

    label: str
    points: Sequence[tuple[float, float]]
    style: str = "one"


class Spot(msgspec.Struct, frozen=True):
    """A single named place in a plane of two numbers."""

    label: str
    x: float
    y: float


class Mark(msgspec.Struct, frozen=True):
    """An event on the time axis; `kind` is ``good``, ``warn``, ``bad`` or ``note``."""

    at: Instant
    label: str
    kind: str = "note"


class Level(msgspec.Struct, frozen=True):
    """A value that lines are compared with."""

    value: float
    label: str


class Rung(msgspec.Struct, frozen=True):
    """One planned step and when it was taken; `state` is ``done``, ``now`` or ``open``."""

    label: str
    share: float
    state: str
    note: str = ""


class Cell(msgspec.Struct, frozen=True):
    """A cell of a heat map: how strong, 0 to 4, whether it is marked, and what it says when pointed at."""

    strength: int
    marked: bool = False
    title: str = ""


def line_chart(
    title: str,
    lines: Sequence[Line],
    *,
    description: str,
    levels: Sequence[Level] = (),
    marks: Sequence[Mark] = (),
    height: int = 200,
    zero: bool = False,
) -> Markup:
    """Return lines over time.

    Parameters
    ----------
    title, description
        What is shown, and what a reader who does not see it should know.
    lines
        At least one point in all, or an empty text is returned.
    levels
        Horizontal lines with a name: thresholds, zero.
    marks
        Events; those outside the span of the points are left out.
    height
        In CSS pixels, of the plot without its axis.
    zero
        Whether the axis begins at 0.
    """
    shown = [line for line in lines if any(point.value is not None for point in line.points)]
    if not shown:
        return Markup("")
    times = [point.at for line in shown for point in line.points if point.value is not None]
    since, until = min(times), max(times)
    across = Range(since, until if until > since else since + DAY)
    up = _value_range(shown, levels, zero=zero)
    inside = [mark for mark in sorted(marks, key=lambda mark: mark.at) if since <= mark.at <= until]
    body = Markup("").join(
        [
            value_axis(up, height),
            time_axis(time_ticks(Instant(int(across.low)), Instant(int(across.high))), across, height),
            _marks(inside, across, height),
            _paths(shown, across, up, height),
            _dots(shown, across, up, height),
            _levels(levels, up, height),
            _end_labels(shown, up, height),
        ]
    )
    told = "; ".join(mark.label for mark in inside)
    return framed(title, f"{description} Events: {told}." if told else description, body, height)


def plane_chart(
    title: str, curves: Sequence[Curve], spots: Sequence[Spot], *, description: str, height: int = 240
) -> Markup:
    """Return curves and single spots over a plane whose axes are numbers, each with its name.

    Parameters
    ----------
    curves
        At least one point in all, or an empty text is returned.
    spots
        Marked with a ring; their names stand beside them where they do not run into each other.
    """
    points = [point for curve in curves for point in curve.points] + [(spot.x, spot.y) for spot in spots]
    if not points:
        return Markup("")
    across = covering((x for x, _ in points), zero=True)
    up = covering(y for _, y in points)
    lines = Markup("").join(
        Markup('<path class="line {}" d="{}"/>').format(
            curve.style,
            "".join(
                f"{'L' if number else 'M'}{WIDTH * across.share(x):.1f} {place(y, up, height):.1f}"
                for number, (x, y) in enumerate(curve.points)
            ),
        )
        for curve in curves
    )
    layer = Markup(
        '<svg width="100%" height="{0}" viewBox="0 0 {1} {0}" preserveAspectRatio="none">{2}</svg>'
    ).format(height, WIDTH, lines)
    dots = Markup("").join(
        Markup('<circle class="dot {}" cx="{:.2f}%" cy="{:.1f}" r="3"><title>{}</title></circle>').format(
            curve.style, 100 * across.share(x), place(y, up, height), curve.label
        )
        for curve in curves
        for x, y in curve.points
    )
    axes = [value_axis(up, height), number_axis(across, height)]
    body = [*axes, layer, dots, _spots(spots, across, up, height), _curve_ends(curves, up, height)]
    return framed(title, description, Markup("").join(body), height)


def _spots(spots: Sequence[Spot], across: Range, up: Range, height: int) -> Markup:
    parts = []
    placed: list[tuple[float, float]] = []
    for spot in sorted(spots, key=lambda one: (one.y, one.x)):
        x, y = across.share(spot.x), place(spot.y, up, height)
        parts.append(
            Markup('<circle class="ring" cx="{:.2f}%" cy="{:.1f}" r="4"><title>{}</title></circle>').format(
                100 * x, y, spot.label
            )
        )
        if all(abs(x - one) > NARROW_MARK_GAP or abs(y - other) > LABEL_GAP for one, other in placed):
            to_left = x > 0.8
            parts.append(
                Markup('<text x="{:.2f}%" dx="{}" y="{:.1f}" text-anchor="{}">{}</text>').format(
                    100 * x, -8 if to_left else 8, y - 6, "end" if to_left else "start", spot.label
                )
            )
            placed.append((x, y))
    return Markup("").join(parts)


def _curve_ends(curves: Sequence[Curve], up: Range, height: int) -> Markup:
    named = [curve for curve in curves if curve.points]
    ends = [place(curve.points[-1][1], up, height) for curve in named]
    places = spread(ends, LABEL_GAP, 4.0, float(height))
    row = Markup('<text class="end {}" x="100%" dx="6" y="{:.1f}">{}</text>')
    return Markup("").join(
        row.format(curve.style, y + 4, curve.label) for curve, y in zip(named, places, strict=True)
    )


def step_ladder(title: str, rungs: Sequence[Rung]) -> Markup:
    """Return the steps of a rollout as bars that rise with the share; how far it came is filled."""
    if not rungs:
        return Markup("")
    height, width = 64, 100 / len(rungs)
    parts = []
    for index, rung in enumerate(rungs):
        # A root makes the first per cents visible beside 100.
        tall = 4 + (height - 4) * rung.share**0.5
        parts.append(
            Markup(
                '<rect class="rung {}" x="{:.2f}%" y="{:.1f}" width="{:.2f}%" height="{:.1f}" rx="3"/>'
                '<text x="{:.2f}%" y="{}">{}</text><text class="quiet" x="{:.2f}%" y="{}">{}</text>'
            ).format(
                *(rung.state, index * width, height - tall, width - 2, tall),
                *(index * width, height + 16, rung.label, index * width, height + 31, rung.note),
            )
        )
    told = ", ".join(f"{rung.label} {_STATES[rung.state]} {rung.note}".strip() for rung in rungs)
    name = chart_id(title, told)
    return Markup(
        '<svg class="chart ladder" width="100%" height="{}" role="img" aria-labelledby="{}">'
        '<title id="{}">{}. {}</title>{}</svg>'
    ).format(height + 40, name, name, title, told, Markup("").join(parts))


_STATES = {"done": "done", "now": "under way", "open": "not reached"}


def heat_map(
    title: str, rows: Sequence[tuple[str, Sequence[Cell | None]]], columns: Sequence[str], *, description: str
) -> Markup:
    """Return a matrix of cells, one row a feature or a month, one column a window or a day.

    Parameters
    ----------
    rows
        Names and cells; None where nothing was measured, which stays empty.
    columns
        Labels below, empty for none.
    """
    if not rows or not columns:
        return Markup("")
    size, width = 18, 100 / len(columns)
    parts = []
    for index, (label, cells) in enumerate(rows):
        top = index * size
        parts.append(
            Markup('<text x="-8" y="{}" text-anchor="end">{}</text>').format(top + 13, _short(label))
        )
        parts.extend(_cells(cells, top, width, size))
    bottom = len(rows) * size
    parts += [
        Markup('<text class="{}" x="{:.2f}%" y="{}" text-anchor="middle">{}</text>').format(
            "minor" if shown % 2 else "major", (n + 0.5) * width, bottom + 15, label
        )
        for shown, (n, label) in enumerate((n, label) for n, label in enumerate(columns) if label)
    ]
    return framed(title, description, Markup("").join(parts), bottom, kind="heat")


def _short(label: str) -> str:
    """Return a label that fits beside its row: of a long name the end, where names differ."""
    return label if len(label) <= LONGEST_LABEL else f"…{label[1 - LONGEST_LABEL :]}"


def _cells(cells: Sequence[Cell | None], top: int, width: float, size: int) -> Iterable[Markup]:
    for column, cell in enumerate(cells):
        if cell is None:
            continue
        box = Markup('<rect class="h{}" x="{:.2f}%" y="{}" width="{:.2f}%" height="{}">').format(
            cell.strength, column * width, top + 1, width * 0.94, size - 2
        )
        note = Markup("<title>{}</title>").format(cell.title) if cell.title else Markup("")
        yield box + note + Markup("</rect>")
        if cell.marked:
            yield Markup('<circle class="ring" cx="{:.2f}%" cy="{}" r="3.5"/>').format(
                (column + 0.47) * width, top + size / 2
            )


def _value_range(lines: Sequence[Line], levels: Sequence[Level], *, zero: bool) -> Range:
    values = [point.value for line in lines for point in line.points if point.value is not None]
    # An early interval may be as wide as the world; the widest ones are cut rather than flatten all the rest.
    lows = sorted(point.low for line in lines for point in line.points if point.low is not None)
    highs = sorted(point.high for line in lines for point in line.points if point.high is not None)
    usual = [lows[len(lows) // 10], highs[(len(highs) - 1) * 9 // 10]] if lows and highs else []
    core = covering([*values, *usual, *(level.value for level in levels)], zero=zero)
    reach = 0.5 * (core.high - core.low)
    near = [bound for bound in (*lows, *highs) if core.low - reach <= bound <= core.high + reach]
    return covering([*values, *usual, *near, *(level.value for level in levels)], zero=zero)


def _marks(marks: Sequence[Mark], across: Range, height: int) -> Markup:
    parts = []
    last = last_major = -1.0
    for mark in marks:
        share = across.share(mark.at)
        parts.append(
            Markup(
                '<g class="mark {0}"><title>{1}</title><line x1="{2:.2f}%" x2="{2:.2f}%" y1="-4" y2="{3}"/>'
            ).format(mark.kind, mark.label, 100 * share, height)
        )
        # Names that would run into each other are left to the titles and the description.
        if share - last >= NARROWEST_MARK_GAP:
            short = mark.label.split(" ", 1)[0]
            wide = "major" if share - last_major >= NARROW_MARK_GAP else "minor"
            parts.append(
                Markup('<text class="{}" x="{:.2f}%" y="-8" text-anchor="middle">{}</text>').format(
                    wide, 100 * share, short
                )
            )
            last, last_major = share, share if wide == "major" else last_major
        parts.append(Markup("</g>"))
    return Markup("").join(parts)


def _paths(lines: Sequence[Line], across: Range, up: Range, height: int) -> Markup:
    parts = []
    for line in lines:
        band = _band(line, across, up, height)
        if band:
            parts.append(Markup('<path class="band {}" d="{}"/>').format(line.style, band))
    for line in lines:
        points = thinned([(point.at, point.value) for point in line.points])
        parts.append(
            Markup('<path class="line {}" d="{}"/>').format(line.style, _path(points, across, up, height))
        )
    return Markup(
        '<svg width="100%" height="{0}" viewBox="0 0 {1} {0}" preserveAspectRatio="none">{2}</svg>'
    ).format(height, WIDTH, Markup("").join(parts))


def _path(points: Sequence[tuple[float, float | None]], across: Range, up: Range, height: int) -> str:
    parts: list[str] = []
    pen = "M"
    for at, value in points:
        if value is None:
            pen = "M"
            continue
        parts.append(f"{pen}{WIDTH * across.share(at):.1f} {place(value, up, height):.1f}")
        pen = "L"
    return "".join(parts)


def _band(line: Line, across: Range, up: Range, height: int) -> str:
    stretches: list[list[Point]] = [[]]
    for point in line.points:
        if point.low is None or point.high is None:
            stretches.append([])
        else:
            stretches[-1].append(point)
    parts = []
    for stretch in stretches:
        above = thinned([(point.at, point.high) for point in stretch])
        below = thinned([(point.at, point.low) for point in stretch])
        if above:
            edge = _path(above, across, up, height) + _path(below[::-1], across, up, height).replace(
                "M", "L", 1
            )
            parts.append(edge + "Z")
    return "".join(parts)


def _dots(lines: Sequence[Line], across: Range, up: Range, height: int) -> Markup:
    """Return a dot for each line's single point: a path of one point draws nothing."""
    parts = []
    for line in lines:
        known = [point for point in line.points if point.value is not None]
        if len(known) == 1 and known[0].value is not None:
            x, y = 100 * across.share(known[0].at), place(known[0].value, up, height)
            parts.append(
                Markup('<circle class="dot {}" cx="{:.2f}%" cy="{:.1f}" r="3"/>').format(line.style, x, y)
            )
    return Markup("").join(parts)


def _levels(levels: Sequence[Level], up: Range, height: int) -> Markup:
    row = Markup(
        '<g class="level"><line x1="0" x2="100%" y1="{0:.1f}" y2="{0:.1f}"/>'
        '<text x="4" y="{1:.1f}">{2}</text></g>'
    )
    places = sorted((place(level.value, up, height), level.label) for level in levels)
    parts: list[Markup] = []
    above = -math.inf
    for y, label in places:
        # A name that would run into the one above it stands below its line.
        parts.append(row.format(y, y - 4 if y - above >= LABEL_GAP else y + LABEL_GAP - 2, label))
        above = y
    return Markup("").join(parts)


def _end_labels(lines: Sequence[Line], up: Range, height: int) -> Markup:
    ends = [next(point.value for point in reversed(line.points) if point.value is not None) for line in lines]
    places = spread([place(value, up, height) for value in ends], LABEL_GAP, 4.0, float(height))
    row = Markup('<text class="end {}" x="100%" dx="6" y="{:.1f}">{}</text>')
    return Markup("").join(
        row.format(line.style, y + 4, line.label) for line, y in zip(lines, places, strict=True) if line.label
    )
