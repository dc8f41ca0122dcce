"""The options of `varv pipeline` and `varv tune`. Only the standard library is imported here."""

from __future__ import annotations

import argparse
from collections.abc import Callable

Act = Callable[[str, str], argparse.ArgumentParser]
_SET = "another value than the declared one, as JSON or text; may be given several times"


def add_pipeline(acts: Act) -> None:
    """Add the acts of `varv pipeline`."""
    run = acts("run", "run what is not in the cache, and put the run on record")
    show = acts("show", "show the steps, and which are in the cache")
    why = acts("why", "say for each step why it would run")
    step = acts("step", "run one step, for a scheduler of others; what it needs must be in the cache")
    for one in (run, show, why, step):
        one.add_argument("file", help="FILE.py, or FILE.py:name where it declares several")
    for one in (run, show, why):
        one.add_argument("--set", action="append", default=[], metavar="STEP.NAME=VALUE", help=_SET)
    run.add_argument("--to", default="", metavar="STEP", help="only this step and what it needs")
    run.add_argument("--jobs", type=int, default=0, metavar="N", help="steps at a time (one a processor)")
    run.add_argument("--in-process", action="store_true", help="run steps in this process, without limits")
    why.add_argument("step", nargs="?", default="", help="only this step")
    step.add_argument("step", help="which step")
    step.add_argument("--run", required=True, metavar="ID", help="the scheduler's name of the run")
    step.add_argument("--expect", default="", metavar="DIGEST", help="refuse if the pipeline is another")
