"""The options of `varv features`. Only the standard library is imported here."""

from __future__ import annotations

import argparse
from collections.abc import Callable

Act = Callable[[str, str], argparse.ArgumentParser]
FEATURES = """Feature views, and the online store: what requests can see of each entity, packed for whoever
has no history in memory. A view that is online once is kept up to date by a running server. Features are
named view__feature, or all of a view by its name.

While varv up runs, a sample of the requests of every hour is compared with the same features computed anew
from what is stored, as known at each request: 1 %, or 1,000 a day. A value is equal, stale, late, missing on
either side, or different. Wrong values raise an alarm.
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
    skewed = act("skew", "show served values against the same values computed anew, by class")
    shown = act("show", "show how each feature does: missing values, drift, age of its source")
    for one in (skewed, shown):
        one.add_argument("model", nargs="?", default="", help="which model (the only one)")
    skewed.add_argument("--days", type=int, default=7, metavar="N", help="count so many days together (7)")
    skewed.add_argument("--since", default="", metavar="TIME", help="compare requests from then on, now")
    skewed.add_argument("--until", default="", metavar="TIME", help="with --since: requests before this")
    skewed.add_argument("--share", type=float, metavar="SHARE", help="with --since: of the requests (1 %%)")
