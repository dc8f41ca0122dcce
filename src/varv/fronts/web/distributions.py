"""Values and distributions of columns, as templates write them: pure functions to text and markup."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from varv.fronts.web.drawing import chart_id
from varv.fronts.web.words import clipped
from varv.kernel.clock import DAY, as_datetime
from varv.kernel.wording import count
from varv.profiles.counted import BOOLEAN, DATE, INTEGER, NUMBER, TIME
from varv.profiles.reading import Bar

LONGEST_VALUE = 40
_WIDTH, _HEIGHT = 1000, 64
_SMALL = 20
"""The height of a distribution in a row of a table."""
_DIGITS = 4
_YEARS = 9999 * 366 * DAY


def shown(kind: str, value: float | str | None) -> str:
    """Return a value of a column as a person reads it.

    Examples
    --------
    >>> shown("time", 0), shown("date", 1), shown("integer", 12345), shown("number", 0.00012345)
    ('1970-01-01 00:00', '1970-01-02', '12,345', '0.0001234')
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, str):
        return clipped(value, LONGEST_VALUE)
    if kind == TIME and abs(value) < _YEARS:
        return f"{as_datetime(int(value)):%Y-%m-%d %H:%M}"
    if kind == DATE and abs(value * DAY) < _YEARS:
        return f"{as_datetime(int(value) * DAY):%Y-%m-%d}"
    if kind == BOOLEAN and value in (0, 1):
        return "true" if value else "false"
    if kind == INTEGER and value == int(value):
        return count(value).replace("-", "−")
    return f"{value:,.{_DIGITS}g}".replace("-", "−")


def mean_kind(kind: str) -> str:
    """Return as what the mean of a column of a kind is shown: that of whole numbers is none."""
    return NUMBER if kind in (INTEGER, BOOLEAN) else kind


def bars(name: str, found: Sequence[Bar], *, small: bool = False) -> Markup:
    """Return the distribution of a column as bars, small ones for a row of a table; none where it has no
    numbers.
    """
    height = _SMALL if small else _HEIGHT
    highest = max((bar.n for bar in found), default=0.0)
    if highest <= 0:
        return Markup("")
    step = _WIDTH / len(found)
    tops = [max(1, round(height * bar.n / highest)) if bar.n > 0 else 0 for bar in found]
    drawn = "".join(
        f"M{round(place * step + 1)} {height}v-{top}h{round(step - 2)}V{height}z"
        for place, top in enumerate(tops)
        if top
    )
    title = f"Distribution of {name}"
    return Markup(
        '<svg class="chart bars{5}" width="100%" height="{0}" viewBox="0 0 {1} {0}" '
        'preserveAspectRatio="none" role="img" aria-labelledby="{2}"><title id="{2}">{3}</title>'
        '<path d="{4}"/></svg>'
    ).format(height, _WIDTH, chart_id(title, drawn), title, drawn, " small" if small else "")
