"""A database that is pulled in small steps; `tests.faults.test_kill_pull` kills it.

``python -m tests.scenarios.pulls FOLDER`` goes on from whatever the folder holds. It says each point at which
a step is committed, and at last what there is.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.data.ingestion.sources import Pulls, Shop

from varv.data.sources import steps as stepping
from varv.kernel.faults import Faults

N_ROWS = 240


class Telling(Faults):
    """Dies nowhere by itself, and says where it is."""

    def reach(self, point: str) -> None:
        """Say that a point of a pull is reached."""
        if point.startswith("pull."):
            sys.stdout.write(f"{point}\n")
            sys.stdout.flush()


def main(folder: Path) -> None:
    """Pull to the end; see the module."""
    stepping.BATCH_ROWS = 11
    source = Shop.source_in(folder)
    pulls = Pulls(folder, source, in_memory=False, faults=Telling(), updates="merge")
    pulls.pull()
    found = {key: list(value) for key, value in sorted(pulls.rows().items())}
    versions = [(one.cause, one.n_rows) for one in pulls.datasets.versions(pulls.dataset)]
    sys.stdout.write(json.dumps({"rows": found, "versions": versions}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
