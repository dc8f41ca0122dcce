"""`varv plan` and `varv apply`: what a changed declaration will do, and doing it beside a running server."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import msgspec

from varv.app.cli.access import answer, call, reading_home
from varv.app.cli.rendering import Block, Heading, Line
from varv.app.cli.running import place_of
from varv.app.server.server_file import running_server
from varv.app.settings import Loaded
from varv.home.change.recorded import recorded_in
from varv.home.change.verbs import Applied, ApplyRequest
from varv.kernel.errors import FailedPrecondition
from varv.project import load_project
from varv.project.changes import plan_changes
from varv.project.planned import Plan, Recorded, Retirement

APPLIED_WITHIN_S = 3600.0
"""Memory is read back from what is stored before new workers take over."""
NOTHING, REFUSED, CHANGES = 0, 1, 2
"""Exit statuses of `varv plan`; as with other tools that plan, 2 is no failure."""


class PlanReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a declaration will do to a home."""

    outcome: str
    """``"nothing"``, ``"changes"`` or ``"refused"``."""
    lines: tuple[str, ...]
    plan: Plan


def plan(options: argparse.Namespace, loaded: Loaded) -> int:
    """Say what a declaration will do, and do nothing."""
    settings = loaded.settings
    project = load_project(place_of(options, settings))
    project = project.only(options.model) if options.model else project
    project.validate()
    plans = project.plans()
    recorded = Recorded()
    if (settings.home / "ledger.db").exists():
        with reading_home(settings) as desk:
            recorded = recorded_in(desk.views, desk.ledger, desk.clock.now(), plans)
    found = plan_changes(plans, recorded, retire=retirement_of(options), whole=not options.model)
    outcome = "refused" if found.refused else "nothing" if found.is_empty else "changes"
    report = PlanReport(outcome=outcome, lines=found.lines(), plan=found)
    running = running_server(settings) is not None
    answer(options, report, lambda: _plan_blocks(found, "varv apply" if running else "varv up"))
    return {"refused": REFUSED, "nothing": NOTHING, "changes": CHANGES}[outcome]


def _plan_blocks(found: Plan, command: str) -> Sequence[Block]:
    notes = [Line(f"note: {line}") for line in found.unproved]
    if found.is_empty:
        return [Line("nothing to do: the declaration is what is on record"), *notes]
    blocks: list[Block] = []
    for dataset in found.datasets:
        blocks += [Heading(f"dataset {dataset.dataset}"), Line(f"  {dataset.line()}")]
    for model in found.models:
        blocks += [Heading(f"model {model.model}"), *(Line(f"  {line}") for line in model.lines())]
    for refusal in found.refused:
        blocks.append(Heading(f"refused: {refusal.kind} {refusal.name}"))
        blocks += [Line(f"  {refusal.problem}"), Line(f"  next: {refusal.hint}")]
    blocks += notes
    if not found.refused:
        blocks.append(Line(f"nothing was changed; {command} carries this out"))
    return blocks


def apply(options: argparse.Namespace, loaded: Loaded) -> int:
    """Let the running server carry a changed declaration out."""
    settings = loaded.settings
    server = running_server(settings)
    if server is None:
        hint = "start it with varv up, which carries the change out"
        raise FailedPrecondition("server", settings.home.name, "is not running", hint=hint)
    asked = retirement_of(options)
    request = ApplyRequest(retire=asked.models, despite_traffic=asked.despite_traffic)
    found = msgspec.convert(
        call(server, settings, "change.apply", request, timeout_s=APPLIED_WITHIN_S), type=Applied
    )

    def blocks() -> list[Block]:
        if found.number is None and found.lines:
            return [*map(Line, found.lines), Line("the declaration is what is on record")]
        if found.number is None:
            return [Line("nothing to do: the declaration is what is on record")]
        done = f"change {found.number} is in force; what it computes and trains goes on, see varv status"
        return [*map(Line, found.lines), Line(done)]

    answer(options, found, blocks)
    return 0


def retirement_of(options: argparse.Namespace) -> Retirement:
    """Return which models a command may retire."""
    return Retirement(models=tuple(options.retire), despite_traffic=options.despite_traffic)
