"""A process that publishes a store often enough that files are merged, and may be killed at a named point;
started by tests.

``python -m tests.faults.merging_writer FOLDER [POINT:NTH:kill]``
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.data.delta.test_publishing import Publisher
from tests.data.versioning.stores import TRIPS, base, done
from tests.faults.killed import go_on

from varv.data.delta import merging
from varv.kernel.clock import DAY
from varv.kernel.faults import Faults

N_BATCHES = 4


def write(folder: Path, faults: Faults | None = None) -> Publisher:
    """Go on from the step that was not done; a step that is done again changes nothing."""
    merging.FEWEST = 3
    store = Publisher(folder, in_memory=False, faults=faults)
    store.publications = store.publisher(faults)
    steps = []
    for n in range(1, N_BATCHES + 1):
        steps += [
            lambda n=n: store.append("at", base((f"k{n}", n, n)), f"w-{n:06d}"),
            lambda n=n: store.append("done_at", done((f"k{n}", 9, True)), f"w-{n:06d}"),
            store.publish,
        ]
    steps += [
        lambda: store.clock.move_to(store.clock.now() + 2 * DAY),
        lambda: store.versions.vacuum(TRIPS),
        lambda: store.datasets.merge(TRIPS, "at", base(("k2", 2, 20))),
        store.publish,
    ]
    go_on(folder, steps)
    return store


if __name__ == "__main__":
    write(Path(sys.argv[1]), Faults.parse(sys.argv[2] if len(sys.argv) > 2 else ""))
