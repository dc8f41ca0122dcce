"""The options of `varv pipeline` and `varv tune`. Only the standard library is imported here."""

from __future__ import annotations

import argparse
from collections.abc import Callable

Act = Callable[[str, str], argparse.ArgumentParser]
PIPELINE = """\
A file declares a pipeline of functions under @varv.step. A step runs if its code, what it is given, the
libraries that it reaches or its seed is new, and is taken from the cache otherwise; so a run that was cut
short goes on where it was. Each run is a run of the experiment named after the pipeline, and each step that
ran a run below it. Exit status 99 of `step`: a gate is shut.
"""
TUNE = """\
A file declares a study (varv.Tune) of a pipeline: a space of parameters, and a last step that returns the
number to be judged by. Each trial is a run below the study's, in a process of its own; what was found before
is taken from the cache. A study that was cut short goes on, and one that has ended can have more --trials.
Needs varv[tune].
"""
_OPEN = "write true or false, whether the way on is open, and end with status 0 either way"
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
    step.add_argument("--open-to", default="", metavar="FILE", help=_OPEN)
    step.add_argument("--expect", default="", metavar="DIGEST", help="refuse if the pipeline is another")


def add_tune(acts: Act) -> None:
    """Add the acts of `varv tune`."""
    run = acts("run", "run a study, or go on with it")
    show = acts("show", "show the trials of a study, the best first, and what the value depends on")
    for one in (run, show):
        one.add_argument("file", help="FILE.py, or FILE.py:name where it declares several")
        one.add_argument("--to", default="", metavar="FILE", help="also write it as a page with charts")
    run.add_argument("--trials", type=int, default=0, metavar="N", help="how many in all (as declared)")
    run.add_argument("--jobs", type=int, default=0, metavar="N", help="trials at a time (one a processor)")
    run.add_argument("--in-process", action="store_true", help="run them in this process, without limits")


def add_orchestrators(export: argparse.ArgumentParser) -> None:
    """Add the options of `varv export pipeline`."""
    export.add_argument("file", help="FILE.py, or FILE.py:name where it declares several")
    export.add_argument(
        "--as",
        dest="orchestrator",
        required=True,
        choices=["airflow", "kubeflow", "dagster", "prefect"],
        help="which orchestrator",
    )
    export.add_argument(
        "--place", default="", metavar="FILE", help="where the file is when steps run (where it is now)"
    )
    export.add_argument("--schedule", default="", metavar="CRON", help="when Airflow runs it (by hand)")
    export.add_argument(
        "--image", default="", help="the image of Kubeflow's steps, which has varv and the file"
    )
    export.add_argument("--claim", default="", help="the volume claim that the home is on, for Kubeflow")
    export.add_argument("--to", metavar="FILE", default="", help="where to write (standard output)")
