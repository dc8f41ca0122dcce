"""`varv rollback`, `retrain`, `register` and `cancel`: what a person wants of a loop."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from varv.app.cli.access import answer, call, owned_ledger, reading_home
from varv.app.cli.rendering import Block, Line
from varv.app.compose import TRACKING, open_engine, open_views
from varv.app.desk import Desk
from varv.app.server.server_file import running_server
from varv.app.settings import Loaded, Settings, variables
from varv.kernel.blobs import FolderBlobs
from varv.kernel.clock import SystemClock
from varv.kernel.errors import InvalidInput
from varv.loop import verbs
from varv.loop.offers import content_bytes
from varv.loop.verbs import (
    ActRequest,
    CandidateOrdered,
    Loops,
    RegisterRequest,
    RolledBack,
    TrainingCancelled,
)

if TYPE_CHECKING:
    from varv.training import Foreign

Q = TypeVar("Q", bound=msgspec.Struct)
R = TypeVar("R")


def rollback(options: argparse.Namespace, loaded: Loaded) -> int:
    """Go back to the champion before this one."""
    found = ask(loaded.settings, "model.rollback", _act(options), RolledBack, _loops(verbs.rollback))

    def blocks() -> list[Block]:
        if found.gave_up is not None:
            act, done = f"give up version {found.gave_up}", f"gave up version {found.gave_up}"
            after = f"the champion of {found.model} stays v{found.champion}"
        else:
            act, done = f"return to version {found.returned_to}", f"returned to version {found.returned_to}"
            after = f"it replaces v{found.replaced} as the champion of {found.model}"
        if not found.settled:
            return [Line(f"asked to {act} (entry {found.seq}); carried out when varv up runs next")]
        return [Line(f"{done}; {after} (entry {found.seq})")]

    answer(options, found, blocks)
    return 0


def retrain(options: argparse.Namespace, loaded: Loaded) -> int:
    """Ask for a new candidate."""
    found = ask(loaded.settings, "model.retrain", _act(options), CandidateOrdered, _loops(verbs.retrain))

    def blocks() -> list[Block]:
        what = "waits for the loop or its cool-down" if found.waits else f"v{found.version} is to be trained"
        return [Line(f"asked for in entry {found.seq}: {what}{_when(found)}")]

    answer(options, found, blocks)
    return 0


def register(options: argparse.Namespace, loaded: Loaded) -> int:
    """Bring a model that was trained elsewhere."""
    settings = loaded.settings
    categories = dict(_categories(one) for one in options.categories)
    foreign, source, root = _brought(options, settings)
    if options.text:
        foreign = msgspec.structs.replace(foreign, inputs={options.text: True})
    with reading_home(settings) as desk:
        # Before anything is kept: a name that is wrong leaves nothing behind.
        model = desk.loops.model(options.model)
    asked = RegisterRequest(
        model=model,
        content=FolderBlobs(settings.home / "blobs").put(content_bytes(foreign)),
        fitted_until=options.fitted_until,
        categories=categories,
        trust=options.trust,
        source=source,
        root=root,
        reason=options.reason,
    )
    found = ask(settings, "model.register", asked, CandidateOrdered, _loops(verbs.register))

    def blocks() -> list[Block]:
        what = "waits for the loop" if found.waits else f"becomes v{found.version} once it is checked"
        return [Line(f"{foreign.name}, in entry {found.seq}: {what}{_when(found)}")]

    answer(options, found, blocks)
    return 0


def _brought(options: argparse.Namespace, settings: Settings) -> tuple[Foreign, str, str]:
    """Return the model, and if it was logged here, as what and with which files."""
    from varv.home.tracking.places import is_logged, logged_files, tables_of
    from varv.training import foreign_of, read_foreign

    if "://" in options.file:
        return _described(options), "", ""
    if not is_logged(options.file):
        return read_foreign(Path(options.file)), "", ""
    with tables_of(settings.home, TRACKING) as db:
        found = logged_files(db, settings.home, options.file)
    return foreign_of(found.files), found.source, found.files.root


def _described(options: argparse.Namespace) -> Foreign:
    """Return an endpoint, once it has said what it reads and says."""
    from varv.adapters.endpoints import described
    from varv.registry.endpoint import Endpoint
    from varv.training import Foreign

    if options.token_variable and options.token_file:
        hint = "name one of the two"
        raise InvalidInput("option", "--token-file", "is given beside --token-variable", hint=hint)
    endpoint = Endpoint(
        endpoint=options.file,
        protocol=options.protocol,
        output=options.output,
        timeout_s=options.timeout,
        token_variable=options.token_variable,
        token_file=str(Path(options.token_file).resolve()) if options.token_file else "",
    )
    found = described(endpoint, variables())
    return Foreign(name=found.name, data=found.to_bytes())


def _categories(text: str) -> tuple[str, tuple[str, ...]]:
    """Return column and texts of ``COLUMN=A,B,C``; a text that holds a comma is written in quotes."""
    column, given, texts = text.partition("=")
    if not given or not column:
        raise InvalidInput(
            "option", "--categories", "names no column", hint="write --categories COLUMN=A,B,C"
        )
    return column, tuple(next(csv.reader([texts])))


def _when(found: CandidateOrdered) -> str:
    return "" if found.settled else "; carried out when varv up runs next"


def cancel(options: argparse.Namespace, loaded: Loaded) -> int:
    """End the training that is under way."""
    found = ask(loaded.settings, "model.cancel", _act(options), TrainingCancelled, _loops(verbs.cancel))

    def blocks() -> list[Block]:
        when = "is being ended" if found.settled else "fails as soon as varv up goes on with it"
        return [Line(f"the training of {found.model} v{found.version} {when} (entry {found.seq})")]

    answer(options, found, blocks)
    return 0


def _act(options: argparse.Namespace) -> ActRequest:
    return ActRequest(model=options.model, reason=options.reason)


def _loops(act: Callable[[Loops, Q], R]) -> Callable[[Desk, Q], R]:
    """Return a verb of loops as one of a desk."""
    return lambda desk, asked: act(desk.loops, asked)


def ask(settings: Settings, verb: str, asked: Q, result: type[R], act: Callable[[Desk, Q], R]) -> R:
    """Ask the running server, or act on the ledger where none runs."""
    server = running_server(settings)
    if server is not None:
        return msgspec.convert(call(server, settings, verb, asked), type=result)
    clock = SystemClock()
    with owned_ledger(settings) as ledger:
        engine = open_engine(ledger, clock)
        desk = Desk(settings.home, ledger, open_views(ledger, settings.home), clock, engine, running=False)
        return act(desk, asked)
