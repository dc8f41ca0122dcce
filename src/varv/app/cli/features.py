"""`varv features`: feature views, the online store, and how features were served, on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from varv.app.cli.access import answer, call, owned_ledger
from varv.app.cli.rendering import Block, Grid, Line
from varv.app.cli.served_features import shown, skewed
from varv.app.compose import open_ledger, open_views
from varv.app.online import offline_online
from varv.app.server.server_file import running_server
from varv.app.settings import Loaded, Settings
from varv.features.model import feature_kind
from varv.features.online.model import readable_views
from varv.features.online.verbs import (
    BackfillRequest,
    Freshness,
    ListOnline,
    Materialisation,
    Materialisations,
    MaterialiseRequest,
    OnlineDesk,
    OnlineList,
    ReadFeatures,
    backfill,
    list_online,
    materialise,
    read_features,
)
from varv.fronts.frames import frame_of
from varv.kernel.clock import SystemClock
from varv.kernel.columns import TIME
from varv.kernel.errors import InvalidInput
from varv.kernel.faults import Faults
from varv.kernel.wording import count

_WITHIN_S = 3600.0
Q = TypeVar("Q", bound=msgspec.Struct)
R = TypeVar("R", bound=msgspec.Struct)


def features(options: argparse.Namespace, loaded: Loaded) -> int:
    """Run one act of `varv features`; return the exit status."""
    acts: dict[str, Callable[[argparse.Namespace, Settings], None]] = {
        "ls": _ls,
        "materialise": _materialise,
        "backfill": _backfill,
        "read": _read,
        "skew": skewed,
        "show": shown,
    }
    acts[options.act](options, loaded.settings)
    return 0


def _ls(options: argparse.Namespace, settings: Settings) -> None:
    found = _listed(settings)
    rows = [
        (
            one.view,
            ", ".join(one.entity) or "-",
            count(len(one.features)),
            f"{one.dataset} {one.version}",
            "-" if one.upto is None else str(one.upto),
            "-" if one.generation is None else str(one.generation),
            count(one.n_rows),
            count(one.n_late),
            "-" if one.n_too_late is None else count(one.n_too_late),
            one.newest[:16],
            one.at[:16],
        )
        for one in found.views
    ]
    heads = (
        *("view", "entity", "features", "dataset", "online", "generation", "rows", "late"),
        *("too late", "newest", "at"),
    )
    empty = [Line("there are no feature views")] if not rows else []
    answer(options, found, lambda: [Grid(heads, rows), *empty])


def _listed(settings: Settings) -> OnlineList:
    """Return the views, of the server where one runs: it knows which rows it has passed over."""
    server = running_server(settings)
    if server is not None:
        answered = call(server, settings, "features.list", ListOnline(), timeout_s=_WITHIN_S)
        return msgspec.convert(answered, type=OnlineList)
    with _reading(settings) as desk:
        return list_online(desk, ListOnline())


def _materialise(options: argparse.Namespace, settings: Settings) -> None:
    asked = MaterialiseRequest(views=tuple(options.views), by=options.by)
    found = _acted(settings, "features.materialise", asked, materialise, Materialisations)

    def blocks() -> list[Block]:
        same = [Line(f"{name} is up to date") for name in found.unchanged]
        return [*(Line(_line(one)) for one in found.views), *same]

    answer(options, found, blocks)


def _backfill(options: argparse.Namespace, settings: Settings) -> None:
    asked = BackfillRequest(view=options.view, since=options.since, until=options.until, by=options.by)
    found = _acted(settings, "features.backfill", asked, backfill, Materialisation)
    answer(options, found, lambda: [Line(_line(found))])


def _line(one: Materialisation) -> str:
    late = f", {count(one.n_late)} of them late" if one.n_late else ""
    where = f"generation {one.generation}, version {one.upto}"
    return f"{one.view} is online up to {where}: {count(one.n_rows)} rows more{late}"


def _read(options: argparse.Namespace, settings: Settings) -> None:
    columns = dict(_column(text) for text in options.entity)
    server = running_server(settings)
    with _reading(settings) as desk:
        asked = ReadFeatures(
            features=tuple(options.features), entities=_typed(desk, columns), as_of=options.as_of
        )
        if server is None:
            found = read_features(desk, asked)
            rows, freshness = found.rows, found.freshness
        else:
            said: Any = call(server, settings, "features.read", asked)
            n = max(len(values) for values in asked.entities.values())
            rows = frame_of(said["rows"], most_rows=n)
            freshness = msgspec.convert(said["freshness"], type=tuple[Freshness, ...])
    cells = [tuple("-" if value is None else str(value) for value in row) for row in rows.iter_rows()]
    fresh = [Line(f"{one.view}: version {one.upto}, rows up to {one.newest}") for one in freshness]
    answer(
        options,
        {"rows": rows.to_dicts(), "freshness": freshness},
        lambda: [Grid(tuple(rows.columns), cells), *fresh],
    )


def _column(text: str) -> tuple[str, list[str]]:
    name, is_given, values = text.partition("=")
    if not is_given:
        raise InvalidInput("entity", text, "has no values", hint="write --entity origin=JFK,EWR")
    return name, values.split(",")


def _typed(desk: OnlineDesk, columns: dict[str, list[str]]) -> dict[str, list[Any]]:
    """Return values as the columns of entities have them: a command line has texts only."""
    types = {
        asked: view.source.types()[own]
        for view in readable_views(desk.declared())
        for own, asked in zip(view.entity, view.asked, strict=True)
        if asked in columns
    }
    return {
        name: values
        if types.get(name, TIME) == TIME or feature_kind(types[name]) != "numeric"
        else [_number(name, value) for value in values]
        for name, values in columns.items()
    }


def _number(name: str, value: str) -> float | int:
    try:
        return int(value) if value.lstrip("-").isdecimal() else float(value)
    except ValueError:
        raise InvalidInput("entity", name, f"has {value[:40]!r}, which is no number") from None


@contextmanager
def _reading(settings: Settings) -> Generator[OnlineDesk]:
    ledger = open_ledger(settings.home, read_only=True)
    try:
        views = open_views(ledger, settings.home)
        yield offline_online(settings.home, ledger, views, SystemClock(), settings.online_store)
    finally:
        ledger.close()


def _acted(settings: Settings, verb: str, asked: Q, act: Callable[[OnlineDesk, Q], R], kind: type[R]) -> R:
    """Have the server do something, or do it where none runs."""
    server = running_server(settings)
    if server is not None:
        return msgspec.convert(call(server, settings, verb, asked, timeout_s=_WITHIN_S), type=kind)
    with owned_ledger(settings) as ledger:
        views, faults = open_views(ledger, settings.home), Faults.parse(settings.fault)
        desk = offline_online(
            settings.home, ledger, views, SystemClock(), settings.online_store, writes=True, faults=faults
        )
        return act(desk, asked)
