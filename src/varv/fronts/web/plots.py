"""Plots of runs as SVG: curves over one axis, parallel coordinates, a scatter of points.

Pure functions from numbers to markup, under the same rules as `charts`: no script, no style attribute, text
that keeps its size. Up to `MOST_STYLES` things are told apart by a colour and a dash together, and by their
names.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import msgspec
from markupsafe import Markup

from varv.fronts.web.axes import Range, Tick, covering, round_ticks, spread, time_ticks
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
from varv.kernel.clock import Instant
from varv.runs.curves import Axis, Curve, Curves, Group

MOST_STYLES = 20
COLOURS = 4
GREATEST = 1e100
"""What is larger is drawn as if it were not there: it would flatten all the rest."""
AXIS_GAP = 112
"""Pixels from one of parallel axes to the next."""
LONGEST_NAME = 18
MOST_NAMED = 12
"""Points of a scatter whose names stand beside them."""
MOST_LOG_TICKS = 6
NARROW = 0.14
"""Of the width, that a name beside a point takes."""
_UNITS = ((3_600_000.0, "h"), (60_000.0, "min"), (1000.0, "s"), (1.0, "ms"))

Value = float | str | None


class Column(msgspec.Struct, frozen=True):
    """One of parallel axes: its name, and a number or a text for each run, None where it has none."""

    name: str
    values: Sequence[Value]


class Labelled(msgspec.Struct, frozen=True):
    """A name, and which style stands for it."""

    label: str
    style: int


def style_of(number: int) -> str:
    """Return the classes of a style: a colour and a dash.

    Examples
    --------
    >>> style_of(0), style_of(5)
    ('c0 d0', 'c1 d1')
    """
    return f"c{number % COLOURS} d{number // COLOURS % (MOST_STYLES // COLOURS)}"


def short(name: str) -> str:
    """Return a name as it fits beside a curve: of a long one the end, where names of a sweep differ."""
    return name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}"


def curve_chart(
    title: str,
    found: Curves,
    labels: Sequence[Labelled],
    *,
    description: str,
    height: int = 180,
    log: bool = False,
) -> Markup:
    """Return curves of one metric.

    Parameters
    ----------
    found
        The curves, or groups if there are any; all of one metric.
    labels
        For each curve or group, in their order.
    log
        Whether the vertical axis is logarithmic; what is not above 0 is left out then.
    """
    shown = [_Shown.of_group(one, log) for one in found.groups] or [
        _Shown.of_curve(one, log) for one in found.curves
    ]
    pairs = [(one, label) for one, label in zip(shown, labels, strict=True) if one.known]
    if not pairs:
        return Markup("")
    across = Range(found.since, found.until if found.until > found.since else found.since + 1)
    up = covering(value for one, _ in pairs for value in one.extremes())
    height = max(height, math.ceil(LABEL_GAP * len(pairs)))
    lines = Markup("").join(
        [*(one.band(label, across, up, height) for one, label in pairs)]
        + [one.line(label, across, up, height) for one, label in pairs]
    )
    body = [
        _log_axis(up, height) if log else value_axis(up, height),
        _axis_below(found.axis, across, height),
        _stretched(lines, height),
        *(mark for one, label in pairs for mark in one.marks(label, across, up, height)),
        _names(pairs, up, height),
    ]
    kind = "named" if any(label.label for _, label in pairs) else "alone"
    return framed(title, description, Markup("").join(body), height, kind=f"plotted {kind}")


class _Shown(msgspec.Struct, frozen=True):
    """A curve or the mean of several, as numbers to draw; on a logarithmic axis their logarithms."""

    x: Sequence[float]
    middle: Sequence[float | None]
    low: Sequence[float | None]
    high: Sequence[float | None]
    not_numbers: Sequence[float] = ()

    @classmethod
    def of_curve(cls, one: Curve, log: bool) -> _Shown:
        middle, low, high = (_drawable(values, log) for values in (one.smooth, one.low, one.high))
        return cls(one.x, middle, low, high, one.not_numbers)

    @classmethod
    def of_group(cls, one: Group, log: bool) -> _Shown:
        middle, low, high = (_drawable(values, log) for values in (one.mean, one.low, one.high))
        return cls(one.x, middle, low, high)

    @property
    def known(self) -> list[tuple[float, float]]:
        return [(x, value) for x, value in zip(self.x, self.middle, strict=True) if value is not None]

    def extremes(self) -> Iterator[float]:
        for values in (self.middle, self.low, self.high):
            yield from (value for value in values if value is not None)

    def line(self, label: Labelled, across: Range, up: Range, height: int) -> Markup:
        parts: list[str] = []
        pen = "M"
        for x, value in zip(self.x, self.middle, strict=True):
            if value is None:
                pen = "M"
            else:
                parts.append(f"{pen}{WIDTH * across.share(x):.1f} {place(value, up, height):.1f}")
                pen = "L"
        return Markup('<path class="line {}" d="{}"/>').format(style_of(label.style), "".join(parts))

    def band(self, label: Labelled, across: Range, up: Range, height: int) -> Markup:
        bounds = [
            (WIDTH * across.share(x), place(low, up, height), place(high, up, height))
            for x, low, high in zip(self.x, self.low, self.high, strict=True)
            if low is not None and high is not None
        ]
        if all(bottom - top < 0.5 for _, bottom, top in bounds):
            return Markup("")
        above = "L".join(f"{x:.1f} {top:.1f}" for x, _, top in bounds)
        below = "L".join(f"{x:.1f} {bottom:.1f}" for x, bottom, _ in reversed(bounds))
        return Markup('<path class="band {}" d="M{}L{}Z"/>').format(style_of(label.style), above, below)

    def marks(self, label: Labelled, across: Range, up: Range, height: int) -> Iterator[Markup]:
        if len(self.known) == 1:
            x, value = self.known[0]
            yield _dot(label, 100 * across.share(x), place(value, up, height), "")
        for x in self.not_numbers:
            told = f"{label.label}: not a number at {x:,.0f}"
            yield Markup(
                '<text class="nan" x="{:.2f}%" y="{}" text-anchor="middle">×<title>{}</title></text>'
            ).format(100 * across.share(x), height - 3, told)


def _drawable(values: Sequence[float | None], log: bool) -> list[float | None]:
    kept = [None if one is None or not abs(one) <= GREATEST else one for one in values]
    if not log:
        return kept
    return [None if one is None or one <= 0 else math.log10(one) for one in kept]


def _stretched(lines: Markup, height: int) -> Markup:
    return Markup(
        '<svg width="100%" height="{0}" viewBox="0 0 {1} {0}" preserveAspectRatio="none">{2}</svg>'
    ).format(height, WIDTH, lines)


def _names(pairs: Sequence[tuple[_Shown, Labelled]], up: Range, height: int) -> Markup:
    ends = [place(one.known[-1][1], up, height) for one, _ in pairs]
    row = Markup('<text class="end {}" x="100%" dx="6" y="{:.1f}">{}</text>')
    places = spread(ends, LABEL_GAP, 4.0, float(height))
    return Markup("").join(
        row.format(style_of(label.style), y + 4, short(label.label))
        for (_, label), y in zip(pairs, places, strict=True)
        if label.label
    )


def _axis_below(axis: Axis, across: Range, height: int) -> Markup:
    if axis == "step":
        # Between two steps there is none.
        whole = [tick for tick in round_ticks(across, 8) if tick.at == round(tick.at)]
        ticks = [Tick(tick.at, tick.text.partition(".")[0]) for tick in whole]
        return time_axis(ticks, across, height)
    if axis == "wall":
        since, until = (Instant(int(end * 1000)) for end in (across.low, across.high))
        ticks = [Tick(tick.at / 1000, tick.text) for tick in time_ticks(since, until)]
        return time_axis(ticks, across, height)
    long = max(abs(across.low), abs(across.high))
    size, unit = next(((size, unit) for size, unit in _UNITS if long >= 2 * size), _UNITS[-1])
    ticks = round_ticks(Range(across.low / size, across.high / size), 8)
    return time_axis([Tick(tick.at * size, f"{tick.text} {unit}") for tick in ticks], across, height)


def _log_axis(up: Range, height: int) -> Markup:
    row = Markup(
        '<line class="grid" x1="0" x2="100%" y1="{0:.1f}" y2="{0:.1f}"/>'
        '<text x="-8" y="{1:.1f}" text-anchor="end">{2}</text>'
    )
    values = [
        unit * 10.0**power for power in range(math.floor(up.low), math.ceil(up.high)) for unit in (1, 2, 5)
    ]
    inside = [math.log10(value) for value in values if up.low <= math.log10(value) <= up.high]
    if len(inside) > MOST_LOG_TICKS:
        inside = [tick.at for tick in round_ticks(up, MOST_LOG_TICKS) if tick.at == round(tick.at)]
    places = [(at, place(at, up, height)) for at in inside]
    return Markup("").join(row.format(y, y + 4, f"{10**at:.3g}") for at, y in places)


def _dot(label: Labelled, x: float, y: float, title: str) -> Markup:
    told = Markup("<title>{}</title>").format(title) if title else Markup("")
    return Markup('<circle class="dot {}" cx="{:.2f}%" cy="{:.1f}" r="4">{}</circle>').format(
        style_of(label.style), x, y, told
    )


def scatter_chart(
    title: str,
    points: Sequence[tuple[Labelled, Value, Value]],
    *,
    description: str,
    height: int = 240,
) -> Markup:
    """Return a point for each run that has both values; texts stand in their order along an axis."""
    known = [(label, x, y) for label, x, y in points if x is not None and y is not None]
    if not known:
        return Markup("")
    across, up = _Scale([x for _, x, _ in known]), _Scale([y for _, _, y in known])
    parts = [up.beside(height), across.below(height)]
    named: list[tuple[float, float]] = []
    for label, x, y in known:
        left, top = 100 * across.share(x), height * (1 - up.share(y))
        parts.append(_dot(label, left, top, f"{label.label}: {x}, {y}"))
        is_free = all(abs(left - a) > 100 * NARROW or abs(top - b) > LABEL_GAP for a, b in named)
        if is_free and len(named) < MOST_NAMED:
            named.append((left, top))
            near = "end" if left > 80 else "start"
            parts.append(
                Markup('<text x="{:.2f}%" dx="{}" y="{:.1f}" text-anchor="{}">{}</text>').format(
                    left, -7 if near == "end" else 7, top - 5, near, short(label.label)
                )
            )
    return framed(title, description, Markup("").join(parts), height)


class _Scale:
    """An axis of numbers, or of texts in their order."""

    def __init__(self, values: Sequence[Value], *, tight: bool = False) -> None:
        numbers = [value for value in values if isinstance(value, float) and abs(value) <= GREATEST]
        self._is_text = len(numbers) < len(values)
        self._texts = sorted({str(value) for value in values}) if self._is_text else []
        n = max(1, len(self._texts))
        self._range = Range(-0.5, n - 0.5) if self._is_text else covering(numbers)
        if tight:
            # A text that is the only one, or a number, lies in the middle.
            low, high = (0.0, n - 1.0) if self._is_text else (min(numbers), max(numbers))
            self._range = Range(low, high) if high > low else Range(low - 0.5, high + 0.5)

    def share(self, value: Value) -> float:
        if self._is_text:
            return self._range.share(self._texts.index(str(value)))
        assert isinstance(value, float), "all are numbers"
        return self._range.share(value)

    def ends(self) -> tuple[str, str]:
        """Return what stands at the lower and at the upper end."""
        if self._is_text:
            return self._texts[0], self._texts[-1]
        low, high = (f"{end:.4g}".replace("-", "−") for end in (self._range.low, self._range.high))
        return low, high

    def _ticks(self) -> list[Tick]:
        return [Tick(at, short(text)) for at, text in enumerate(self._texts)]

    def beside(self, height: int) -> Markup:
        if not self._is_text:
            return value_axis(self._range, height)
        row = Markup('<text x="-8" y="{:.1f}" text-anchor="end">{}</text>')
        return Markup("").join(
            row.format(place(tick.at, self._range, height) + 4, tick.text[:7]) for tick in self._ticks()
        )

    def below(self, height: int) -> Markup:
        if not self._is_text:
            return number_axis(self._range, height)
        return time_axis(self._ticks(), self._range, height)


def parallel_chart(
    title: str, columns: Sequence[Column], labels: Sequence[Labelled], *, description: str, height: int = 220
) -> Markup:
    """Return a line for each run across parallel axes, one for each column; a line has a gap where a run has
    no value.
    """
    if len(columns) < 2 or not labels:
        return Markup("")
    scales = [
        _Scale([value for value in one.values if value is not None] or [0.0], tight=True) for one in columns
    ]
    parts = [
        _upright(place * AXIS_GAP, one.name, scale, height)
        for place, (one, scale) in enumerate(zip(columns, scales, strict=True))
    ]
    for number, label in enumerate(labels):
        points = [
            None
            if (value := one.values[number]) is None
            else (place * AXIS_GAP, height * (1 - scale.share(value)))
            for place, (one, scale) in enumerate(zip(columns, scales, strict=True))
        ]
        path = "".join(
            f"M{a[0]} {a[1]:.1f}L{b[0]} {b[1]:.1f}"
            for a, b in pairwise(points)
            if a is not None and b is not None
        )
        told = Markup("<title>{}</title>").format(label.label)
        parts.append(
            Markup('<path class="line {}" d="{}">{}</path>').format(style_of(label.style), path, told)
        )
    name = chart_id(title, description, *(str(part) for part in parts))
    return Markup(
        '<svg class="chart parallel" width="{}" height="{}" role="img" aria-labelledby="{} {}d">'
        '<title id="{}">{}</title><desc id="{}d">{}</desc><g transform="translate(48 34)">{}</g></svg>'
    ).format(
        *(AXIS_GAP * (len(columns) - 1) + 110, height + 56, name, name),
        *(name, title, name, description, Markup("").join(parts)),
    )


def _upright(x: int, name: str, scale: _Scale, height: int) -> Markup:
    low, high = scale.ends()
    return Markup(
        '<line class="axis" x1="{0}" x2="{0}" y1="0" y2="{1}"/>'
        '<text class="of" x="{0}" y="-20" text-anchor="middle">{2}<title>{3}</title></text>'
        '<text x="{0}" y="-6" text-anchor="middle">{4}</text>'
        '<text x="{0}" y="{5}" text-anchor="middle">{6}</text>'
    ).format(x, height, short(name), name, short(high), height + 15, short(low))
