"""A process that moves files of rows between tiers step by step, and may be killed at a named point.

``python -m tests.faults.moving_writer FOLDER [POINT:NTH:kill]``
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from tests.data.tiers.stores import TierStore
from tests.data.versioning.stores import TRIPS, base, done
from tests.faults.killed import go_on

from varv.data.retention import Retention
from varv.kernel import table_folder
from varv.kernel.clock import DAY, instant
from varv.kernel.faults import Faults


def steps(store: TierStore) -> list[Callable[[], object]]:
    """Return what is done, one step after the other; a step that is done again changes nothing."""

    def archive(before: str) -> Callable[[], object]:
        return lambda: store.archive(before)

    def vacuum() -> None:
        store.versions.vacuum(TRIPS, Retention(n_versions=1))

    return [
        *(lambda n=n: store.append("at", base((f"k{n}", n, n)), f"w-{n:06d}") for n in range(1, 6)),
        lambda: store.append("done_at", done(("k1", 9, True)), "w-000001"),
        lambda: store.datasets.merge(TRIPS, "at", base(("k5", 5, 50))),
        archive("2013-01-03"),
        store.compact,
        archive("2013-01-20"),
        lambda: store.append("at", base(("k9", 9, 9)), "w-000009"),
        lambda: store.restore(until="2013-01-03"),
        vacuum,
        lambda: store.restore(),
        store.compact,
        archive("2013-01-20"),
        lambda: store.tiers.finish(TRIPS),
    ]


def write(folder: Path, faults: Faults | None = None) -> TierStore:
    """Go on from the step that was not done."""
    store = TierStore(folder, in_memory=False, faults=faults)

    def pass_time(number: int) -> None:
        # Time goes on between the steps, the same whoever does them.
        store.clock.move_to(instant("2014-02-01") + 2 * (number + 1) * DAY)

    with mock.patch.object(table_folder, "_MANY", 3):
        go_on(folder, steps(store), pass_time)
    return store


if __name__ == "__main__":
    write(Path(sys.argv[1]), Faults.parse(sys.argv[2] if len(sys.argv) > 2 else ""))
