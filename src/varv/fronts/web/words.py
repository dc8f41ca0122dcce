"""How the console speaks: statuses, times, intervals and paths.

Pure functions from values to text or escaped markup, called by pages and templates. A status is a word and a
mark, never a colour alone. Plain text is made below, in `kernel.wording` and by the nouns and events
themselves.
"""

from __future__ import annotations

from urllib.parse import quote

import msgspec
from markupsafe import Markup

from varv.kernel.clock import DAY, as_datetime, iso, spoken
from varv.kernel.wording import number

MARKS = {"good": "●", "busy": "◐", "warn": "▲", "bad": "■", "off": "○"}
"""A shape for each kind of status, so that it does not hang on colour."""

_OUTCOMES = {
    "training": ("busy", "Training"),
    "rolling": ("busy", "Rolling out"),
    "promoted": ("good", "Promoted"),
    "rejected": ("bad", "Rejected"),
    "rolled back": ("bad", "Rolled back"),
    "": ("busy", "Under way"),
}


class Status(msgspec.Struct, frozen=True):
    """A word and the kind of mark beside it: ``good``, ``busy``, ``warn``, ``bad`` or ``off``."""

    kind: str
    word: str

    def __html__(self) -> str:
        return Markup('<span class="status {}"><span aria-hidden="true">{}</span> {}</span>').format(
            self.kind, MARKS[self.kind], self.word
        )


_RUNS = {
    "RUNNING": ("busy", "Running"),
    "SCHEDULED": ("off", "Scheduled"),
    "FINISHED": ("good", "Finished"),
    "FAILED": ("bad", "Failed"),
    "KILLED": ("warn", "Killed"),
}


def run_status(word: str) -> Status:
    """Return the status of a run by the word that the protocol has for it."""
    kind, shown = _RUNS.get(word, ("off", word.capitalize()))
    return Status(kind, shown)


def measure(value: float | None) -> str:
    """Return a value of a metric, whatever its size; what is not a number says so.

    Examples
    --------
    >>> measure(0.123456789), measure(-12.0), measure(None), measure(1e300)
    ('0.12346', '−12', 'NaN', '1e+300')
    """
    return "NaN" if value is None else f"{value:.5g}".replace("-", "−", 1)


def clipped(text: str, most: int = 60) -> str:
    """Return a text as it fits into a cell.

    Examples
    --------
    >>> clipped("a  b"), clipped("abcdef", 4)
    ('a b', 'abc…')
    """
    flat = " ".join(text.split())
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"


def size(n_bytes: int | None) -> str:
    """Return a number of bytes in a unit that people read.

    Examples
    --------
    >>> size(71), size(6321), size(5 << 30), size(None)
    ('71 B', '6.2 KiB', '5.0 GiB', '–')
    """
    if n_bytes is None:
        return "–"
    value, units = float(n_bytes), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.0f} B" if units[0] == "B" else f"{value:.1f} {units[0]}"


def outcome(word: str) -> Status:
    """Return the status of a candidate or a rollout by how it ended."""
    kind, shown = _OUTCOMES.get(word.replace("_", " "), ("off", word.capitalize()))
    return Status(kind, shown)


def interval(value: float | None, low: float | None, high: float | None, digits: int = 3) -> Markup:
    """Return a number and its 95 % interval in brackets."""
    if value is None or low is None or high is None:
        return Markup.escape(number(value, digits))
    return Markup('{} <span class="ci">[{}, {}]</span>').format(
        number(value, digits), number(low, digits), number(high, digits)
    )


def when(at: int | None, form: str = "minute") -> Markup:
    """Return an instant as a `time` element in UTC; `form` is ``minute``, ``day`` or ``second``."""
    if at is None:
        return Markup("–")
    patterns = {"minute": "%Y-%m-%d %H:%M", "day": "%Y-%m-%d", "second": "%Y-%m-%d %H:%M:%S"}
    return Markup('<time datetime="{}">{}</time>').format(iso(at), as_datetime(at).strftime(patterns[form]))


def month(at: int) -> str:
    """Return the month of an instant as people write it: ``Feb 2013``."""
    return f"{as_datetime(at):%b %Y}"


def span(microseconds: int | None) -> str:
    """Return how long something took, in its two greatest units.

    Examples
    --------
    >>> span(3 * DAY + 7 * 3_600_000_000 + 1)
    '3d7h'
    """
    if microseconds is None:
        return "–"
    unit = (
        3_600_000_000 if microseconds >= DAY else 60_000_000 if microseconds >= 3_600_000_000 else 1_000_000
    )
    return spoken(microseconds // unit * unit)


def segment(text: object) -> str:
    """Return `text` as one segment of a path."""
    return quote(str(text), safe="")
