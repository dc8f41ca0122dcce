"""The ledger: every entry, newest first, each with the entry that led to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from varv.fronts.web.page import Page, not_one_of, whole_number
from varv.kernel.clock import Instant
from varv.kernel.ledger import Entry, Ledger
from varv.kernel.wording import brief

PAGE = 50
BATCH = 1000
MOST_LOOKED_AT = 20_000
"""Entries that one page with a filter looks through; a link leads on from there."""
LONGEST_CHAIN = 30
MOST_EFFECTS = 50
EFFECTS_WITHIN = 5_000
"""What an entry led to lies close behind it; later effects are reached through the first ones."""


class Row(msgspec.Struct, frozen=True):
    """One entry as a line: what happened, to what, and why."""

    seq: int
    at: Instant
    name: str
    stream: str
    version: int
    says: str
    cause: int | None


def row(entry: Entry) -> Row:
    """Return an entry as a line."""
    says = brief(entry.event.line())
    return Row(entry.seq, entry.at, entry.name, entry.stream, entry.version, says, entry.cause)


def newest(ledger: Ledger, n: int) -> list[Row]:
    """Return the last `n` entries, newest first."""
    head = ledger.head().version
    return [row(entry) for entry in reversed(ledger.read(max(0, head - n), limit=n))]


def last(ledger: Ledger) -> Entry | None:
    """Return the newest entry, None if there is none."""
    return _entry(ledger, ledger.head().version)


def ledger_page(ledger: Ledger, query: Mapping[str, str]) -> Page:
    """Return entries below ``before``, of one ``stream`` or one event ``name`` if asked."""
    stream, name = query.get("stream", "").strip(), query.get("name", "").strip()
    head = ledger.head()
    before = min(whole_number(query, "before", head.version + 1), head.version + 1)
    found, reached = _below(ledger, before, stream, name)
    older = found[-1].seq if len(found) == PAGE else reached
    return Page(
        "Ledger",
        "ledger.html",
        {
            "rows": [row(entry) for entry in found],
            "head": {"seq": head.version, "hash": head.hash.hex()},
            "filter": {"stream": stream, "name": name},
            "before": before,
            "older": older if older > 1 else None,
            "newer": None if before > head.version else min(before + PAGE, head.version + 1),
            "looked_from": reached,
        },
    )


def _below(ledger: Ledger, before: int, stream: str, name: str) -> tuple[list[Entry], int]:
    """Return the newest entries below `before` that pass the filter, and how far down was looked."""
    found: list[Entry] = []
    upper = before
    lowest = max(1, before - MOST_LOOKED_AT)
    size = BATCH if stream or name else PAGE
    while upper > lowest and len(found) < PAGE:
        lower = max(lowest, upper - size)
        for entry in reversed(ledger.read(lower - 1, limit=upper - lower)):
            fits = (not stream or entry.stream == stream) and (not name or entry.name == name)
            if fits and len(found) < PAGE:
                found.append(entry)
        upper = lower
    return found, upper


def entry_page(ledger: Ledger, seq: int) -> Page:
    """Return one entry: what it states, what led to it, and what it led to.

    Raises
    ------
    NotFound
        If the ledger has no entry with that seq.
    """
    entry = _entry(ledger, seq)
    if entry is None:
        head = ledger.head().version
        raise not_one_of("entry", seq, [f"entries 1 to {head}"] if head else [], "the ledger is empty")
    chain: list[Row] = []
    at: Entry | None = entry
    while at is not None and at.cause is not None and len(chain) < LONGEST_CHAIN:
        at = _entry(ledger, at.cause)
        if at is not None:
            chain.append(row(at))
    following = ledger.read(seq, limit=EFFECTS_WITHIN)
    effects = [row(later) for later in following if later.cause == seq][:MOST_EFFECTS]
    return Page(
        f"Entry {seq}",
        "entry.html",
        {
            "entry": row(entry),
            "event_version": entry.event_version,
            "hash": entry.hash.hex(),
            "data": _decoded(entry),
            "pretty": msgspec.json.format(entry.data, indent=2).decode(),
            "chain": chain[::-1],
            "chain_is_cut": bool(chain) and chain[-1].cause is not None,
            "effects": effects,
            "newer": seq + 1 if following else None,
        },
    )


def _decoded(entry: Entry) -> Any:
    return msgspec.json.decode(entry.data)


def _entry(ledger: Ledger, seq: int) -> Entry | None:
    if not 1 <= seq <= ledger.head().version:
        return None
    found = ledger.read(seq - 1, limit=1)
    return found[0] if found else None
