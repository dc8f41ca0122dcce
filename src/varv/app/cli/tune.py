"""`varv tune`: run a study, or go on with it, and show how it stands."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import nullcontext, redirect_stdout

from varv.app.cli.access import answer, written
from varv.app.cli.rendering import Block, Grid, Heading, Line
from varv.app.settings import Loaded, Settings
from varv.app.tuning import StudyReport, study_report
from varv.app.tuning import tune as run_tune
from varv.fronts.web.studies import study_page
from varv.kernel.errors import InvalidInput
from varv.kernel.wording import number, percent
from varv.pipelines.recorded import shown
from varv.tuning import Trial

_STATES = ("COMPLETE", "PRUNED", "FAIL")
SHOWN = 10
"""Trials that are listed, the best ones."""


def tune(options: argparse.Namespace, loaded: Loaded) -> int:
    """Do what the command's act says."""
    return _ACTS[options.act](options, loaded.settings)


def _run(options: argparse.Namespace, settings: Settings) -> int:
    def tell(trial: Trial) -> None:
        if not options.json:
            sys.stdout.write(_said(trial) + "\n")
            sys.stdout.flush()

    n_at_once = options.jobs or os.cpu_count() or 1
    if not 1 <= n_at_once <= 256:
        raise InvalidInput("option", "--jobs", "is out of range", given=n_at_once, hint="give 1 to 256")
    if options.trials < 0:
        raise InvalidInput("option", "--trials", "is negative", given=options.trials, hint="give 1 or more")
    with redirect_stdout(sys.stderr) if options.json else nullcontext():
        found = run_tune(
            settings,
            options.file,
            trials=options.trials,
            n_at_once=n_at_once,
            here=options.in_process,
            on_trial=tell,
        )
    return _tell(options, found)


def _show(options: argparse.Namespace, settings: Settings) -> int:
    return _tell(options, study_report(settings, options.file))


def _tell(options: argparse.Namespace, found: StudyReport) -> int:
    if options.to:
        page = study_page(
            found.study,
            direction=found.direction,
            values=[(trial.number, trial.value) for trial in found.trials if trial.value is not None],
            history=found.history,
            importance=found.importance,
        )
        written(options.to, page)
    answer(options, found, lambda: _blocks(found))
    return 0


def _blocks(found: StudyReport) -> list[Block]:
    told = [trial for trial in found.trials if trial.value is not None]
    told.sort(key=lambda trial: trial.value or 0.0, reverse=found.direction == "maximize")
    states = {state: sum(one.state == state for one in found.trials) for state in _STATES}
    counts = ", ".join(f"{n} {state.lower()}" for state, n in states.items() if n)
    rows = [(str(one.number), number(one.value, 5), _params(one)) for one in told[:SHOWN]]
    shares = [(name, percent(share)) for name, share in found.importance.items()]
    return [
        Heading(f"study {found.study}: {counts}"),
        Grid(("trial", "value", "parameters"), rows),
        *([Heading("what the value depends on"), Grid(("parameter", "share"), shares)] if shares else []),
        Line(f"run {found.run}"),
    ]


def _said(trial: Trial) -> str:
    how = {"COMPLETE": number(trial.value, 5), "PRUNED": "pruned", "FAIL": "failed"}[trial.state or "FAIL"]
    return f"trial {trial.number}: {how}{' (hit)' if trial.cached else ''}  {_params(trial)}"


def _params(trial: Trial) -> str:
    return ", ".join(f"{name}={shown(value)}" for name, value in trial.params.items())


_ACTS = {"run": _run, "show": _show}
