"""No leakage, on the real flights: what is known after an instant changes nothing that was decided before."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace
from tests.loop.synthetic import entries_of, quietly
from tests.scenarios import flights_replay

from varv.app.replaying import run_replay
from varv.kernel.clock import as_datetime, instant
from varv.kernel.secret import SECRET_FILE, Secret
from varv.loop.declaring.model import Declared
from varv.loop.model import LoopStarted

CUT = instant("2013-03-05T00:00:00Z")
UNTIL = "2013-03-08T00:00:00Z"


def shuffled_after(
    rows: pl.DataFrame, known_at: str, columns: list[str], rng: np.random.Generator
) -> pl.DataFrame:
    """Deal what becomes known from the cut on to other flights."""
    later = pl.col(known_at) >= as_datetime(CUT)
    places = rows.with_row_index("place").filter(later)["place"].to_numpy()
    dealt = rows.select(columns)[rng.permutation(places)]
    kept = rows.with_row_index("place")
    dealt = dealt.with_columns(place=pl.Series(places, dtype=pl.UInt32))
    return kept.update(dealt, on="place").drop("place")


def decided(rows: pl.DataFrame, folder: Any) -> list[tuple[Any, ...]]:
    """Return everything that a replay of `rows` committed, the name of its data left out."""
    data = flights_replay.prepare(folder / "data", rows)
    # The key of keyed digests follows from all of the data, and nothing follows from the key.
    (folder / "home").mkdir()
    Secret(folder / "home" / SECRET_FILE).settle(b"the same for both")
    # A plant that breaks in the canary is given on purpose, in its shadow, what becomes known later.
    replay = flights_replay.replay(data, until=UNTIL, breaks="at once")
    run_replay(replay, folder / "home", quietly, declared_only=True)
    found = []
    for entry in entries_of(folder / "home"):
        event = entry.event
        named = isinstance(event, LoopStarted | Declared)
        said = replace(event, declaration="") if named else entry.data
        found.append((entry.at, entry.seq, entry.cause, entry.stream, entry.name, said))
    return found


@pytest.mark.slow
def test_shuffling_the_outcomes_that_arrive_later_changes_nothing_before(tmp_path):
    rows = flights_replay.flights()
    rng = np.random.default_rng(5)
    other = shuffled_after(rows, "arrived_at", ["arr_delay", "late"], rng)
    other = shuffled_after(other, "departed_at", ["dep_delay", "left_late"], rng)
    assert not other["late"].equals(rows["late"])
    true, dealt = decided(rows, tmp_path / "true"), decided(other, tmp_path / "dealt")
    before = [entry for entry in true if entry[0] <= CUT]
    assert len(before) > 500
    assert {"rollout.version_promoted", "rollout.rolled_back"} <= {entry[4] for entry in before}
    assert [entry for entry in dealt if entry[0] <= CUT] == before
    # And the test can fail: later, the worlds part.
    assert [entry for entry in dealt if entry[0] > CUT] != [entry for entry in true if entry[0] > CUT]
