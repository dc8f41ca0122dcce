"""The command line. Only the standard library is imported here, so that help costs nothing."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from varv import __version__
from varv.app.cli.data_options import DATA, ERASE, add_data, add_erase
from varv.app.cli.features_options import FEATURES, add_features
from varv.app.cli.labels_options import LABELS, add_labels
from varv.app.cli.leaving_options import EXPORT, PACKAGE, add_exports, add_package
from varv.app.cli.looking_options import (
    DOCTOR,
    LOGS,
    REQUIREMENTS,
    STATUS,
    TOP,
    VERIFY,
    WHY,
    add_logs,
    add_requirements,
    add_status,
    add_top,
    add_verify,
    add_why,
)
from varv.app.cli.model_options import (
    CANCEL,
    REGISTER,
    RETRAIN,
    REVIEW,
    ROLLBACK,
    TOKEN,
    add_asking,
    add_register,
    add_review,
    add_token,
)
from varv.app.cli.moving_options import (
    CI,
    CONTRACT,
    HOOKS,
    IMPORT,
    add_ci,
    add_contract,
    add_hooks,
    add_trackers,
)
from varv.app.cli.project_options import (
    APPLY,
    INIT,
    PLAN,
    REPLAY,
    TRACK,
    UP,
    add_init,
    add_plan,
    add_replay,
    add_retiring,
    add_track,
    add_up,
)
from varv.app.cli.quarantine_options import QUARANTINE, add_quarantine
from varv.app.cli.run_options import add_runs
from varv.app.cli.script_options import AFTER_DASHES, add_scripts
from varv.app.cli.trials import PIPELINE, TUNE, add_pipeline, add_tune
from varv.kernel.errors import InvalidInput, VarvError

_DESCRIPTION = """\
varv keeps a machine-learning model in production: it trains, rolls out, watches, retrains and rolls back
declared models, live or replayed over the past.
"""
_EPILOG = """\
start:
  varv init deliveries             write a small project with data
  cd deliveries
  varv replay deliveries.py        live through its history, and compare retraining policies
  varv track                       serve runs and models to MLflow's clients on :8400
  varv run train.py                run a script as a run, with all that it was made from on record
  varv up deliveries.py            serve it: console on :8400, predictions on :8480

Everything lives in one folder, .varv, or what --home or VARV_HOME names. Settings can also stand in
varv.toml. Exit status: 0 done, 1 refused or failed (the error says what, why, and what next), 2 wrong
usage.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in _divided(arguments)[0]
    try:
        options = parsed(arguments)
        # Every command's module is imported only when it runs: dataframes and servers take their time.
        commands: Any = importlib.import_module("varv.app.cli.commands")
        return commands.run(options)
    except VarvError as error:
        return _told(error, as_json=as_json)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output has left, as `head` does; nothing more can be said to it.
        sys.stderr.close()
        return 0


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what a command line says. What follows two dashes is for a script, if the command runs one: to
    argparse it would be too much wherever an option stands before it.
    """
    own, after = _divided(arguments)
    if not after:
        return parser().parse_args(arguments)
    try:
        options = parser().parse_args(own)
    except _Usage:
        return parser().parse_args(arguments)
    taken: str | None = getattr(options, AFTER_DASHES, None)
    if taken is None:
        return parser().parse_args(arguments)
    setattr(options, taken, [*getattr(options, taken), *after])
    return options


def _divided(arguments: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return what stands before two dashes, and what behind them."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:end], arguments[end + 1 :]


def _told(error: VarvError, *, as_json: bool) -> int:
    """Say what went wrong: as a document on standard output, or as three lines on standard error."""
    usage = isinstance(error, _Usage)
    if as_json:
        commands: Any = importlib.import_module("varv.app.cli.commands")
        sys.stdout.write(commands.error_document(error))
    else:
        facts = ", ".join(f"{key}={value}" for key, value in error.facts.items())
        lines = [
            f"varv: {error.subject} {error.problem}",
            f"  why:  {facts}" if facts else "",
            f"  next: {error.hint}",
        ]
        sys.stderr.write("".join(f"{line}\n" for line in lines if line and not line.endswith("next: ")))
    return 2 if usage else 1


class _Usage(InvalidInput):
    """Is not how the command is used."""


class _Parser(argparse.ArgumentParser):
    """Raises what is wrong with a command line, so that it is told like every other error."""

    def error(self, message: str) -> NoReturn:
        raise _Usage(
            "command", self.prog, f"is not used like this: {message}", hint=f"see {self.prog} --help"
        )


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(
        prog="varv",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        parents=[_shared(default=None)],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"varv {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)

    def add(name: str, summary: str, details: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=summary,
            description=details,
            parents=[_shared(default=argparse.SUPPRESS)],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    _add_writing(add)
    add_scripts(add)
    add_runs(add, _shared, _Parser)
    _add_reading(add)
    return parser


def _shared(*, default: object) -> _Parser:
    """Return the options that every command takes, before or after its name."""
    shared = _Parser(add_help=False)
    shared.add_argument(
        "--home", metavar="DIR", default=default, help="the folder that holds everything (.varv)"
    )
    shared.add_argument(
        "--json", action="store_true", default=False if default is None else default, help=_JSON
    )
    return shared


_JSON = "answer with one JSON document on standard output, errors too"


def _acts(
    command: argparse.ArgumentParser, dest: str = "act"
) -> Callable[[str, str], argparse.ArgumentParser]:
    """Return a function that adds an act to a command."""
    acts = command.add_subparsers(dest=dest, metavar=dest.upper(), required=True, parser_class=_Parser)

    def act(name: str, summary: str) -> argparse.ArgumentParser:
        return acts.add_parser(
            name, help=summary, description=summary, parents=[_shared(default=argparse.SUPPRESS)]
        )

    return act


def _add_writing(add: Any) -> None:
    add_init(add("init", "write a small project to start from", INIT))
    add_replay(add("replay", "live through the past, and compare policies", REPLAY))
    add_up(add("up", "serve models, and run their loops", UP))
    add_track(add("track", "serve runs and the registry to MLflow clients, without a declared model", TRACK))
    add_plan(add("plan", "say what a changed declaration will do", PLAN))
    add_retiring(add("apply", "carry a changed declaration out beside a running server", APPLY))
    add_asking(add("rollback", "go back to the champion before this one", ROLLBACK))
    told = "rows that were put aside: look, release, replace, drop"
    add_quarantine(_acts(add("quarantine", told, QUARANTINE)))
    add_contract(_acts(add("contract", "what rows must be like: show, import, export", CONTRACT)))
    add_data(_acts(add("data", "datasets: pull, read, compare, profile, correct, archive, publish", DATA)))
    add_erase(add("erase", "let all rows about somebody go, and prove it", ERASE))
    add_features(_acts(add("features", "feature views: online, as they were served, how they do", FEATURES)))
    add_review(_acts(add("review", "answers that wait for a person: look, decide", REVIEW)))
    add_labels(_acts(add("labels", "requests that people label: look, take, give, compare", LABELS)))
    add_asking(add("retrain", "ask for a new candidate", RETRAIN))
    add_register(add("register", "bring a model that was trained elsewhere, as a candidate", REGISTER))
    add_asking(add("cancel", "end the training that is under way", CANCEL))
    add_trackers(_acts(add("import", "bring what was tracked elsewhere", IMPORT), "tracker"))
    add_pipeline(_acts(add("pipeline", "run steps whose results are found by their content", PIPELINE)))
    add_tune(_acts(add("tune", "look for the parameters of a pipeline that do best", TUNE)))
    add_token(add("token", "make a token with which a client asks for predictions", TOKEN))


def _add_reading(add: Any) -> None:
    add_status(add("status", "show the state of every model", STATUS))
    add_top(add("top", "watch what a server answers", TOP))
    add_why(add("why", "explain a decision, a version or a prediction", WHY))
    add_logs(add("logs", "show what a training printed", LOGS))
    add_requirements(
        add("requirements", "show what is required of a model, and what proves it", REQUIREMENTS)
    )
    add_verify(add("verify", "check that everything stored is what was written", VERIFY))
    add_ci(_acts(add("ci", "report a candidate to continuous integration", CI)))
    add_hooks(_acts(add("hooks", "note in a git repository what its commits belong to", HOOKS)))
    add("doctor", "check this machine and its settings", DOCTOR)
    export = add("export", "write a gateway's configuration, or a pipeline for an orchestrator", EXPORT)
    add_exports(_acts(export, "target"))
    add_package(add("package", "write a version of a model for another server", PACKAGE))
