"""A home with one of everything that can be stored: a replay with a reference policy, live rows, compacted
files, a quarantined batch, a command that waits, and captures that were not ingested.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import polars as pl
import pytest
from tests.home.live_home import REQUEST, LiveHome
from tests.loop.synthetic import declared, parcels, replayed

from varv.home import live as live_module
from varv.kernel import table_folder
from varv.kernel.sagas import Message
from varv.loop.model import RetrainAsked

UNTIL = "2024-03-25T00:00:00Z"
N_LIVE = 13


def build(home: Path) -> None:
    """Fill `home`."""
    replayed(declared(until=UNTIL, references=("never",)), home, declared_only=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_module, "COMPACT_EVERY", 6)
        patch.setattr(table_folder, "_MANY", 3)
        found = LiveHome(home)
        for number in range(N_LIVE):
            found.answering.answer(REQUEST, f"r-{number}")
            found.accept_outcomes([{"parcel": f"r-{number}", "late": number % 2 == 0}])
            found.ingest()
        _quarantine(found)
        found.later(0.2)
        found.answering.answer(REQUEST, "r-last")
        found.answering.answer(REQUEST, "r-very-last")
        asked = RetrainAsked(by="ana", reason="a command that waits")
        found.home.engine.tell(Message(found.parts.loop.loop_id, asked))
        found.close()


def _quarantine(found: LiveHome) -> None:
    """Put a batch aside: its key is missing."""
    data = found.parts.schema.requests
    rows = parcels().select(data.columns(data.event_time)).head(3)
    rows = rows.with_columns(parcel=pl.lit(None, pl.String))
    prepared = found.home.datasets.prepare_append(data, data.event_time, rows, segment="broken")
    assert not prepared.accepted
    found.home.engine.tell(facts=prepared.facts)


@contextmanager
def database(home: Path) -> Iterator[sqlite3.Connection]:
    """Give the ledger's tables to whoever wants to change them."""
    with closing(sqlite3.connect(home / "ledger.db", isolation_level=None)) as db:
        yield db


def lives(home: Path) -> LiveHome:
    """Bring the home into service as `varv up` does, in this process."""
    return LiveHome(home, capture="again")
