"""What every chart is made of: its frame with a title, its axes of numbers, and where a value lies.

Pure; `charts` draws measures of models with it, `plots` curves and comparisons of runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from markupsafe import Markup

from varv.fronts.web.axes import Range, Tick, round_ticks
from varv.kernel.clock import DAY

WIDTH = 1000
"""Of the stretched layer, in its own units."""
LABEL_GAP = 14.0


def framed(title: str, description: str, body: Markup, height: int, *, kind: str = "plotted") -> Markup:
    """Return a chart with its title and description around what is drawn."""
    name = chart_id(title, description, body)
    return Markup(
        '<svg class="chart {0}" width="100%" height="{1}" role="img" aria-labelledby="{2} {2}d">'
        '<title id="{2}">{3}</title><desc id="{2}d">{4}</desc>'
        '<g transform="translate(0 22)">{5}</g></svg>'
    ).format(kind, height + 46, name, title, description, body)


def chart_id(*parts: str) -> str:
    """Return an id that is the same for the same chart, so pages are the same byte for byte."""
    return "c" + hashlib.blake2b("\x00".join(parts).encode(), digest_size=5).hexdigest()


def place(value: float, up: Range, height: int) -> float:
    """Return where a value lies, from the top."""
    return height * (1 - up.share(value))


def value_axis(up: Range, height: int) -> Markup:
    """Return lines across the plot at round numbers, each with its number."""
    row = Markup(
        '<line class="grid" x1="0" x2="100%" y1="{0:.1f}" y2="{0:.1f}"/>'
        '<text x="-8" y="{1:.1f}" text-anchor="end">{2}</text>'
    )
    ticks = round_ticks(up, 4 if height < 160 else 5)
    places = [(tick, place(tick.at, up, height)) for tick in ticks]
    return Markup("").join(row.format(y, y + 4, tick.text) for tick, y in places)


def number_axis(across: Range, height: int) -> Markup:
    """Return the axis below the plot, at round numbers."""
    parts = [Markup('<line class="axis" x1="0" x2="100%" y1="{0}" y2="{0}"/>').format(height)]
    row = Markup('<text x="{:.2f}%" y="{}" text-anchor="{}">{}</text>')
    for tick in round_ticks(across, 8):
        anchor = "start" if across.share(tick.at) < 0.03 else "middle"
        parts.append(row.format(100 * across.share(tick.at), height + 16, anchor, tick.text))
    return Markup("").join(parts)


def time_axis(ticks: Sequence[Tick], across: Range, height: int) -> Markup:
    """Return the axis below the plot, at round times."""
    parts = [Markup('<line class="axis" x1="0" x2="100%" y1="{0}" y2="{0}"/>').format(height)]
    # A narrow screen shows every other label; midnights are the ones to keep.
    kept = next((index for index, tick in enumerate(ticks) if tick.at % DAY == 0), 0)
    for index, tick in enumerate(ticks):
        anchor = (
            "start" if across.share(tick.at) < 0.03 else "end" if across.share(tick.at) > 0.97 else "middle"
        )
        parts.append(
            Markup('<text class="{}" x="{:.2f}%" y="{}" text-anchor="{}">{}</text>').format(
                "minor" if (index - kept) % 2 else "major",
                100 * across.share(tick.at),
                height + 16,
                anchor,
                tick.text,
            )
        )
    return Markup("").join(parts)
