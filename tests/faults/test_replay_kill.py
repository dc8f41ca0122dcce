"""A replay of real flights that is killed again and again ends with the ledger of one that was left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.loop.synthetic import entries_of
from tests.scenarios import flights_replay

from varv.app.compose import open_ledger
from varv.app.verifying import verify_report
from varv.kernel.errors import VarvError

KILLS = [5, pytest.param(20, marks=pytest.mark.soak)]
ROOT = Path(__file__).parents[2]


def n_entries(home: Path) -> int:
    """Return how many entries another process has committed by now."""
    try:
        ledger = open_ledger(home, read_only=True)
    except VarvError:
        return 0
    try:
        return ledger.head().version
    finally:
        ledger.close()


def begin(home: Path, data: Path, life: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.scenarios.flights_replay", str(home), str(data)]
    # Every life hashes texts in its own way: nothing may depend on the order of a set.
    env = {**os.environ, "PYTHONHASHSEED": str(life), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.PIPE)


def live_until(home: Path, data: Path, life: int, n: int) -> None:
    """Let a replay run until its ledger has `n` entries, and kill it there."""
    with begin(home, data, life) as process:
        while n_entries(home) < n:
            assert process.poll() is None, process.stderr.read().decode()[-2000:]
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL


def live_to_the_end(home: Path, data: Path, life: int) -> None:
    with begin(home, data, life) as process:
        _, said = process.communicate()
    assert process.returncode == 0, said.decode()[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize("n_kills", KILLS)
def test_a_replay_that_is_killed_again_and_again_ends_as_if_it_had_been_left_alone(tmp_path, n_kills):
    jfk = flights_replay.flights().filter(pl.col("origin") == "JFK")
    data = flights_replay.prepare(tmp_path / "data", jfk)
    alone = tmp_path / "alone"
    live_to_the_end(alone, data, 99)
    n_all = len(entries_of(alone))
    moments = sorted(np.random.default_rng(20130213).integers(1, n_all - 20, n_kills).tolist())
    home = tmp_path / "killed"
    kept = []
    for life, moment in enumerate(moments):
        live_until(home, data, life, moment)
        found = entries_of(home)
        assert found[: len(kept)] == kept, "an entry that was committed is gone"
        kept = found
    live_to_the_end(home, data, n_kills)
    assert verify_report(home).ok
    assert entries_of(home) == entries_of(alone)
