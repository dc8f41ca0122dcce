"""What is new by a watermark comes once, however many rows share one and wherever pulls are killed."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.ingestion.sources import PostgresShop, Pulls, Shop
from tests.data.sources.servers import BIN, Postgres

from varv.data.sources import steps as stepping
from varv.kernel.faults import Crash, Faults

POINTS = ("pull.after_step", "pull.after_merge", "columns.before_rename", "ledger.before_commit")
SAID = st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 99), st.integers(0, 2))
ROUNDS = st.lists(
    st.tuples(st.lists(SAID, max_size=6), st.sampled_from(POINTS), st.integers(1, 4)), max_size=5
)


@pytest.mark.slow
@given(ROUNDS)
@settings(max_examples=25, deadline=None)
def test_rows_that_share_a_watermark_come_once_wherever_pulls_are_killed(rounds):
    folder = Path(tempfile.mkdtemp())
    shop = Shop(folder)
    pull_in_rounds(folder, shop, rounds)
    shop.connection.close()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def postgres():
    if not (BIN / "initdb").exists():
        pytest.skip("PostgreSQL is not here")
    server = Postgres()
    with patch.dict(os.environ, {"VARV_TEST_PASSWORD": "any"}):
        yield server
    server.close()


@pytest.mark.slow
@given(ROUNDS)
@settings(max_examples=10, deadline=None)
def test_rows_of_postgresql_that_share_a_watermark_come_once_too(postgres, rounds):
    folder = Path(tempfile.mkdtemp())
    shop = PostgresShop(postgres)
    pull_in_rounds(folder, shop, rounds)
    shop.connection.close()
    shutil.rmtree(folder)


def pull_in_rounds(folder, shop, rounds) -> None:
    state, now = dict[str, int](), 0
    pulls = Pulls(folder, shop.source(), updates="merge")
    with patch.object(stepping, "BATCH_ROWS", 2):
        for said, point, nth in rounds:
            for key, size, later in said:
                now += later
                # As late as others that were seen, but never earlier.
                shop.say(key, 1, size, changed=now)
                state[key] = size
            faults = Faults(point, nth=nth)
            pulls.faults = pulls.ledger._faults = faults
            pulls.reopen()
            with suppress(Crash):
                pulls.pull()
            pulls.faults, pulls.ledger._faults = None, Faults()
            pulls.reopen()
            pulls.pull()
            assert {key: size for key, (size, _) in pulls.rows().items()} == state
            version = pulls.datasets.version(pulls.dataset)
            assert pulls.pull().version == version
    pulls.ledger.close()
