"""Entries of the ledger as rows of a table, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from varv.home.paging import Table, number_of
from varv.kernel.clock import Instant
from varv.kernel.columns import TIME
from varv.kernel.ledger import Entry, Ledger
from varv.kernel.wording import brief

MOST_LOOKED_AT = 20_000
"""Entries that one answer of a server looks through; the next one goes on from there."""
DECISIONS = frozenset(
    {
        *("loop.retrain_triggered", "loop.gates_judged", "loop.candidate_rejected"),
        *("loop.training_suspended", "loop.fault_planted", "registry.version_registered"),
        *("rollout.started", "rollout.shadow_started", "rollout.stepped", "rollout.held"),
        *("rollout.version_promoted", "rollout.rolled_back", "rollout.needs_human"),
        *("monitoring.alarm_raised", "monitoring.alarm_cleared", "monitoring.offset_allowed"),
        "data.batch_quarantined",
    }
)
"""Events that say what a loop decided, or what it decided on."""
_BATCH = 1000


class EntryFilter(NamedTuple):
    """Which entries of the ledger are asked for; what is empty leaves nothing out."""

    model: str = ""
    stream: str = ""
    event: str = ""
    decisions: bool = False
    since: Instant | None = None
    until: Instant | None = None

    def takes(self, entry: Entry) -> bool:
        """Return whether an entry is among them."""
        return (
            (not self.stream or entry.stream == self.stream)
            and (not self.event or entry.name == self.event)
            and (not self.model or _is_of(entry.stream, self.model))
            and (not self.decisions or _decides(entry))
            and (self.since is None or entry.at >= self.since)
            and (self.until is None or entry.at < self.until)
        )


def entries_page(ledger: Ledger, wanted: EntryFilter, *, after: str = "", limit: int | None = None) -> Table:
    """Return entries of a ledger in their order, each as a line."""
    position, budget = number_of(after), MOST_LOOKED_AT
    found: list[Entry] = []
    while entries := ledger.read(position, limit=_BATCH):
        for entry in entries:
            position = entry.seq
            found += [entry] if wanted.takes(entry) else []
            if limit is not None and len(found) == limit:
                return Table(rows=_lines(found), after=str(position))
        budget -= len(entries)
        if limit is not None and budget <= 0:
            return Table(rows=_lines(found), after=str(position))
    return Table(rows=_lines(found))


def _lines(entries: Sequence[Entry]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "seq": [entry.seq for entry in entries],
            "at": pl.Series([entry.at for entry in entries], dtype=pl.Int64).cast(TIME),
            "stream": [entry.stream for entry in entries],
            "event": [entry.name for entry in entries],
            "line": [brief(entry.event.line()) for entry in entries],
            "cause": [entry.cause for entry in entries],
        },
        schema_overrides={"seq": pl.Int64, "cause": pl.Int64, **dict.fromkeys(_TEXTS, pl.String)},
    )


_TEXTS = ("stream", "event", "line")


def _is_of(stream: str, model: str) -> bool:
    return stream.partition("/")[2].partition("/")[0] == model


def _decides(entry: Entry) -> bool:
    """Return whether an entry is a decision; an alarm is stated once and told to the loop once."""
    told = entry.name.startswith("monitoring.alarm_") and not entry.stream.startswith("alarms/")
    return entry.name in DECISIONS and not told
