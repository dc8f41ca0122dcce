"""The options of the commands that look at a home and change nothing.

Only the standard library is imported here.
"""

from __future__ import annotations

import argparse

STATUS = """Show models, versions and aliases, shares, the open rollout, what waits, alarms, and what is
due next. Also while varv up runs.
"""
TOP = """Show what a running server answers, model by model: requests and rows a second, how many requests
were scored in one call, how long they took from their last byte to their answer, and which versions answered.
In a pipe, with --json or with --once one interval is shown.
"""
WHY = """Follow the causes of a decision back to its root, each with its entry in the ledger and its
numbers. Of a prediction: which version answered and why that one, which run, code and data made it, and the
source rows.
"""
LOGS = """Show what the training of a version printed, its standard output and error together; of much, the
beginning and the end. Also while varv up trains it.
"""
REQUIREMENTS = """Show each requirement that is declared of a model, whether it is proved of a version, and
by what: gates, tests of behaviour, monitors, contracts of data, reports, each with the entry of the ledger
that says so. A requirement is proved if everything that is declared to prove it does; "not yet" is what only
shows while the version serves.
"""
VERIFY = """Compare everything that decisions are made from with what was written: every entry with the
chain of hashes, the head and the signed checkpoints; sagas, timers and commands with what the entries
decided; every segment of rows and every package with its digest in the ledger. What was edited, cut, removed
or swapped is named, with what to do about it. Exit status 1 if anything is not as it was written.
"""
DOCTOR = """Check Python, libraries, home folder, disk, ports and browser, and show every setting with
where it came from.
"""


def add_status(status: argparse.ArgumentParser) -> None:
    """Add the options of `varv status`."""
    status.add_argument("model", nargs="?", default="", help="only this model")


def add_top(top: argparse.ArgumentParser) -> None:
    """Add the options of `varv top`."""
    top.add_argument("--every", type=float, default=1.0, metavar="SECONDS", help="how often (1)")
    top.add_argument("--once", action="store_true", help="show one interval and end")


def add_why(why: argparse.ArgumentParser) -> None:
    """Add the options of `varv why`."""
    why.add_argument(
        "subject",
        nargs="+",
        help="a model, MODEL v7, rollout/MODEL/7, a seq, a prediction's key, or MODEL and a key",
    )


def add_logs(logs: argparse.ArgumentParser) -> None:
    """Add the options of `varv logs`."""
    logs.add_argument("model", help="which model")
    logs.add_argument("version", nargs="?", help="which version, 7 or v7 (the latest)")
    logs.add_argument("--follow", "-f", action="store_true", help="go on until the training ends")


def add_requirements(requirements: argparse.ArgumentParser) -> None:
    """Add the options of `varv requirements`."""
    requirements.add_argument("model", help="which model")
    requirements.add_argument("version", nargs="?", help="which version, 7 or v7 (the champion)")
    requirements.add_argument("--markdown", action="store_true", help="write it as a table in Markdown")


def add_verify(verify: argparse.ArgumentParser) -> None:
    """Add the options of `varv verify`."""
    verify.add_argument("--quick", action="store_true", help="check the ledger alone, and no other file")
    verify.add_argument("--points", action="store_true", help="check the ledger and metrics of runs alone")
    verify.add_argument("--against", metavar="FILE", help="compare with checkpoints that were kept elsewhere")
    anew = "begin checkpoints anew where they or their key are lost, and nothing else is wrong"
    verify.add_argument("--sign-anew", action="store_true", help=anew)
