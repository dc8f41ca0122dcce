"""Run every promise and print the table for `docs/explanation/statistics.md`.

python -m benchmarks.promises 400
"""

from __future__ import annotations

import sys

from benchmarks.promises import alarms, intervals, rollouts
from benchmarks.promises.row import table


def main() -> int:
    """Print the table; the exit status says whether every promise holds."""
    n_runs = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    rows = [*rollouts.run(n_runs), *alarms.run(n_runs), *intervals.run(n_runs)]
    print(table(rows))
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
