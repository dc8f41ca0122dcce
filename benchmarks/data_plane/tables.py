"""What was measured, in tables: one a payload, and at the end varv beside everyone else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from data_plane.load import ONE_ROW, Cost

BUSY = (16, 64)


class Line(NamedTuple):
    """What one server's answers to one payload cost."""

    who: str
    payload: str
    connections: int
    cost: Cost
    beside_us: float = 0.0
    """Processor time of whoever does not answer, but has work by each request, per request."""

    @property
    def whole_us(self) -> float:
        """All processor time per request, in microseconds."""
        return self.cost.cpu_us + self.beside_us


def shown(line: Line) -> str:
    """Return a line as text."""
    cost = line.cost
    more = f" + {line.beside_us:5.1f}" if line.beside_us else " " * 8
    return (
        f"{line.who:<10}{line.connections:>4}{cost.per_s:>9.0f}{cost.p50_ms:>9.2f}{cost.p99_ms:>9.2f}"
        f"{cost.cpu_us:>9.1f}{more}{cost.n_failed:>8}"
    )


HEAD = f"{'':<10}{'c':>4}{'per s':>9}{'p50 ms':>9}{'p99 ms':>9}{'cpu us':>9}{' + beside':<8}{'failed':>7}"


def tables(lines: Sequence[Line]) -> str:
    """Return a table for each payload, in the order in which they came."""
    names = dict.fromkeys(line.payload for line in lines)
    parts = []
    for name in names:
        rows = [shown(line) for line in lines if line.payload == name]
        parts.append("\n".join([name, HEAD, *rows]))
    return "\n\n".join(parts)


def ratios(lines: Sequence[Line]) -> str:
    """Return varv's processor time for a row as a share of everyone else's, and whether its p99 is lower.

    The share is that of the worker alone, and that of all of varv's processes until captures are on record.
    """
    rows = [line for line in lines if line.payload == ONE_ROW and line.connections in BUSY]
    ours = {line.connections: line for line in rows if line.who == "varv"}
    others = [line for line in rows if line.who != "varv" and line.connections in ours]
    head = f"{'varv to':<10}{'c':>4}{'worker':>19}{'all':>19}   p99 lower"
    return "\n".join([head, *(_beside(ours[other.connections], other) for other in others)])


def _beside(our: Line, other: Line) -> str:
    shares = (our.cost.cpu_us / other.whole_us, our.whole_us / other.whole_us)
    told = "".join(f"{share:>9.3f}{f'(1/{1 / share:.1f})':>10}" for share in shares)
    lower = "yes" if our.cost.p99_ms < other.cost.p99_ms else "no"
    both = f"{our.cost.p99_ms:.1f} and {other.cost.p99_ms:.1f} ms"
    return f"{other.who:<10}{other.connections:>4}{told}   {lower}, {both}"
