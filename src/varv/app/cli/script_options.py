"""What `varv run` and `varv reproduce` take on the command line."""

from __future__ import annotations

import argparse
from typing import Any

AFTER_DASHES = "after_dashes"
"""The default of a command that says where what follows two dashes is to go."""


def add_scripts(add: Any) -> None:
    """Add the commands.

    Parameters
    ----------
    add
        Adds a command, by name, summary and details.
    """
    _add_run(add("run", "run a script as a run, with all that it was made from on record", _RUN))
    _add_reproduce(add("reproduce", "run a run again, twice, and say how equal the result is", _REPRODUCE))


def _add_run(run: argparse.ArgumentParser) -> None:
    run.add_argument("script", metavar="FILE", help="a script of Python, from the present folder")
    run.add_argument("arguments", nargs="*", help="what it is given; better after two dashes")
    run.set_defaults(**{AFTER_DASHES: "arguments"})
    run.add_argument("--experiment", default="Default", metavar="NAME", help="made if it is not there")
    run.add_argument("--name", default="", help="of the run; one is made up without it")
    run.add_argument("--tag", action="append", default=[], metavar="NAME=VALUE", help="of the run")
    run.add_argument(
        "--data", action="append", default=[], metavar="FILE", help="what it reads; its digest is kept"
    )
    run.add_argument(
        "--output", action="append", default=[], metavar="PATH", help="what it writes; kept with the run"
    )
    run.add_argument(
        "--predictions",
        default="",
        metavar="FILE",
        help="an output that holds its predictions on rows that never change: .csv, .npy or .jsonl",
    )
    run.add_argument(
        "--multirun", action="store_true", help="run it with every combination of values: depth=2,4 rate=1,2"
    )
    run.add_argument(
        "--jobs", type=_jobs, default=0, metavar="N", help="how many of them at once (one a processor)"
    )


def _add_reproduce(reproduce: argparse.ArgumentParser) -> None:
    reproduce.add_argument("run", help="the id of the run")
    reproduce.add_argument(
        "--repository", default=".", metavar="DIR", help="a clone that has its commit (the present folder)"
    )
    reproduce.add_argument(
        "--environment",
        choices=("recorded", "present"),
        default="recorded",
        help="make the recorded environment if this one differs (default), or take this one as it is",
    )
    reproduce.add_argument(
        "--relative", type=float, default=1e-6, metavar="X", help="how far numbers may be apart (1e-6)"
    )
    reproduce.add_argument(
        "--absolute", type=float, default=0.0, metavar="X", help="the same, in their own unit (0)"
    )
    reproduce.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="PATTERN",
        help="metrics and artifacts that are no result, such as '*_seconds'",
    )


def _jobs(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 256:
        raise argparse.ArgumentTypeError("choose a number from 1 to 256")
    return number


_RUN = """Run a script of Python as a run of the home's tracking. Kept with it: commit and everything that is
not committed, arguments and configuration, installed packages, machine, digests of data, what it printed and
how it ended. Code of MLflow in it logs into this run. With a running server the run is there; without one,
the home is served as long as the script runs. Exit status: that of the script.
"""
_REPRODUCE = """Check out the source of a run, make its environment unless the present one is equal, run it
twice, and compare: bit-identical, prediction-identical, within tolerance, differs, or cannot run. What
differs is named, and so is every part of what it was made from that is not what it was. The verdict is kept
in the ledger. Exit status 1 if it differs or cannot run.
"""
