"""What `varv runs` takes on the command line."""

from __future__ import annotations

import argparse
from typing import Any


def add_runs(add: Any, shared: Any, parser_class: Any) -> None:
    """Add the command.

    Parameters
    ----------
    add, shared, parser_class
        As `app.cli.parser` has them: what adds a command, returns the options that all take, and makes
        parsers.
    """
    runs = add("runs", "runs: list, show, compare, find the best, stop, delete for good", _RUNS)
    acts = runs.add_subparsers(dest="act", metavar="ACT", required=True, parser_class=parser_class)

    def act(name: str, summary: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = acts.add_parser(
            name, help=summary, description=summary, parents=[shared(default=argparse.SUPPRESS)]
        )
        return made

    _add_list(act("ls", "list runs by a filter and an order"))
    shown = act("show", "show parameters, metrics, inputs and artifacts of a run")
    shown.add_argument("run", help="its id, or how it begins")
    compared = act("diff", "say in what runs differ")
    compared.add_argument("runs", nargs="+", metavar="RUN", help="two runs or more")
    compared.add_argument("--all", action="store_true", help="show what is equal as well")
    _add_best(act("best", "find the best runs by a metric"))
    stopped = act("stop", "ask whoever runs a script to end it")
    stopped.add_argument("run", help="the id of the run")
    stopped.add_argument("--by", default="operator", help="who asks; kept in the ledger")
    _add_purge(act("purge", "delete runs for good that were deleted before"))


def _add_list(listed: argparse.ArgumentParser) -> None:
    _add_filter(listed)
    order = "a field to order by, with desc for the greatest first; several times for more"
    listed.add_argument("--order", metavar="FIELD", action="append", default=[], help=order)
    listed.add_argument("--deleted", action="store_true", help="those that were deleted")
    listed.add_argument("--limit", type=int, default=20, help="how many (20)")
    listed.add_argument("--after", default="", metavar="TOKEN", help="go on after a list that ended with it")


def _add_filter(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--where", default="", metavar="FILTER", help="such as \"metrics.loss < .3 or params.depth = '3'\""
    )
    command.add_argument(
        "--experiment",
        metavar="NAME",
        action="append",
        default=[],
        help="the id or the name of an experiment; several times for more (all)",
    )


def _add_best(best: argparse.ArgumentParser) -> None:
    best.add_argument("metric", help="its name")
    _add_filter(best)
    best.add_argument(
        "--goal", choices=("min", "max"), help="which way it is better, if its name does not say"
    )
    best.add_argument(
        "--by", choices=("last", "min", "max"), default="last", help="by which of a run's values (last)"
    )
    best.add_argument("--limit", type=int, default=10, help="how many (10)")


def _add_purge(purge: argparse.ArgumentParser) -> None:
    purge.add_argument("runs", nargs="*", metavar="RUN", help="ids of deleted runs")
    purge.add_argument(
        "--experiment", metavar="ID", action="append", default=[], help="a deleted experiment with its runs"
    )
    purge.add_argument("--by", default="operator", help="who decides; kept in the ledger")


_RUNS = """Look at runs, those of clients and those of trainings alike, also while a server runs. A filter
joins comparisons by AND, OR and parentheses: metrics.loss < .3 or params.depth = '3'; min(metrics.loss) and
max(metrics.loss) ask for the least and the greatest value a run ever had. To stop one asks its varv run to
end it: the script gets SIGTERM, and is killed if it has not ended ten seconds later. To purge deletes
parameters, points and artifacts of runs that were deleted before; what the ledger says of them in short words
stays.
"""
