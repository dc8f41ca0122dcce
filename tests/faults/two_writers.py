"""A process that opens a store, writes to it, and closes it, again and again beside another one."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.data.versioning.stores import TRIPS, Store, base

from varv.kernel.errors import FailedPrecondition

if __name__ == "__main__":
    folder, writer = Path(sys.argv[1]), sys.argv[2]
    number = 0
    while number < 10:
        try:
            store = Store(folder, in_memory=False)
        except FailedPrecondition:
            continue  # the other one has it open
        frame = base((f"{writer}-{number}", 1, number), ("shared", 1, number))
        if number % 2:
            store.append("at", frame, f"{writer}-{number}")
        else:
            store.datasets.merge(TRIPS, "at", frame)
        store.ledger.close()
        number += 1
