"""Streams of rows that are killed again and again: each row counts exactly once."""

from __future__ import annotations

import json
import random
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.scenarios.stream import batch

ROOT = Path(__file__).parents[2]
UNTIL = 60
KILLS = [3, pytest.param(20, marks=pytest.mark.soak)]


def begin(home: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.scenarios.stream", str(home), str(UNTIL)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("n_kills", KILLS)
def test_each_row_counts_once_however_often_the_stream_is_killed(tmp_path, n_kills):
    rng = random.Random(12)
    for _ in range(n_kills):
        with begin(tmp_path) as process:
            for _ in range(rng.randrange(1, 8)):
                assert process.stdout.readline(), process.stderr.read()[-2000:]
            # Anywhere between one batch and the next.
            time.sleep(rng.random() * 0.01)
            process.send_signal(signal.SIGKILL)
    with begin(tmp_path) as process:
        said, problem = process.communicate()
    assert process.returncode == 0, problem[-2000:]
    *_, last = said.splitlines()
    found = json.loads(last)
    rows = [row for number in range(UNTIL) for row in batch(number).rows()]
    for who, got in zip("xy", found["found"], strict=True):
        sizes = [size for _, _, whose, size in rows if whose == who]
        exact = [len(sizes), sum(sizes), statistics.stdev(sizes), max(sizes)]
        exact += [np.quantile(sizes, 0.5, method="inverted_cdf"), len(set(sizes))]
        assert got == [np.float32(one) for one in exact]
    assert found["n_rows"] == 3 * UNTIL
