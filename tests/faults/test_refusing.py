"""A real `varv up` on a broken store says what is broken and where, within seconds, and serves nothing."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

WITHIN_S = 60  # on a machine that runs other tests; 84 s it was on one that ran nothing else


@pytest.fixture(scope="module")
def stored(served_project, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    served_project(folder)
    return folder


def first(home: Path, pattern: str) -> Path:
    return sorted(home.glob(pattern))[0]


def halved_rows(home: Path) -> str:
    path = first(home, "columns/data/deliveries/ordered_at/*.arrows")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    return path.relative_to(home).as_posix()


def lost_predictions(home: Path) -> str:
    path = first(home, "columns/predictions/late-parcel/*.arrows")
    path.unlink()
    return path.relative_to(home).with_suffix("").as_posix()


def forged_state(home: Path) -> str:
    with closing(sqlite3.connect(home / "ledger.db", isolation_level=None)) as db:
        forged = """replace(state, '"champion":1', '"champion":2')"""
        db.execute(f"UPDATE sagas SET state = CAST({forged} AS BLOB)")
    return "saga loop/late-parcel"


def damaged_packages(home: Path) -> str:
    for path in home.glob("blobs/*/*"):
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    return "blobs/"


@pytest.mark.parametrize(
    "breaks",
    [
        halved_rows,
        forged_state,
        *(pytest.param(one, marks=pytest.mark.soak) for one in (lost_predictions, damaged_packages)),
    ],
)
def test_varv_up_names_what_is_broken_and_ends(stored, tmp_path, breaks):
    home = shutil.copytree(stored / "home", tmp_path / "home")
    named = breaks(home)
    began = time.monotonic()
    command = [sys.executable, "-m", "varv.app.cli", "--home", str(home), "up", str(stored / "deliveries.py")]
    ports = ["--port", "0", "--inference-port", "0"]
    ended = subprocess.run([*command, *ports], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert named in ended.stderr
    assert "varv verify" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert time.monotonic() - began < WITHIN_S
    told = subprocess.run([*command[:-2], "verify"], capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == 1
    assert named in told.stdout
