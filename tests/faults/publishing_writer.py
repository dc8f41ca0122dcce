"""A process that writes to a store and publishes it, and may be killed at a named point; started by tests.

``python -m tests.faults.publishing_writer FOLDER [POINT:NTH:kill]``
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.data.delta.test_publishing import Publisher
from tests.data.versioning.stores import TRIPS, base, done
from tests.faults.killed import go_on

from varv.kernel.faults import Faults


def write(folder: Path, faults: Faults | None = None) -> Publisher:
    """Go on from the step that was not done; a step that is done again changes nothing."""
    store = Publisher(folder, in_memory=False, faults=faults)
    store.publications = store.publisher(faults)
    steps = [
        *(lambda n=n: store.append("at", base((f"k{n}", n, n)), f"w-{n:06d}") for n in (1, 2)),
        store.publish,
        lambda: store.append("done_at", done(("k1", 9, True)), "w-000001"),
        lambda: store.datasets.merge(TRIPS, "at", base(("k2", 2, 20), ("k5", 5, 50))),
        store.publish,
        lambda: store.datasets.overwrite(TRIPS, "at", base(("k1", 1, 1))),
        store.publish,
    ]
    go_on(folder, steps)
    return store


if __name__ == "__main__":
    write(Path(sys.argv[1]), Faults.parse(sys.argv[2] if len(sys.argv) > 2 else ""))
