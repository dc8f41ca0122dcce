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
from tests.app.living import REQUEST, Living, living
from tests.loop.synthetic import declared, parcels, replayed

from varv.kernel import columns as columns_module
from varv.kernel.sagas import Message
from varv.loop import live as live_module
from varv.loop.model import RetrainAsked

UNTIL = "2024-03-25T00:00:00Z"
N_LIVE = 13


def build(home: Path) -> None:
    """Fill `home`."""
    replayed(declared(until=UNTIL, references=("never",)), home, declared_only=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_module, "COMPACT_EVERY", 6)
        patch.setattr(columns_module, "_MANY", 3)
        found = living(home)
        for number in range(N_LIVE):
            found.answering.answer(REQUEST, f"r-{number}")
            found.inbox.accept_outcomes([{"parcel": f"r-{number}", "late": number % 2 == 0}])
            found.take_in()
        _quarantine(found)
        found.later(0.2)
        found.answering.answer(REQUEST, "r-last")
        found.answering.answer(REQUEST, "r-very-last")
        asked = RetrainAsked(by="ana", reason="a command that waits")
        found.world.engine.tell(Message(found.world.loop_id, asked))
        found.close()


def _quarantine(found: Living) -> None:
    """Put a batch aside: its key is missing."""
    data = found.world.model.requests
    rows = parcels().select(data.columns(data.event_time)).head(3)
    rows = rows.with_columns(parcel=pl.lit(None, pl.String))
    prepared = found.world.datasets.prepare_append(data, data.event_time, rows, segment="broken")
    assert not prepared.accepted
    found.world.engine.tell(facts=prepared.facts)


@contextmanager
def database(home: Path) -> Iterator[sqlite3.Connection]:
    """Give the ledger's tables to whoever wants to change them."""
    with closing(sqlite3.connect(home / "ledger.db", isolation_level=None)) as db:
        yield db


def lives(home: Path) -> Living:
    """Bring the home into service as `varv up` does, in this process."""
    return living(home, capture="again")
