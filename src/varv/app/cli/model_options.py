"""The options of the commands that act on a model and on its answers.

Only the standard library is imported here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

Act = Callable[[str, str], argparse.ArgumentParser]
ROLLBACK = """Give up the rollout that is open, or, if there is none, go back to the champion before this
one. With a running server this takes effect within milliseconds; without one it is carried out when varv up
runs next.
"""
RETRAIN = """Ask for a new candidate. It is trained at once if the loop is free and its cool-down over,
and waits otherwise.
"""
REGISTER = """Bring a model that was trained elsewhere, as a candidate of a declared one. It must read
declared features and predict what is declared; the gates judge it on requests after those that it was fitted
on, and it is rolled out and watched like any other. Nothing is unpickled. It is taken at once if the loop is
free, and waits otherwise.
"""
CANCEL = """End the training that is under way, in its process and all that it started. It fails with who
ended it and why, counts as no failure of its code, and is not tried again; the next trigger trains anew.
"""
REVIEW = """Answers that a model held back, or that something stood in for, wait for a person where
varv.Serving(review=[...]) says so, for 30 days. A decision is kept in the ledger, and whoever asked
reads it there (review.state). It is no outcome: what turned out is told by data.
"""
TOKEN = """Print a new token, which is stored nowhere and not shown again, and the lines of varv.toml that
let whoever has it ask the data plane. Once one client is declared, requests without a token are refused. A
server that runs reads the lines with varv apply.
"""


def add_asking(command: argparse.ArgumentParser) -> None:
    """Add the options of what is asked of one model: `varv retrain`, `varv cancel` and `varv rollback`."""
    command.add_argument("model", help="which model")
    command.add_argument("--reason", default="", help="kept in the ledger")


def add_register(register: argparse.ArgumentParser) -> None:
    """Add the options of `varv register`."""
    register.add_argument("model", help="which declared model it is a candidate of")
    register.add_argument(
        "file",
        help="an .onnx file, LightGBM's text, XGBoost's .ubj or .json, a .skops file, a package of varv, a "
        "folder of MLflow or transformers, what was logged here (models:/NAME/3, models:/NAME@alias, "
        "models:/m-ID, runs:/RUN/path), or the address of a model that answers elsewhere",
    )
    register.add_argument(
        "--fitted-until",
        metavar="TIME",
        required=True,
        help="it was fitted on requests before this time; it is judged on later ones",
    )
    register.add_argument(
        "--categories",
        metavar="COLUMN=A,B,C",
        action="append",
        default=[],
        help="the texts of a column in the order of the codes that it reads, where it does not say so itself",
    )
    register.add_argument(
        "--text", default="", metavar="COLUMN", help="the text that a model of transformers reads"
    )
    register.add_argument("--trust", action="store_true", help="let a package of varv run its own code")
    register.add_argument("--reason", default="", help="kept in the ledger")
    endpoint = register.add_argument_group("for a model that answers elsewhere")
    endpoint.add_argument(
        "--protocol",
        choices=("oip", "instances"),
        default="oip",
        help="Open Inference Protocol v2, or JSON of instances and predictions",
    )
    endpoint.add_argument("--output", default="", help="the output that is the prediction, if several may be")
    endpoint.add_argument(
        "--timeout", type=_seconds, default=2.0, metavar="SECONDS", help="how long one call may take"
    )
    endpoint.add_argument(
        "--token-variable",
        default="",
        metavar="NAME",
        help="the variable that holds its token, here and for varv up",
    )
    endpoint.add_argument("--token-file", default="", metavar="PATH", help="the file that holds its token")


def _seconds(text: str) -> float:
    """Return a number of seconds that one call may take."""
    number = float(text)
    if not 0.01 <= number <= 60.0:
        raise argparse.ArgumentTypeError("choose a number from 0.01 to 60")
    return number


def add_review(act: Act) -> None:
    """Add the acts of `varv review`."""
    listed = act("list", "list the requests that wait for a person")
    shown = act("show", "say whether a request waits, and what was decided")
    decided = act("decide", "decide what a request is to be answered")
    for one in (listed, shown, decided):
        one.add_argument("model", help="which model")
    for one in (shown, decided):
        one.add_argument("key", help="the key of the request")
    decided.add_argument("decision", help="what it is to be answered, in your words")
    decided.add_argument("--by", default="operator", help="who decides; kept in the ledger")
    decided.add_argument("--note", default="", help="why; kept in the ledger")


def add_token(token: argparse.ArgumentParser) -> None:
    """Add the options of `varv token`."""
    token.add_argument("client", help="its name in varv.toml")
