"""Pulls that are killed again and again: nothing is lost and nothing counts twice."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.data.ingestion.sources import Shop
from tests.scenarios.pulls import N_ROWS

ROOT = Path(__file__).parents[2]
KILLS = [3, pytest.param(20, marks=pytest.mark.soak)]


def begin(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.scenarios.pulls", str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("n_kills", KILLS)
def test_each_row_is_there_once_however_often_the_pull_is_killed(tmp_path, n_kills):
    rng, shop = random.Random(5), Shop(tmp_path)
    shop.connection.execute("PRAGMA synchronous = OFF")
    for number in range(N_ROWS):
        shop.say(f"k{number:03d}", 1 + number % 28, number, changed=number // 5)
    with begin(tmp_path) as process:
        process.communicate()
    for number in range(N_ROWS):
        done = None if number % 3 else 28
        shop.say(f"k{number:03d}", 1 + number % 28, number + 1000, 1000 + number // 5, done, late=1)
    for _ in range(n_kills):
        with begin(tmp_path) as process:
            for _ in range(rng.randrange(1, 4)):
                line = process.stdout.readline()
                assert line, process.stderr.read()[-2000:]
                if line.startswith("{"):
                    break
            # Anywhere between one step and the next.
            time.sleep(rng.random() * 0.02)
            process.send_signal(signal.SIGKILL)
    with begin(tmp_path) as process:
        said, problem = process.communicate()
    assert process.returncode == 0, problem[-2000:]
    found = json.loads(said.splitlines()[-1])
    wanted = {f"k{number:03d}": [number + 1000, None if number % 3 else True] for number in range(N_ROWS)}
    assert found["rows"] == wanted
    appended = sum(n for cause, n in found["versions"] if cause == "append")
    assert appended == N_ROWS + N_ROWS // 3
