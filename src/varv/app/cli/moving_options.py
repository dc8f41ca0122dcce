"""The options of `varv import`, `ci` and `hooks`: what comes from elsewhere, and what git and its hosts get.

Only the standard library is imported here, as in `app.cli.parser`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

Act = Callable[[str, str], argparse.ArgumentParser]
"""Adds an act to a command: its name and what it does."""


def add_trackers(act: Act) -> None:
    """Add what `varv import` can bring from."""
    mlflow = act("mlflow", "from MLflow: a server, its database, or a folder mlruns")
    mlflow.add_argument("uri", help="https://HOST:PORT, sqlite:///FILE, postgresql://..., or the folder")
    mlflow.add_argument(
        "--artifacts", metavar="DIR", default="", help="the folder that a server keeps its artifacts in"
    )
    mlflow.add_argument(
        "--copy", action="store_true", help="also bring artifacts that lie in s3: and its like, by the server"
    )
    exports = [
        act("wandb", "from Weights & Biases: a folder of projects, in them one a run"),
        act("neptune", "from Neptune: the folder that its exporter wrote"),
        act("comet", "from Comet: the folder that cometx download wrote"),
    ]
    for one in exports:
        one.add_argument("folder", help="the folder of the export")
    for one in (mlflow, *exports):
        one.add_argument("--without-artifacts", action="store_true", help="leave artifacts where they are")
    _add_feast(act)


def _add_feast(act: Act) -> None:
    feast = act("feast", "from Feast: write what a repository declares as a declaration in Python")
    feast.add_argument("folder", help="the folder with feature_store.yaml")
    feast.add_argument("--into", metavar="FILE", default="", help="where to write (standard output)")
    feast.add_argument(
        "--registry", metavar="FILE", default="", help="the registry's file, or its dump as FILE.json"
    )
    feast.add_argument(
        "--python",
        metavar="PYTHON",
        default="",
        help="compare values: the interpreter of an environment with Feast",
    )
    feast.add_argument(
        "--requests", metavar="FILE", default="", help="requests to compare, in Parquet (made of the rows)"
    )


def add_contract(act: Act) -> None:
    """Add what `varv contract` does."""
    shown = act("show", "show what is declared of a dataset, what was warned of, and how fresh it is")
    shown.add_argument("dataset", help="which dataset")
    brought = act("import", "write a schema of Pandera or a suite of Great Expectations as rules in Python")
    brought.add_argument("file", help="the file, in YAML or JSON")
    brought.add_argument(
        "--dataset", default="", help="the dataset it is about, to compare columns and types"
    )
    brought.add_argument("--to", metavar="FILE", default="", help="where to write (standard output)")
    brought.add_argument(
        "--parameter", metavar="NAME=VALUE", action="append", default=[], help="a value that a suite asks for"
    )
    given = act("export", "write what is declared for Pandera or Great Expectations")
    given.add_argument("what", help="DATASET or DATASET/PART")
    given.add_argument("--to", choices=["pandera", "gx"], required=True, help="for which of them")
    given.add_argument("--file", metavar="FILE", default="", help="a .yaml or .json file (standard output)")


def add_ci(act: Act) -> None:
    """Add what `varv ci` does."""
    report = act("report", "write how the last candidate fares beside the champion, as Markdown")
    report.add_argument("model", nargs="?", default="", help="only this model")
    report.add_argument("--version", type=int, metavar="N", help="this version, not the last candidate")
    report.add_argument("--run", metavar="RUN", default="", help="a logged run, beside a baseline")
    report.add_argument("--baseline", metavar="RUN", default="", help="that run (of the model's champion)")
    report.add_argument(
        "--tolerance",
        metavar="METRIC=X",
        action="append",
        default=[],
        help="by how much it may be worse; METRIC:max=X where its name does not say which way is better",
    )
    report.add_argument(
        "--folds",
        metavar="METRIC",
        action="append",
        default=[],
        help="a metric whose points are folds or repeats, one a step",
    )
    report.add_argument("--to", metavar="FILE", default="", help="where to write (standard output)")
    report.add_argument("--junit", metavar="FILE", default="", help="also write the gates as JUnit's XML")
    template = act("template", "write the workflows that train, judge and report what a change declares")
    template.add_argument("host", choices=["github", "gitlab"], help="where they run")
    template.add_argument("--project", metavar="FILE", default="project.py", help="the project (project.py)")
    template.add_argument("--to", metavar="DIR", default="", help="the repository (standard output)")


def add_hooks(act: Act) -> None:
    """Add what `varv hooks` does."""
    act("install", "let each commit of this repository be noted")
    act("uninstall", "take what install has written out again")
    stamp = act("stamp", "note a commit, as the hook does")
    for one in (stamp, act("show", "show what is noted of a commit")):
        one.add_argument("commit", nargs="?", default="HEAD", help="which commit (HEAD)")


CONTRACT = """What rows must be like is learned from a reference period, and declared with
varv.Dataset(..., expect=[...]). Rules come from files of Pandera and Great Expectations, and go to such; what
cannot be translated is listed. Nothing here changes a home.
"""
IMPORT = """Take over experiments, runs with the whole histories of their metrics, logged models, artifacts,
registered models and versions, with their ids, times and numbers. It can be run again at any time: what is
here is passed over, what is new is added, and what was broken off goes on. What is here with the id of
something else stops it. In the end source and home are compared; exit status 1 if they differ. With a running
varv up or varv track, that is handed what this command reads. A server's credentials are read from
MLFLOW_TRACKING_TOKEN, or from MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD. From Feast come
definitions of features, written as a declaration: no home is touched, and no code of the repository is run.
"""
CI = """Say how the last candidate of each model fares beside the champion: metrics, groups and data with
their differences and 95 % intervals, from what its gates showed. With --run, say how a logged run fares
beside a baseline, or beside the run that made the champion of MODEL, by declared tolerances. Exit status 0 if
it passes, 1 if it does not, 2 if that cannot be judged.
"""
HOOKS = """Let git note beside each commit which champions there were, how far the ledger had come, and the
digests of lock files. Notes are in refs/notes/varv: no commit is changed, none is held up, and nothing leaves
the repository unless that reference is pushed.
"""
