"""`varv erase`, and the acts of `varv data` that look for personal data."""

from __future__ import annotations

import argparse
import sys

import msgspec

from varv.app.cli.access import WITHIN_S, acted, answer, call, owned_ledger, reading_home
from varv.app.cli.rendering import Block, Grid, Heading, Line
from varv.app.compose import open_views
from varv.app.online import online_store
from varv.app.server.server_file import running_server
from varv.app.settings import Loaded, Settings
from varv.data.privacy.anonymity import Anonymity
from varv.data.privacy.detection import Proposal
from varv.data.privacy_verbs import (
    AnonymityRequest,
    PiiFound,
    PiiRequest,
    find_pii,
    measure_anonymity,
)
from varv.data.revealing import Revealed, RevealRequest, reveal
from varv.home.erasure.carrying import Erasures
from varv.home.erasure.verbs import (
    EraseRequest,
    ErasureList,
    ErasureShown,
    ErasuresRequest,
    GoOnRequest,
    go_on,
    list_erasures,
    unserved,
)
from varv.home.erasure.verbs import erase as erase_verb
from varv.kernel.clock import SystemClock
from varv.kernel.errors import InvalidInput
from varv.kernel.faults import Faults
from varv.kernel.secret import SECRET_FILE, Secret
from varv.kernel.wording import count, percent

INCOMPLETE = 1
"""The exit status where something is left."""


def erase(options: argparse.Namespace, loaded: Loaded) -> int:
    """Erase a subject, go on with erasures, or list them; return the exit status."""
    settings = loaded.settings
    if options.list:
        with reading_home(settings) as home:
            found = list_erasures(home.views, ErasuresRequest())
    else:
        found = _carried(options, settings)
    answer(options, found, lambda: [block for one in found.erasures for block in _blocks(one)] or [_NONE])
    return 0 if options.list or all(one.proven for one in found.erasures) else INCOMPLETE


_NONE = Line("there are no erasures")


def _carried(options: argparse.Namespace, settings: Settings) -> ErasureList:
    if not options.go_on and not (options.subject and options.dataset and options.key):
        hint = "give SUBJECT, --dataset and --key, or --go-on, or --list"
        raise InvalidInput("erasure", "", "does not say whose rows", hint=hint)
    subject = sys.stdin.readline().rstrip("\n") if options.subject == "-" else options.subject
    asked = EraseRequest(
        dataset=options.dataset, column=options.key, subject=subject, by=options.by, why=options.why
    )
    if (server := running_server(settings)) is not None:
        name, body = ("erasure.go_on", GoOnRequest()) if options.go_on else ("erasure.erase", asked)
        found = call(server, settings, name, body, timeout_s=WITHIN_S)
        return msgspec.convert(found, type=ErasureList)
    with owned_ledger(settings) as ledger:
        faults = Faults.parse(settings.fault)
        store = online_store(settings.home, settings.online_store)
        # Without snapshots, which the erasure removes.
        views = open_views(ledger)
        desk = unserved(lambda: Erasures(settings.home, ledger, views, SystemClock(), faults, store))
        return go_on(desk, GoOnRequest()) if options.go_on else erase_verb(desk, asked)


def _blocks(one: ErasureShown) -> list[Block]:
    done = "is proven" if one.proven else "is not proven"
    n = sum(one.n_rows.values())
    searched = f"; {count(one.n_files)} files were searched for the value" if one.by_value else ""
    places = dict.fromkeys((*one.n_rows, *one.places))
    numbers = {name: count(number) for name, number in one.n_rows.items()}
    # What became of places is put on record with the proof.
    n_columns = 3 if one.places else 2
    rows = [(name, numbers.get(name, ""), one.places.get(name, ""))[:n_columns] for name in places]
    left = [(place, count(number)) for place, number in one.left.items()]
    models = ", ".join(one.models)
    return [
        Heading(f"{one.erasure}: {one.dataset} by {one.column}, {done}"),
        Line(f"{count(n)} rows erased{searched}" if one.proven else f"{count(n)} rows found{searched}"),
        *([Grid(("where", "rows", "what became of them")[:n_columns], rows)] if rows else []),
        *([Line(f"trained on versions that held some: {models}")] if models else []),
        *([Heading("left, and not ours to remove"), Grid(("place", "times"), left)] if left else []),
        *([Line("next: remove what is left, and run varv erase --go-on")] if left and not one.proven else []),
    ]


def show_pii(options: argparse.Namespace, settings: Settings) -> None:
    """Show what may be personal in a dataset."""
    with reading_home(settings) as home:
        found = find_pii(home.require_versions(), PiiRequest(dataset=options.what))
    answer(options, found, lambda: _pii_blocks(found))


def _pii_blocks(found: PiiFound) -> list[Block]:
    rows = [(one.column, one.kind, one.by, _share(one), one.treatment) for one in found.proposals]
    declared = ", ".join(f"{column}: {how}" for column, how in found.declared.items()) or "none"
    names = ("column", "may be", "told by its", "share of values", "proposed")
    nothing = [Line("nothing else looks personal")] if not rows else []
    return [
        Heading(f"{found.dataset}, version {found.version}, {count(found.n_rows)} rows looked at"),
        Line(f"declared: {declared}"),
        *([Grid(names, rows)] if rows else nothing),
    ]


def _share(one: Proposal) -> str:
    if one.share is None or one.low is None or one.high is None:
        return ""
    return f"{percent(one.share)} [{percent(one.low)}, {percent(one.high)}]"


def show_anonymity(options: argparse.Namespace, settings: Settings) -> None:
    """Show how well rows of a dataset hide."""
    asked = AnonymityRequest(
        dataset=options.what, columns=tuple(options.columns), outcome=options.outcome, k=options.k
    )
    with reading_home(settings) as home:
        found = measure_anonymity(home.require_versions(), asked)
    answer(options, found, lambda: _anonymity_blocks(found))


def _anonymity_blocks(found: Anonymity) -> list[Block]:
    lines = [
        f"{count(found.n_rows)} rows in {count(found.n_classes)} classes; the smallest has {found.min_k}",
        f"{percent(found.share_below)} of rows are in classes of fewer than {found.k}",
        f"{found.splits_most} splits most: without it {percent(found.without_it)} would be",
    ]
    if found.min_l is not None and found.share_told is not None:
        lines.append(
            f"the least diverse class has {found.min_l} outcomes; "
            f"{percent(found.share_told)} of rows are in classes of one"
        )
    if (better := found.suggestion) is not None:
        how = ", ".join(f"{name}: {treatment}" for name, treatment in better.treatments.items())
        lines.append(
            f"with {how} the smallest class has {better.min_k}, {percent(better.share_below)} are below"
        )
    return [Heading(f"behind {', '.join(found.columns)}"), *map(Line, lines)]


def show_revealed(options: argparse.Namespace, settings: Settings) -> None:
    """Show values that are encrypted, once the ledger says who reads them and why."""
    where = dict(one.partition("=")[::2] for one in options.where)
    asked = RevealRequest(
        dataset=options.what,
        columns=tuple(options.columns),
        where=where,
        limit=options.limit,
        by=options.by,
        why=options.why,
    )
    found = acted(settings, "dataset.reveal", asked, reveal, Revealed)
    names = tuple(found.rows[0]) if found.rows else ()
    cells = [tuple("" if value is None else str(value) for value in row.values()) for row in found.rows]
    lost = {"lost their key to an erasure": found.n_shredded, "are not of their place": found.n_foreign}

    def blocks() -> list[Block]:
        lines = [Line(f"{count(n)} values {what}") for what, n in lost.items() if n]
        grid = [Grid(names, cells)] if cells else [Line("no row holds that")]
        return [*grid, *lines, Line("the ledger says who read this, and why")]

    answer(options, found, blocks)


def rotate_key(options: argparse.Namespace, settings: Settings) -> None:
    """Let another key make the pseudonyms of a purpose."""
    n = Secret(settings.home / SECRET_FILE).purposes.rotate(options.purpose)
    found = {"purpose": options.purpose, "keys": n}
    more = "; what is stored keeps its pseudonyms, and servers take the new key at their next start"
    answer(options, found, lambda: [Line(f"{options.purpose} has {n} keys; the last makes pseudonyms{more}")])
