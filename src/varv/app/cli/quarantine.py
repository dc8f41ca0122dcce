"""`varv quarantine`: its acts on the command line, and files of rows to look at and to correct."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import polars as pl

from varv.app.cli.access import answer, call, owned_ledger, reading_home
from varv.app.cli.rendering import Block, Grid, Heading, Line
from varv.app.compose import open_views
from varv.app.server.server_file import running_server
from varv.app.settings import Loaded, Settings
from varv.data.quarantine import ROW, counted
from varv.data.quarantined import REASON
from varv.data.sources import in_kept_types
from varv.data.verbs import (
    MOST_SHOWN,
    HeldBatch,
    HeldList,
    HeldRequest,
    HeldRow,
    ListRequest,
    QuarantineDesk,
    ReplaceRequest,
    Settled,
    ShowRequest,
    drop,
    list_held,
    offline_desk,
    release,
    replace,
    show_held,
)
from varv.kernel.clock import SystemClock, iso
from varv.kernel.columns import TIME
from varv.kernel.errors import InvalidInput, NotFound

_NUMBERS = re.compile(r"\d{1,9}(-\d{1,9})?(,\d{1,9}(-\d{1,9})?)*")
_KINDS = (".csv", ".parquet", ".jsonl")
_LONGEST_CELL = 40
_TRUTHS = {"true": True, "false": False, "1": True, "0": False}
MOST_ROWS = 100_000
"""Rows that a selection by number may hold."""

A = TypeVar("A", bound=msgspec.Struct)


def quarantine(options: argparse.Namespace, loaded: Loaded) -> int:
    """Run one act of `varv quarantine`; return the exit status."""
    acts: dict[str, Callable[[argparse.Namespace, Settings], None]] = {
        "list": _list,
        "show": _show,
        "release": _release,
        "replace": _replace,
        "drop": _drop,
    }
    acts[options.act](options, loaded.settings)
    return 0


def _list(options: argparse.Namespace, settings: Settings) -> None:
    dataset, part, _ = _place(options.what)
    with reading_home(settings) as home:
        desk = home.require_quarantine()
        found = list_held(desk, ListRequest(dataset=dataset, part=part))
    answer(options, found, lambda: list_blocks(found))


def list_blocks(found: HeldList) -> list[Block]:
    """Return what is in quarantine as text."""
    if not found.n_rows:
        return [Line("quarantine is empty: every row kept its contract")]
    rows = [_batch_cells(one) for one in found.batches]
    more = found.n_batches - len(found.batches)
    return [
        Heading(f"in quarantine: {counted(found.n_rows, found.n_batches)}"),
        Grid(("batch", "rows", "of", "reasons", "since"), rows),
        *([Line(f"and {more:,} older batches; name a dataset or a part")] if more else []),
        Line("next: varv quarantine show DATASET/PART/SEGMENT"),
    ]


def _batch_cells(one: HeldBatch) -> tuple[str, ...]:
    reasons = ", ".join(f"{reason} ({n:,})" for reason, n in one.reasons.items())
    place = f"{one.dataset}/{one.part}/{one.segment}"
    shown = f"the whole batch: {reasons}" if one.whole else reasons
    return (place, f"{one.n_rows:,}", f"{one.n_batch:,}", shown, one.since[:16])


def _show(options: argparse.Namespace, settings: Settings) -> None:
    chosen = _chosen(options, ShowRequest, limit=MOST_SHOWN if options.to else options.limit)
    with reading_home(settings) as home:
        desk = home.require_quarantine()
        found = show_held(desk, chosen)
    if options.to:
        _write(Path(options.to), found.rows)
        if found.n_rows > len(found.rows):
            hint = "choose a segment or a reason"
            raise InvalidInput(
                "selection", options.what, f"has {found.n_rows} rows", most=MOST_SHOWN, hint=hint
            )

    def blocks() -> list[Block]:
        more = found.n_rows - len(found.rows)
        rows = [(one.segment, str(one.row), one.reason, _cells(one.values)) for one in found.rows]
        lines: list[Block] = [Grid(("segment", "row", "reason", "values"), rows)]
        if options.to:
            lines = [Line(f"wrote {len(found.rows):,} rows to {options.to}")]
        elif more:
            lines.append(Line(f"and {more:,} more; --limit shows more, --to FILE writes them"))
        return [*lines, Line("next: varv quarantine release, replace or drop")]

    answer(options, found, blocks)


def _cells(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={str(value)[:_LONGEST_CELL]}" for name, value in values.items())


def _release(options: argparse.Namespace, settings: Settings) -> None:
    asked = _chosen(options, HeldRequest, by=options.by, why=options.why)
    _settle(options, settings, "quarantine.release", asked, release, "released")


def _drop(options: argparse.Namespace, settings: Settings) -> None:
    asked = _chosen(options, HeldRequest, by=options.by, why=options.why)
    _settle(options, settings, "quarantine.drop", asked, drop, "given up")


def _replace(options: argparse.Namespace, settings: Settings) -> None:
    chosen = _chosen(options, ShowRequest)
    with reading_home(settings) as home:
        desk = home.require_quarantine()
        part = chosen.part or _part(desk, chosen)
        types = desk.quarantine.dataset(chosen.dataset).part_types(part)
    corrected = _read(Path(options.file), types)
    more = {"by": options.by, "why": options.why, "corrected": corrected}
    asked = _chosen(options, ReplaceRequest, **more)
    _settle(options, settings, "quarantine.replace", asked, replace, "replaced")


def _part(desk: QuarantineDesk, chosen: ShowRequest) -> str:
    """Return the part that a selection names, if it is one only."""
    found = list_held(desk, ListRequest(dataset=chosen.dataset)).batches
    parts = {one.part for one in found if chosen.segment in ("", one.segment)}
    if len(parts) != 1:
        raise InvalidInput(
            "selection", chosen.dataset, "names no one part", hint="write DATASET/PART/SEGMENT"
        )
    return parts.pop()


def _settle(
    options: argparse.Namespace,
    settings: Settings,
    verb: str,
    asked: A,
    act: Callable[[QuarantineDesk, A], Settled],
    done: str,
) -> None:
    server = running_server(settings)
    if server is not None:
        found = msgspec.convert(call(server, settings, verb, asked), type=Settled)
    else:
        with owned_ledger(settings) as ledger:
            desk = offline_desk(settings.home, ledger, open_views(ledger, settings.home), SystemClock())
            found = act(desk, asked)

    answer(options, found, lambda: [Line(_settled_line(found, options.what, done))])


def _settled_line(found: Settled, what: str, done: str) -> str:
    line = f"{done}: {counted(found.n_rows, found.n_batches)}"
    if found.n_gained:
        line += f"; {what.partition('/')[0]} has {found.n_gained:,} more"
    if found.n_repeated:
        line += f"; {found.n_repeated:,} repeat a key that stands"
    if found.n_gained and not found.flows:
        line += "; features and labels hold them when varv up runs next"
    return line


def _chosen(options: argparse.Namespace, kind: type[A], **more: Any) -> A:
    dataset, part, segment = _place(options.what)
    place = {"dataset": dataset, "part": part, "segment": segment}
    return kind(**place, reason=options.reason, rows=_numbers(options.rows), **more)


def _place(what: str) -> tuple[str, str, str]:
    parts = what.split("/")
    if len(parts) > 3:
        raise InvalidInput("selection", what[:160], "has too many parts", hint="write DATASET/PART/SEGMENT")
    dataset, part, segment = [*parts, "", ""][:3]
    return dataset, part, segment


def _numbers(text: str) -> tuple[int, ...]:
    if not text:
        return ()
    if not _NUMBERS.fullmatch(text):
        raise InvalidInput("rows", text[:80], "are no numbers", hint="write --rows 0,2,5-9")
    numbers: set[int] = set()
    for span in text.split(","):
        first, _, last = span.partition("-")
        if int(last or first) - int(first) >= MOST_ROWS:
            raise InvalidInput("rows", span, "are too many", hint=f"{MOST_ROWS} at most")
        numbers.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(numbers))


def _write(path: Path, rows: Sequence[HeldRow]) -> None:
    values = [{ROW: one.row, REASON: one.reason, **one.values} for one in rows]
    frame = pl.DataFrame(values, infer_schema_length=None)
    match _kind(path):
        case ".csv":
            frame.write_csv(path)
        case ".parquet":
            frame.write_parquet(path)
        case _:
            path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in values))


def _read(path: Path, types: dict[str, pl.DataType]) -> list[dict[str, Any]]:
    """Return the rows of a file as they would come in JSON; what numbers and explains them is left out."""
    kind = _kind(path)
    try:
        if kind == ".jsonl":
            lines = [line for line in path.read_bytes().splitlines() if line.strip()]
            rows = [msgspec.json.decode(line, type=dict[str, Any]) for line in lines]
        elif kind == ".csv":
            rows = _of_texts(pl.read_csv(path, infer_schema=False), types)
        else:
            rows = _of_values(pl.read_parquet(path))
    except OSError as error:
        raise NotFound("file", str(path), "cannot be read", why=str(error)[:200]) from None
    except (pl.exceptions.PolarsError, msgspec.MsgspecError) as error:
        why = str(error).splitlines()[0][:200]
        raise InvalidInput("file", str(path), "does not hold rows of this dataset", why=why) from None
    return [{name: value for name, value in row.items() if name not in (ROW, REASON)} for row in rows]


def _kind(path: Path) -> str:
    if path.suffix not in _KINDS:
        raise InvalidInput("file", str(path), "is of an unknown kind", hint=f"name it {', '.join(_KINDS)}")
    return path.suffix


def _of_texts(frame: pl.DataFrame, types: dict[str, pl.DataType]) -> list[dict[str, Any]]:
    """Return rows of a CSV in the types of the dataset; times stay texts, which JSON has too."""
    casts = []
    for name in frame.columns:
        dtype = types.get(name, pl.String())
        if dtype == pl.Boolean:
            text = pl.col(name).str.to_lowercase()
            casts.append(
                text.replace_strict({"true": True, "false": False, "1": True, "0": False}, default=None)
            )
        elif dtype != TIME:
            casts.append(pl.col(name).cast(dtype))
    return frame.with_columns(casts).to_dicts()


def _of_values(frame: pl.DataFrame) -> list[dict[str, Any]]:
    kept = in_kept_types(frame)
    times = [name for name, dtype in kept.schema.items() if dtype == TIME]
    rows = kept.with_columns(pl.col(name).cast(pl.Int64) for name in times).to_dicts()
    for row in rows:
        for name in times:
            row[name] = None if row[name] is None else iso(row[name])
    return rows
