"""The options of `varv quarantine`. Only the standard library is imported here."""

from __future__ import annotations

import argparse
from collections.abc import Callable

Act = Callable[[str, str], argparse.ArgumentParser]
QUARANTINE = """Rows that break their dataset's contract are put aside, one by one or with their whole
batch. Look at them, and let them out as they are, replace them by corrected ones, or give them up. With a
running server, rows that come out reach features and labels at once; without one, when varv up runs next.
"""


def add_quarantine(act: Act) -> None:
    """Add the acts of `varv quarantine`."""
    listed = act("list", "list the batches that have rows in quarantine")
    listed.add_argument("what", nargs="?", default="", help="DATASET or DATASET/PART; all if left out")
    shown = act("show", "show rows in quarantine, with their numbers and reasons")
    shown.add_argument("--limit", type=int, default=20, help="how many rows (20)")
    shown.add_argument("--to", metavar="FILE", help="write all of them to a .csv, .parquet or .jsonl file")
    released = act("release", "let rows out as they are")
    replaced = act("replace", "put corrected rows in the place of rows of one batch")
    dropped = act("drop", "give rows up for good")
    for one in (shown, released, replaced, dropped):
        one.add_argument("what", help="DATASET, DATASET/PART or DATASET/PART/SEGMENT")
    replaced.add_argument("file", help="the corrected rows: .csv, .parquet or .jsonl")
    for one in (shown, released, replaced, dropped):
        one.add_argument("--reason", default="", help='only rows of this reason: "impossible value"')
        one.add_argument(
            "--rows", default="", metavar="NUMBERS", help="only these rows of a segment: 0,2,5-9"
        )
    for one in (released, replaced, dropped):
        one.add_argument("--by", default="operator", help="who decides; kept in the ledger")
        one.add_argument("--why", default="", help="why; kept in the ledger")
