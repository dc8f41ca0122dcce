"""How numbers and facts read as plain text.

Pure functions from values to text without markup, for the lines of events (`kernel.codec.Event.line`) and for
every room that reports a number to a person. A minus sign is a minus sign, a value that is not there is a
dash. Markup, statuses and paths are made in the fronts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sized

from varv.kernel.clock import DAY, iso

LONGEST_LINE = 200
"""Characters of a line in a narrow place."""
EARLIEST = 3660 * DAY
"""A whole number at least this large is an instant, of 1980 or later, and no count."""


def percent(value: float) -> str:
    """Return a share as per cent.

    Parameters
    ----------
    value
        A share; 1 is the whole.

    Examples
    --------
    >>> percent(0.05), percent(0.123), percent(1)
    ('5 %', '12.3 %', '100 %')
    """
    return f"{round(100 * value, 1):g} %"


def count(value: float | None) -> str:
    """Return a count with its thousands parted; a dash where there is none.

    Examples
    --------
    >>> count(5812), count(None)
    ('5,812', '–')
    """
    return "–" if value is None else f"{value:,.0f}"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with a fixed number of digits, so that columns line up.

    Parameters
    ----------
    value
        Any number; None and what is not finite become a dash.
    digits
        Digits after the point.

    Examples
    --------
    >>> number(-0.01234), number(None), number(1234.5, 1)
    ('−0.012', '–', '1,234.5')
    """
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.{digits}f}".replace("-", "−")


def limits(value: float | None, low: float | None, high: float | None, digits: int = 3) -> str:
    """Return a number and its interval in brackets.

    Parameters
    ----------
    value, low, high
        The estimate and the limits of its interval, in one unit.
    digits
        Digits after the point.

    Examples
    --------
    >>> limits(-0.0123, -0.02, 0.001, 4), limits(0.5, None, None)
    ('−0.0123 [−0.0200, 0.0010]', '0.500 [–, –]')
    """
    return f"{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]"


def version_named(version: int | None) -> str:
    """Return the name of a version; ``none`` where there is no version.

    Examples
    --------
    >>> version_named(7), version_named(None)
    ('v7', 'none')
    """
    return "none" if version is None else f"v{version}"


def facts(values: Mapping[str, object]) -> str:
    """Return names and values on one line, numbers to four digits that matter.

    Parameters
    ----------
    values
        What is known, by name; None is left out.

    Examples
    --------
    >>> facts({"cusum": 8.13333, "n": 5812.0, "subject": "auc", "low": None})
    'cusum 8.133, n 5,812, subject auc'
    """
    return ", ".join(
        f"{name.replace('_', ' ')} {_value(value)}" for name, value in values.items() if value is not None
    )


def flat(fields: Mapping[str, object]) -> dict[str, object]:
    """Return fields so that each fits on a line: what is nested is counted, an instant is a time in UTC, and
    what says nothing is left out.

    Examples
    --------
    >>> flat({"model": "late", "reason": "", "days": [1, 2], "through": 1_359_720_000_000_000})
    {'model': 'late', 'days': '(2)', 'through': '2013-02-01T12:00:00Z'}
    """
    return {str(name): _flat(value) for name, value in fields.items() if value not in ("", None)}


def brief(line: str) -> str:
    """Return a line as it fits into a narrow place: a row of a table, a step of a chain.

    Examples
    --------
    >>> brief("v7 promoted, was v6"), len(brief("x" * 1000))
    ('v7 promoted, was v6', 200)
    """
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1] + "…"


def with_minus_signs(text: str) -> str:
    """Return text with a minus sign for every hyphen that begins a number.

    Examples
    --------
    >>> with_minus_signs("log-loss -0.2 [-0.3, -0.1]")
    'log-loss −0.2 [−0.3, −0.1]'
    """
    return text.replace(" -", " −").replace("[-", "[−")


def _value(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if float(value).is_integer() and abs(value) >= 1:
        return f"{value:,.0f}".replace("-", "−")
    return f"{value:.4g}".replace("-", "−")


def _flat(value: object) -> object:
    if isinstance(value, int) and value >= EARLIEST:
        return iso(value)
    return f"({len(value)})" if isinstance(value, Sized) and not isinstance(value, str) else value


def call_text(name: str, given: Mapping[str, object], usual: Mapping[str, object]) -> str:
    """Return a call as it is written in Python, without the arguments that have their usual value; functions
    by their name.

    Examples
    --------
    >>> call_text("varv.Retrain", {"on": ["benefit"], "cooldown": "3d"}, {"cooldown": "3d"})
    "varv.Retrain(on=['benefit'])"
    """
    said = [
        f"{argument}={getattr(value, '__qualname__', None) or repr(value)}"
        for argument, value in given.items()
        if argument not in usual or value != usual[argument]
    ]
    return f"{name}({', '.join(said)})"
