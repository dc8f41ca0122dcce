"""`varv data pull`: what sources have beyond the last pull, by the running server or where none runs."""

from __future__ import annotations

import argparse

import msgspec

from varv.app.cli.access import answer, call, owned_ledger
from varv.app.cli.rendering import Block, Line
from varv.app.cli.running import place_of
from varv.app.compose import open_views
from varv.app.server.server_file import running_server
from varv.app.settings import Settings
from varv.data.ingestion.pulling import Pulled
from varv.data.ingestion.verbs import PullRequest, PullsDone, offline_pulls, pull
from varv.data.registered import recall_types
from varv.kernel.clock import SystemClock
from varv.kernel.errors import FailedPrecondition, Unavailable
from varv.kernel.faults import Faults
from varv.kernel.wording import count
from varv.loop.views import LoopView
from varv.project import load_project

_WITHIN_S = 3600.0
"""How long a server may take."""


def pull_sources(options: argparse.Namespace, settings: Settings) -> None:
    """Pull a dataset, or all that say how often they are pulled.

    Raises
    ------
    Unavailable
        If a source of several could not be read to its end; the others were.
    """
    asked = PullRequest(dataset=options.what)
    server = running_server(settings)
    if server is not None:
        said = call(server, settings, "dataset.pull", asked, timeout_s=_WITHIN_S)
        found = msgspec.convert(said, type=PullsDone)
    else:
        found = _pulled_here(options, settings, asked)
    answer(options, found, lambda: _blocks(found))
    if found.failed:
        names = ", ".join(one.dataset for one in found.failed)
        raise Unavailable("sources", names, "could not be pulled", hint="see varv status")


def _pulled_here(options: argparse.Namespace, settings: Settings, asked: PullRequest) -> PullsDone:
    project = load_project(place_of(options, settings))
    with owned_ledger(settings) as ledger:
        views = open_views(ledger, settings.home)
        views.catch_up()
        recall_types(views, project.datasets)
        project.validate()
        plans = project.plans()
        declared = {str(dataset.name): dataset for dataset in project.datasets}
        with views.reading(LoopView) as view:
            is_begun = bool(view.loops)
        if not is_begun:
            # A history that is taken in later would find its rows there, and features would miss them.
            hint = (
                "run varv up or varv replay once: it reads the sources whole, and learns what rows are like"
            )
            raise FailedPrecondition("home", settings.home.name, "has no history yet", hint=hint)
        requests = frozenset(str(plan.outcome.requests.name) for plan in plans)
        faults = Faults.parse(settings.fault)
        clock = SystemClock()
        desk = offline_pulls(settings.home, ledger, views, clock, declared, requests=requests, faults=faults)
        return pull(desk, asked)


def _blocks(found: PullsDone) -> list[Block]:
    blocks: list[Block] = [Line(_line(one, flows=found.flows)) for one in found.pulled]
    blocks += [Line(f"{one.dataset} was not pulled: {one.why}") for one in found.failed]
    return blocks or [Line("no dataset says how often it is pulled; name one")]


def _line(one: Pulled, *, flows: bool) -> str:
    counts = {
        "new": one.n_new,
        "changed": one.n_changed,
        "different, and left": one.n_different,
        "removed": one.n_removed,
        "put aside": one.n_aside,
        "as before": one.n_known,
    }
    said = ", ".join(f"{count(n)} {what}" for what, n in counts.items() if n) or "nothing new"
    waits = not flows and (one.n_new or one.n_changed or one.n_removed)
    later = "; features and labels follow when varv up runs next" if waits else ""
    return f"{one.dataset} is version {one.version}: {said}{later}"
