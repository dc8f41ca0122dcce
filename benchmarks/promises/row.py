"""One line of the table of promises."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Row(NamedTuple):
    """What was asked in which world, the bar, what was found in `n_runs` runs, and whether it holds."""

    world: str
    question: str
    bar: str
    found: str
    holds: bool
    n_runs: int


def table(rows: Iterable[Row]) -> str:
    """Return `rows` as a Markdown table."""
    lines = ["| world | question | bar | found | holds | runs |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row.world} | {row.question} | {row.bar} | {row.found} | {'yes' if row.holds else '**no**'} "
        f"| {row.n_runs} |"
        for row in rows
    ]
    return "\n".join(lines)
