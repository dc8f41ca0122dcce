"""The options of `varv features`. Only the standard library is imported here."""

from __future__ import annotations

import argparse
from collections.abc import Callable

Act = Callable[[str, str], argparse.ArgumentParser]
FEATURES = """Feature views, and the online store: what requests can see of each entity, packed for whoever
has no history in memory. A view that is online once is kept up to date by a running server. Features are
named view__feature, or all of a view by its name.
"""


def add_features(act: Act) -> None:
    """Add the acts of `varv features`."""
    act("ls", "list the feature views, and how fresh they are online")
    brought = act("materialise", "bring views up to date online; those that are not there are filled")
    brought.add_argument("views", nargs="*", metavar="VIEW", help="which ones (all)")
    filled = act("backfill", "fill a view anew, and put it in the place of what is there as a whole")
    filled.add_argument("view", metavar="VIEW")
    filled.add_argument("--since", default="", metavar="TIME", help="only rows of this time and later")
    filled.add_argument("--until", default="", metavar="TIME", help="only rows of before this time")
    for one in (brought, filled):
        one.add_argument("--by", default="operator", help="who does it; kept in the ledger")
    read = act("read", "show features of entities from the online store")
    read.add_argument("features", nargs="+", metavar="FEATURE", help="VIEW or VIEW__FEATURE")
    read.add_argument(
        "--entity", action="append", default=[], metavar="NAME=VALUE[,VALUE]", help="whose: once a column"
    )
    read.add_argument("--as-of", default="", metavar="TIME", help="what was known then (now)")
