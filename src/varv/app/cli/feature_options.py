"""The options of `varv features`. Only the standard library is imported here."""

from __future__ import annotations

import argparse
from collections.abc import Callable

Act = Callable[[str, str], argparse.ArgumentParser]
FEATURES = """Features as they were served. While varv up runs, a sample of the requests of every hour is
compared with the same features computed anew from what is stored, as known at each request: 1 %, or 1,000 a
day. A value is equal, stale, late, missing on either side, or different. Wrong values raise an alarm.
"""


def add_features(act: Act) -> None:
    """Add the acts of `varv features`."""
    skewed = act("skew", "show served values against the same values computed anew, by class")
    shown = act("show", "show how each feature does: missing values, drift, age of its source")
    for one in (skewed, shown):
        one.add_argument("model", nargs="?", default="", help="which model (the only one)")
    skewed.add_argument("--days", type=int, default=7, metavar="N", help="count so many days together (7)")
    skewed.add_argument("--since", default="", metavar="TIME", help="compare requests from then on, now")
    skewed.add_argument("--until", default="", metavar="TIME", help="with --since: requests before this")
    skewed.add_argument("--share", type=float, metavar="SHARE", help="with --since: of the requests (1 %%)")
