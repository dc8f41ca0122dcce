"""The small project of `varv init`, with a training function that does what a file beside it says."""

from __future__ import annotations

from pathlib import Path

from tests.app.serving import varv

PARCEL = {"district": "harbour", "courier": "eli", "distance_km": 4.5, "weight_kg": 1.2, "hour": 18}

HOSTILE = '''
def hostile(train, params):
    """Do what the file `act` says, then fit."""
    import acts

    acts.act()
    return fit(train, params)


late = varv.Model('''

ACTS = '''
"""What training functions of authors do by mistake."""

import ctypes
import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def act():
    with (HERE / "begun").open("a") as file:
        file.write("x")
    said = HERE / "act"
    name = said.read_text().strip() if said.exists() else "good"
    globals()[name]()


def good():
    print("fitting as ever")


def loops():
    print("round and round")
    while True:
        pass


def leaks():
    held = []
    while True:
        held.append(bytearray(b"x" * (32 << 20)))


def crashes():
    print("about to crash")
    sys.stdout.flush()
    ctypes.string_at(0)


def exits():
    os._exit(3)


def prints():
    line = b"y" * 1023 + b"\\n"
    for _ in range(1 << 20):
        os.write(1, line)
    raise RuntimeError("printed a gigabyte")


def forks():
    """Daemons that outlive everything, as they think."""
    for _ in range(5):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                (HERE / f"daemon-{os.getpid()}").write_text("")
                time.sleep(10_000)
            os._exit(0)
    time.sleep(1)
    raise RuntimeError("left daemons behind")


def waits():
    print("waiting")
    time.sleep(10_000)


def waits_second():
    """Be good once, then wait."""
    first = HERE / "was_good"
    if first.exists():
        waits()
    first.write_text("")
    good()
'''


def hostile_project(folder: Path, *, train: str = "") -> Path:
    """Write the project into a folder, and return its file.

    Parameters
    ----------
    train
        Further arguments of its ``varv.Train``, as source.
    """
    varv(folder / "unused", "init", str(folder))
    (folder / "acts.py").write_text(ACTS)
    file = folder / "deliveries.py"
    text = file.read_text()
    for before, after in (
        ("\nlate = varv.Model(", HOSTILE),
        ("        fit, window=", f"        hostile, {train}window="),
        ('cooldown="4d"', 'cooldown="1s"'),
    ):
        assert before in text, before
        text = text.replace(before, after, 1)
    file.write_text(text)
    return file


def say(folder: Path, act: str) -> None:
    """Let fits from now on do something."""
    (folder / "act").write_text(act)


def n_begun(folder: Path) -> int:
    """Return how many fits have begun."""
    try:
        return len((folder / "begun").read_text())
    except FileNotFoundError:
        return 0
