"""`varv pipeline`: run one, look at one, and run one step for a scheduler of others."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import msgspec

from varv.app.cli.access import acted, answer, written
from varv.app.cli.rendering import Block, Grid, Heading, Line
from varv.app.pipelines import PipelineRun, StepLine, StepOutlook, outlook, run_pipeline, run_step
from varv.app.settings import Loaded, Settings
from varv.data.versioning.deriving import derive
from varv.data.versioning.verbs import RewriteDone
from varv.fronts.orchestrators.model import SHUT
from varv.kernel.errors import InvalidInput, NotFound
from varv.pipelines.recorded import shown


def pipeline(options: argparse.Namespace, loaded: Loaded) -> int:
    """Do what the command's act says."""
    return _ACTS[options.act](options, loaded.settings)


def assigned(pairs: Sequence[str]) -> dict[str, Any]:
    """Return ``name=value`` pairs as a dictionary; a value is JSON, or else a text.

    Raises
    ------
    InvalidInput
        If one has no ``=``.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise InvalidInput("parameter", pair[:60], "has no value", hint="write STEP.NAME=VALUE")
        try:
            found[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            found[name] = value
    return found


def _run(options: argparse.Namespace, settings: Settings) -> int:
    def tell(line: StepLine) -> None:
        if not options.json:
            sys.stdout.write(_said(line) + "\n")
            sys.stdout.flush()

    n_at_once = options.jobs or os.cpu_count() or 1
    if not 1 <= n_at_once <= 256:
        raise InvalidInput("option", "--jobs", "is out of range", given=n_at_once, hint="give 1 to 256")
    # What steps print in this process would be in the middle of the document.
    with redirect_stdout(sys.stderr) if options.json else nullcontext():
        done = run_pipeline(
            settings,
            options.file,
            params=assigned(options.set),
            to=options.to,
            n_at_once=n_at_once,
            here=options.in_process,
            write=lambda asked: acted(settings, "dataset.derive", asked, derive, RewriteDone),
            on_line=tell,
        )
    answer(options, done, lambda: [Line(_summary(done))])
    return 0


def _show(options: argparse.Namespace, settings: Settings) -> int:
    found = outlook(settings, options.file, assigned(options.set))

    def blocks() -> list[Block]:
        rows = [
            (
                one.step,
                one.function if one.function != one.step else "",
                ", ".join((*one.needs, *(f"after {name}" for name in one.after))),
                ", ".join(f"{name}={shown(value)}" for name, value in one.params.items()),
                "hit" if one.hit else "runs",
            )
            for one in found
        ]
        return [Grid(("step", "function", "needs", "parameters", "now"), rows)]

    answer(options, found, blocks)
    return 0


def _why(options: argparse.Namespace, settings: Settings) -> int:
    found = outlook(settings, options.file, assigned(options.set))
    if options.step:
        names = [one.step for one in found]
        found = [one for one in found if one.step == options.step]
        if not found:
            hint = f"the steps are {', '.join(names)}"
            raise NotFound("step", options.step[:60], "is not in the pipeline", hint=hint)
    answer(options, found, lambda: _reasons(found))
    return 0


def _step(options: argparse.Namespace, settings: Settings) -> int:
    shut = run_step(settings, options.file, options.step, run=options.run, expected=options.expect)
    reason = shut.reason if shut else ""
    lines = [Line(f"{options.step}: a gate is shut: {reason}")] if shut else []
    answer(options, {"step": options.step, "shut": reason}, lambda: lines)
    if options.open_to:
        Path(options.open_to).parent.mkdir(parents=True, exist_ok=True)
        written(options.open_to, "false" if shut else "true")
        return 0
    return SHUT if shut else 0


def _said(line: StepLine) -> str:
    reason = f"  ({', '.join(line.why)})" if line.why else ""
    tried = f", {line.attempts} attempts" if line.attempts > 1 else ""
    took = f" in {line.wall_s:.2f} s{tried}" if line.how == "ran" else ""
    return f"{line.step}: {line.how}{took}{reason}"


def _summary(done: PipelineRun) -> str:
    counts = {how: sum(line.how == how for line in done.steps) for how in ("hit", "ran", "skipped")}
    parts = ", ".join(f"{n} {how}" for how, n in counts.items() if n)
    made = "".join(f"; {one.dataset} is version {one.version}" for one in done.versions)
    return f"run {done.run} of {done.pipeline}: {parts}{made}"


def _reasons(found: Sequence[StepOutlook]) -> list[Block]:
    blocks: list[Block] = []
    for one in found:
        blocks.append(Heading(f"{one.step}: {'hit' if one.hit else 'runs'}"))
        blocks += [Line(f"  {reason}") for reason in one.why]
    return blocks


_ACTS = {"run": _run, "show": _show, "why": _why, "step": _step}
