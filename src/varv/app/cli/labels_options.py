"""The options of `varv labels`. Only the standard library is imported here."""

from __future__ import annotations

import argparse
from collections.abc import Callable

LABELS = """Requests that people are asked to label, as varv.Labelling(...) declares: unsure ones, unlike
ones, those whose answer was held back, and a share that chance alone draws. A label becomes the outcome of
its request, for which the server has to run.
"""


def add_labels(act: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """Declare the acts of `varv labels`."""
    taken = act("take", "lease requests to a labeller, and show them")
    given = act("give", "say what the outcome of a request is")
    back = act("return", "give a request back unlabelled")
    looked = [
        act("ls", "list the queue"),
        act("agreement", "say how far labellers agree, by Cohen's kappa"),
    ]
    estimated = act("estimate", "estimate the loss on all requests from those that were labelled")
    exposed = act("exposure", "say how much of what is known was seen by chance")
    wrong = act("errors", "list labels that are probably wrong; nothing is corrected")
    for one in (*looked, estimated, exposed, taken, given, back, wrong):
        one.add_argument("model", help="which model")
    for one in (given, back):
        one.add_argument("key", help="the key of the request")
        one.add_argument("--note", default="", help="why; kept in the ledger")
    for one in (taken, given, back):
        one.add_argument("--by", required=True, metavar="NAME", help="who labels; kept in the ledger")
    given.add_argument("value", nargs="?", help="what the outcome is")
    given.add_argument("--no-outcome", action="store_true", help="that there is none and never will be")
    taken.add_argument("-n", type=int, default=1, metavar="NUMBER", help="how many requests (1)")
    for one, days in ((estimated, 30), (exposed, 30), (wrong, 90)):
        one.add_argument("--days", type=int, default=days, help=f"how far back to look ({days})")
    wrong.add_argument("--limit", type=int, default=50, help="how many to list (50)")
