"""Results as text: headings, labelled values and grids, plain in a pipe and with rich on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec


class Heading(msgspec.Struct, frozen=True):
    """A line that says what follows."""

    text: str


class Line(msgspec.Struct, frozen=True):
    """A line of text."""

    text: str


class Grid(msgspec.Struct, frozen=True):
    """Rows under column names; without rows it is left out."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


Block = Heading | Line | Grid


def show(blocks: Sequence[Block]) -> None:
    """Write blocks to standard output."""
    if sys.stdout.isatty():
        _show_rich(blocks)
    else:
        sys.stdout.write(text(blocks))


def text(blocks: Sequence[Block]) -> str:
    r"""Return blocks as plain text.

    Examples
    --------
    >>> print(text([Heading("shares"), Grid(("version", "share"), [("v2", "5 %"), ("v1", "95 %")])]))
    shares
      version  share
      v2       5 %
      v1       95 %
    <BLANKLINE>
    """
    lines: list[str] = []
    for block in blocks:
        if isinstance(block, Grid):
            lines += _grid_lines(block)
        else:
            lines.append(block.text)
    return "".join(f"{line}\n" for line in lines)


def _grid_lines(grid: Grid) -> list[str]:
    if not grid.rows:
        return []
    rows = [grid.columns, *grid.rows] if any(grid.columns) else list(grid.rows)
    widths = [max(len(row[i]) for row in rows) for i in range(len(grid.columns))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _show_rich(blocks: Sequence[Block]) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for block in blocks:
        if isinstance(block, Heading):
            console.print(Text(block.text, style="bold"))
        elif isinstance(block, Line):
            console.print(Text(block.text), soft_wrap=True)
        elif block.rows:
            table = Table(
                box=None,
                padding=(0, 2, 0, 0),
                pad_edge=False,
                show_header=any(block.columns),
                header_style="dim",
            )
            for column in block.columns:
                table.add_column(column)
            for row in block.rows:
                table.add_row(*(Text(cell) for cell in row))
            console.print(Padding(table, (0, 0, 0, 2), expand=False))
