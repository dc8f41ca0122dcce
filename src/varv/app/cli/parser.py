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
from varv.app.cli.run_options import add_runs
from varv.app.cli.script_options import AFTER_DASHES, add_scripts
from varv.app.cli.trials import add_orchestrators, add_pipeline, add_tune
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


_REGRET = "show what each policy lost beyond the best schedule in hindsight, and what trainings are worth"
_SEARCH = "live through every policy of the declared search, and show which was chosen in time"
_JSON = "answer with one JSON document on standard output, errors too"


def _add_project(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "file",
        nargs="?",
        default="",
        help="the project: FILE.py, FILE.py:name, or a folder of files (project in varv.toml)",
    )
    command.add_argument("--model", metavar="NAME", default="", help="this model of the project alone")


def _add_writing(add: Any) -> None:
    init = add("init", "write a small project to start from", _INIT)
    init.add_argument(
        "folder", nargs="?", default=".", help="where; made if it is not there (the present folder)"
    )
    replay = add("replay", "live through the past, and compare policies", _REPLAY)
    _add_project(replay)
    replay.add_argument("--declared-only", action="store_true", help="leave the reference policies out")
    replay.add_argument(
        "--policies",
        metavar="NAMES",
        help="policies to compare with, of those declared and never,monthly,weekly,every-2-weeks,"
        "every-4-weeks,every-8-weeks,volume-25,volume-50",
    )
    replay.add_argument("--regret", action="store_true", help=_REGRET)
    replay.add_argument("--search", action="store_true", help=_SEARCH)
    replay.add_argument(
        "--price",
        metavar="PRICE",
        default="",
        help='what a training costs: 30 (summed loss), "0.01 on 10000 requests" or "12 a year"',
    )
    replay.add_argument("--fresh", action="store_true", help="set a replay that is there aside, and run anew")
    up = add("up", "serve models, and run their loops", _UP)
    _add_project(up)
    up.add_argument("--port", type=int, help="port of the console and the API (8400)")
    up.add_argument("--inference-port", type=int, help="port of predictions (8480)")
    up.add_argument("--grpc-port", type=int, help="port of predictions over gRPC (none)")
    up.add_argument("--host", help="address to listen on (127.0.0.1)")
    up.add_argument("--workers", type=int, help="processes that answer predictions (1)")
    _add_retiring(up)
    track = add("track", "serve runs and the registry to MLflow clients, without a declared model", _TRACK)
    track.add_argument("--port", type=int, help="port of the console and the API (8400)")
    track.add_argument("--host", help="address to listen on (127.0.0.1)")
    plan = add("plan", "say what a changed declaration will do", _PLAN)
    _add_project(plan)
    _add_retiring(plan)
    _add_retiring(add("apply", "carry a changed declaration out beside a running server", _APPLY))
    rollback = add("rollback", "go back to the champion before this one", _ROLLBACK)
    rollback.add_argument("model", help="which model")
    rollback.add_argument("--reason", default="", help="kept in the ledger")
    _add_quarantine(add)
    add_contract(_acts(add("contract", "what rows must be like: show, import, export", CONTRACT)))
    add_data(_acts(add("data", "datasets: pull, read, compare, profile, correct, archive, publish", DATA)))
    add_erase(add("erase", "let all rows about somebody go, and prove it", ERASE))
    add_features(_acts(add("features", "feature views: online, as they were served, how they do", FEATURES)))
    _add_review(add("review", "answers that wait for a person: look, decide", _REVIEW))
    add_labels(_acts(add("labels", "requests that people label: look, take, give, compare", LABELS)))
    retrain = add("retrain", "ask for a new candidate", _RETRAIN)
    retrain.add_argument("model", help="which model")
    retrain.add_argument("--reason", default="", help="kept in the ledger")
    _add_register(add("register", "bring a model that was trained elsewhere, as a candidate", _REGISTER))
    cancel = add("cancel", "end the training that is under way", _CANCEL)
    cancel.add_argument("model", help="which model")
    cancel.add_argument("--reason", default="", help="kept in the ledger")
    add_trackers(_acts(add("import", "bring what was tracked elsewhere", IMPORT), "tracker"))
    add_pipeline(_acts(add("pipeline", "run steps whose results are found by their content", _PIPELINE)))
    add_tune(_acts(add("tune", "look for the parameters of a pipeline that do best", _TUNE)))
    token = add("token", "make a token with which a client asks for predictions", _TOKEN)
    token.add_argument("client", help="its name in varv.toml")


def _add_retiring(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--retire",
        metavar="NAME",
        action="append",
        default=[],
        help="a model that the project does not declare any more may go; it can be declared again",
    )
    command.add_argument(
        "--despite-traffic", action="store_true", help="also if it answered requests in the last day"
    )


def _add_register(register: argparse.ArgumentParser) -> None:
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


def _add_quarantine(add: Any) -> None:
    quarantine = add("quarantine", "rows that were put aside: look, release, replace, drop", _QUARANTINE)
    act = _acts(quarantine)
    listed = act("list", "list the batches that have rows in quarantine")
    listed.add_argument("what", nargs="?", default="", help="DATASET or DATASET/PART; all if left out")
    shown = act("show", "show rows in quarantine, with their numbers and reasons")
    shown.add_argument("--limit", type=int, default=20, help="how many rows (20)")
    shown.add_argument("--to", metavar="FILE", help="write all of them to a .csv, .parquet or .jsonl file")
    released = act("release", "let rows out as they are")
    replaced = act("replace", "put corrected rows in the place of rows of one batch")
    dropped = act("drop", "give rows up for good")
    for one in (shown, released, replaced, dropped):
        one.add_argument("what", help="DATASET, DATASET/PART or DATASET/PART/SEGMENT")
    replaced.add_argument("file", help="the corrected rows: .csv, .parquet or .jsonl")
    for one in (shown, released, replaced, dropped):
        one.add_argument("--reason", default="", help='only rows of this reason: "impossible value"')
        one.add_argument(
            "--rows", default="", metavar="NUMBERS", help="only these rows of a segment: 0,2,5-9"
        )
    for one in (released, replaced, dropped):
        one.add_argument("--by", default="operator", help="who decides; kept in the ledger")
        one.add_argument("--why", default="", help="why; kept in the ledger")


def _add_review(review: argparse.ArgumentParser) -> None:
    act = _acts(review)
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


def _add_reading(add: Any) -> None:
    status = add("status", "show the state of every model", _STATUS)
    status.add_argument("model", nargs="?", default="", help="only this model")
    top = add("top", "watch what a server answers", _TOP)
    top.add_argument("--every", type=float, default=1.0, metavar="SECONDS", help="how often (1)")
    top.add_argument("--once", action="store_true", help="show one interval and end")
    why = add("why", "explain a decision, a version or a prediction", _WHY)
    why.add_argument(
        "subject",
        nargs="+",
        help="a model, MODEL v7, rollout/MODEL/7, a seq, a prediction's key, or MODEL and a key",
    )
    logs = add("logs", "show what a training printed", _LOGS)
    logs.add_argument("model", help="which model")
    logs.add_argument("version", nargs="?", help="which version, 7 or v7 (the latest)")
    logs.add_argument("--follow", "-f", action="store_true", help="go on until the training ends")
    requirements = add("requirements", "show what is required of a model, and what proves it", _REQUIREMENTS)
    requirements.add_argument("model", help="which model")
    requirements.add_argument("version", nargs="?", help="which version, 7 or v7 (the champion)")
    requirements.add_argument("--markdown", action="store_true", help="write it as a table in Markdown")
    verify = add("verify", "check that everything stored is what was written", _VERIFY)
    verify.add_argument("--quick", action="store_true", help="check the ledger alone, and no other file")
    verify.add_argument("--points", action="store_true", help="check the ledger and metrics of runs alone")
    verify.add_argument("--against", metavar="FILE", help="compare with checkpoints that were kept elsewhere")
    anew = "begin checkpoints anew where they or their key are lost, and nothing else is wrong"
    verify.add_argument("--sign-anew", action="store_true", help=anew)
    add_ci(_acts(add("ci", "report a candidate to continuous integration", CI)))
    add_hooks(_acts(add("hooks", "note in a git repository what its commits belong to", HOOKS)))
    add("doctor", "check this machine and its settings", _DOCTOR)
    export = add("export", "write a gateway's configuration, or a pipeline for an orchestrator", _EXPORT)
    _add_exports(_acts(export, "target"))
    _add_package(add("package", "write a version of a model for another server", _PACKAGE))


def _add_exports(target: Callable[[str, str], argparse.ArgumentParser]) -> None:
    for name in ("envoy", "kong", "gateway-api", "istio"):
        _add_gateway(target(name, f"the configuration of {name}"))
    add_orchestrators(target("pipeline", "a pipeline as a file of an orchestrator"))


def _add_gateway(export: argparse.ArgumentParser) -> None:
    export.add_argument(
        "--upstream",
        metavar="PLACE",
        action="append",
        default=[],
        help="a data plane: HOST:PORT, https://HOST:PORT, with =WEIGHT beside others (that of the settings)",
    )
    export.add_argument("--grpc-port", type=int, help="port of the upstreams for gRPC (none)")
    export.add_argument(
        "--hostname", metavar="NAME", action="append", default=[], help="by which callers call it (any)"
    )
    export.add_argument(
        "--timeout", metavar="SECONDS", type=int, default=30, help="how long callers wait (30)"
    )
    export.add_argument("--listen", metavar="PORT", type=int, default=8080, help="Envoy's own port (8080)")
    export.add_argument("--gateway", metavar="NAME", default="varv", help="Kubernetes' gateway (varv)")
    export.add_argument("--namespace", metavar="NAME", default="", help="Kubernetes' namespace")
    export.add_argument(
        "--authority", metavar="FILE", default="", help="who vouches for upstreams over TLS (the system's)"
    )
    export.add_argument("--to", metavar="FILE", default="", help="where to write (standard output)")


def _add_package(package: argparse.ArgumentParser) -> None:
    package.add_argument("model", help="which model")
    package.add_argument("version", nargs="?", help="which version, 7 or v7 (the champion)")
    package.add_argument(
        "--as",
        dest="target",
        required=True,
        choices=["triton", "mlflow", "mlserver", "sagemaker", "vertex", "bentoml"],
        help="which server",
    )
    package.add_argument("--to", metavar="FOLDER", required=True, help="where to write; new, or a former one")
    cluster = package.add_argument_group("for Kubernetes")
    cluster.add_argument(
        "--storage-uri", metavar="URI", default="", help="where the folder will be: also write resources"
    )
    cluster.add_argument("--image", default="", help="the image that is built of the folder")
    cluster.add_argument("--namespace", metavar="NAME", default="", help="Kubernetes' namespace")


_REVIEW = """Answers that a model held back, or that something stood in for, wait for a person where
varv.Serving(review=[...]) says so, for 30 days. A decision is kept in the ledger, and whoever asked
reads it there (review.state). It is no outcome: what turned out is told by data.
"""
_INIT = """Write deliveries.py, a small declaration that works, and the data that it reads. What is there
already is left as it is; running it again changes nothing.
"""
_TOP = """Show what a running server answers, model by model: requests and rows a second, how many requests
were scored in one call, how long they took from their last byte to their answer, and which versions answered.
In a pipe, with --json or with --once one interval is shown.
"""
_REPLAY = """Feed the data of FILE, as it arrived, through the whole loop under a virtual clock: training,
gates, shadow, canary, promotion, monitors, retraining. Then do the same with reference policies and
compare. A replay that was cut short goes on; a finished one is shown again. FILE must declare a
varv.Replay.
"""
_UP = """Own the home folder: answer predictions, take outcomes, watch, retrain and roll out, until a
signal comes. On an empty home the history in the data is taken in first and the first model trained; on one
that a replay has filled, its champion serves. What FILE declares otherwise than before is said, as varv
plan says it, and carried out. The console is there at once, on http://127.0.0.1:8400/.
"""
_TRACK = """Own the home folder and answer MLflow's REST protocol, until a signal comes: set
MLFLOW_TRACKING_URI=http://127.0.0.1:8400 where experiments are run. varv up answers it too, beside the models
that it serves.
"""
_PLAN = """Compare FILE with what the home has on record, and say what varv up or varv apply will do about it:
new models, new features and the stored requests that they are computed for, features that go and the
versions that still read them, settings before and after, models that are retired, and what is refused, with
the reason and what to do instead. Nothing is changed; also while varv up runs. Exit status 0 if there is
nothing to do, 2 if there is something, 1 if any of it is refused.
"""
_APPLY = """Let the running varv up read its declaration anew, from where it was started with, and carry out
what changed, as varv plan says it, while requests are answered: new worker processes take over from the ones
before, stored requests get what is new, and versions are trained on it. If any of it is refused, nothing is
changed.
"""
_ROLLBACK = """Give up the rollout that is open, or, if there is none, go back to the champion before this
one. With a running server this takes effect within milliseconds; without one it is carried out when varv up
runs next.
"""
_QUARANTINE = """Rows that break their dataset's contract are put aside, one by one or with their whole
batch. Look at them, and let them out as they are, replace them by corrected ones, or give them up. With a
running server, rows that come out reach features and labels at once; without one, when varv up runs next.
"""
_RETRAIN = """Ask for a new candidate. It is trained at once if the loop is free and its cool-down over,
and waits otherwise.
"""
_REGISTER = """Bring a model that was trained elsewhere, as a candidate of a declared one. It must read
declared features and predict what is declared; the gates judge it on requests after those that it was fitted
on, and it is rolled out and watched like any other. Nothing is unpickled. It is taken at once if the loop is
free, and waits otherwise.
"""
_CANCEL = """End the training that is under way, in its process and all that it started. It fails with who
ended it and why, counts as no failure of its code, and is not tried again; the next trigger trains anew.
"""
_TOKEN = """Print a new token, which is stored nowhere and not shown again, and the lines of varv.toml that
let whoever has it ask the data plane. Once one client is declared, requests without a token are refused. A
server that runs reads the lines with varv apply.
"""
_LOGS = """Show what the training of a version printed, its standard output and error together; of much, the
beginning and the end. Also while varv up trains it.
"""
_STATUS = """Show models, versions and aliases, shares, the open rollout, what waits, alarms, and what is
due next. Also while varv up runs.
"""
_WHY = """Follow the causes of a decision back to its root, each with its entry in the ledger and its
numbers. Of a prediction: which version answered and why that one, which run, code and data made it, and the
source rows.
"""
_REQUIREMENTS = """Show each requirement that is declared of a model, whether it is proved of a version, and
by what: gates, tests of behaviour, monitors, contracts of data, reports, each with the entry of the ledger
that says so. A requirement is proved if everything that is declared to prove it does; "not yet" is what only
shows while the version serves.
"""
_VERIFY = """Compare everything that decisions are made from with what was written: every entry with the
chain of hashes, the head and the signed checkpoints; sagas, timers and commands with what the entries
decided; every segment of rows and every package with its digest in the ledger. What was edited, cut, removed
or swapped is named, with what to do about it. Exit status 1 if anything is not as it was written.
"""
_EXPORT = """Write what is served as the configuration of Envoy, Kong, Kubernetes' Gateway API or Istio: the
paths of every model in all protocols, health checks, timeouts, and retries of what reached nobody. Versions
are drawn by varv, so every request goes to it; several upstreams share requests by weight. Tokens and rates
of rows stay with varv.

`export pipeline` writes a pipeline as a file of Airflow, Kubeflow, Dagster or Prefect: a task a step, each
`varv pipeline step` on a home that all steps reach.
"""
_PACKAGE = """Write one version of a model as a folder that another server takes, with a page that says how.
The graph in it does what varv does around the model: it reads columns by their names, turns texts into codes
and answers the prediction. Before anything is written it has answered the package's probe rows as the trained
model did. Features that varv computes are not in it. Only models in ONNX are written.
"""
_PIPELINE = """\
A file declares a pipeline of functions under @varv.step. A step runs if its code, what it is given, the
libraries that it reaches or its seed is new, and is taken from the cache otherwise; so a run that was cut
short goes on where it was. Each run is a run of the experiment named after the pipeline, and each step that
ran a run below it. Exit status 99 of `step`: a gate is shut.
"""
_TUNE = """\
A file declares a study (varv.Tune) of a pipeline: a space of parameters, and a last step that returns the
number to be judged by. Each trial is a run below the study's, in a process of its own; what was found before
is taken from the cache. A study that was cut short goes on, and one that has ended can have more --trials.
Needs varv[tune].
"""
_DOCTOR = """Check Python, libraries, home folder, disk, ports and browser, and show every setting with
where it came from.
"""
