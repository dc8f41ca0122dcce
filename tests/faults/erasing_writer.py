"""A process that erases a subject from a home, and may be killed at a named point; started by tests.

``python -m tests.faults.erasing_writer HOME [POINT:NTH:kill]``
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.home.erasure.people import ANA, People, people

import varv
from varv.adapters.keyvalue.sqlite import SqliteKeyValue
from varv.features.online.materialising import Materialiser
from varv.kernel.faults import Faults

DATASET = people(pii={"age": "encrypt:email"})
MAILED = varv.FeatureView("mailed", source=DATASET, entity="email", features=["late"])


def opened(folder: Path, faults: Faults | None = None) -> People:
    """Return the home, with its online store."""
    return People(folder, faults, DATASET, SqliteKeyValue(folder / "online", durable=False))


def fill(folder: Path) -> None:
    """Write the home: rows, a training set of them, and features online."""
    home = opened(folder).fill()
    store = SqliteKeyValue(folder / "online", durable=False)
    Materialiser(home.datasets, home.views, store, home.clock, home.datasets.commit).backfill(MAILED)
    home.close()
    varv.training_set("people", ["email"], home=folder, name="of-rows")


def erase(folder: Path, faults: Faults | None = None) -> None:
    """Ask for the erasure, or for the same one again, and carry it out."""
    home = opened(folder, faults)
    home.erasures.carry(home.erasures.request("people", "email", ANA, by="ana"))
    home.close()


if __name__ == "__main__":
    erase(Path(sys.argv[1]), Faults.parse(sys.argv[2] if len(sys.argv) > 2 else ""))
