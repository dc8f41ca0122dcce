"""A process that writes to a store step by step, and may be killed at a named point; started by tests.

``python -m tests.faults.rewriting_writer FOLDER [POINT:NTH:kill]``
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from tests.data.versioning.stores import TRIPS, Store, base, done
from tests.faults.killed import go_on

from varv.data.versioning.references import Reference
from varv.data.versions.model import Retention
from varv.kernel import table_folder
from varv.kernel.clock import DAY
from varv.kernel.faults import Faults


def steps(store: Store) -> list[Callable[[], object]]:
    """Return what is written, one step after the other; a step that is done again changes nothing."""
    datasets = store.datasets

    def vacuum() -> None:
        store.clock.move_to(store.clock.now() + 3 * DAY)
        store.versions.vacuum(TRIPS, Retention(n_versions=2))

    return [
        *(lambda n=n: store.append("at", base((f"k{n}", n, n)), f"w-{n:06d}") for n in range(1, 7)),
        lambda: store.append("done_at", done(("k1", 9, True), ("k2", 9, False)), "w-000001"),
        store.compact,
        lambda: datasets.merge(TRIPS, "at", base(("k2", 2, 20), ("k5", 5, 50), ("k7", 7, 7))),
        lambda: store.versions.tag(Reference("trips"), "kept"),
        lambda: datasets.merge(TRIPS, "done_at", done(("k1", 9, False))),
        lambda: store.append("at", base(("k8", 8, 8)), "w-000007"),
        lambda: store.append("at", base(("k9", 9, 9)), "w-000008"),
        store.compact,
        lambda: datasets.overwrite(TRIPS, "at", base(("k1", 1, 1), ("k2", 2, 200))),
        lambda: datasets.merge(TRIPS, "at", base(("k1", 1, 10))),
        vacuum,
        store.compact,
    ]


def write(folder: Path, faults: Faults | None = None) -> Store:
    """Go on from the step that was not done."""
    store = Store(folder, in_memory=False, faults=faults)
    with mock.patch.object(table_folder, "_MANY", 3):
        go_on(folder, steps(store))
    return store


if __name__ == "__main__":
    write(Path(sys.argv[1]), Faults.parse(sys.argv[2] if len(sys.argv) > 2 else ""))
