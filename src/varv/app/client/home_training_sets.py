"""Training sets that become datasets of a home: made in this process, kept by whoever owns the home."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import polars as pl

from varv.app.client.requests import digest_of_requests, without_home
from varv.app.client.served import WITHIN_S, call
from varv.app.client.sources import LocalSource
from varv.app.compose import open_ledger, open_views
from varv.app.server.server_file import Running, running_server
from varv.app.settings import Settings, load_settings
from varv.data import Dataset
from varv.data.delta.verbs import offline_publications
from varv.data.sources import in_kept_types
from varv.data.versioning.staging import stage
from varv.data.versioning.verbs import VersionsDesk, offline_versions
from varv.features.bulk import Mode, TrainingSets
from varv.features.model import Feature
from varv.home.named_versions import named_versions
from varv.home.training_sets import Asked, KeepRequest, Prepared, kept, prepared, requests_named
from varv.kernel.clock import SystemClock
from varv.kernel.errors import NotFound

_REFERENCE = re.compile(r"[a-z0-9_-]+(?:@.+)?")
_STAGED_ROWS = 1 << 19
"""Of a training set that a server is to keep, in one file."""
Rows = tuple[Mapping[str, pl.DataType], Iterator[pl.DataFrame]]


class Wanted(NamedTuple):
    """What is wanted of a home."""

    requests: object
    at: str | None
    features: tuple[Feature, ...]
    mode: Mode
    versions: Mapping[str, int]
    most_bytes: int | None

    def prepared(self, desk: VersionsDesk) -> Prepared:
        """Return it, before it is made."""
        asked = self._asked(desk)
        return prepared(desk, asked, self.features, self.mode, self.versions, self.most_bytes)

    def _asked(self, desk: VersionsDesk) -> Asked:
        given = self.requests
        is_named = isinstance(given, str) and not given.endswith(".parquet") and _REFERENCE.fullmatch(given)
        if isinstance(given, Dataset) or is_named:
            return requests_named(desk, given, self.at, self.versions)
        asked = without_home(given, self.at)
        return asked._replace(said=digest_of_requests(given, asked))


def of_home(home: Path, name: str, wanted: Wanted) -> Rows:
    """Return the columns and the rows of a training set that is a dataset of a home, made if it is not there.

    Raises
    ------
    NotFound
        If there is no home.
    """
    if not (home / "ledger.db").exists():
        hint = "give the folder that varv replay, varv up or varv.replay(home=...) has filled"
        raise NotFound("home", str(home)[:200], "is not there, or holds no ledger", hint=hint)
    settings = load_settings({"home": str(home)}).settings
    server = running_server(settings)
    return _offline(home, name, wanted) if server is None else _served(server, settings, name, wanted)


def _offline(home: Path, name: str, wanted: Wanted) -> Rows:
    """Make it in a home that nobody serves."""
    ledger = open_ledger(home)
    try:
        views = open_views(ledger, home)
        desk = offline_versions(home, ledger, views, SystemClock(), lambda of: named_versions(views, of))
        offline_publications(desk, SystemClock())
        given = wanted.prepared(desk)
        kept(desk, name, given.recipe, given.maker.parts(given.asked.rows), given.columns)
    finally:
        ledger.close()
    return _rows(home, name, given)


def _served(server: Running, settings: Settings, name: str, wanted: Wanted) -> Rows:
    """Make it in this process, and have the server of the home keep it."""
    home = settings.home
    source = LocalSource(home)
    try:
        desk = source.desk.require_versions()
        given = wanted.prepared(desk)
        is_there = TrainingSets(desk.ledger, desk.datasets).find(name, given.recipe) is not None
        parts = () if is_there else given.maker.parts(given.asked.rows)
        staged = [
            stage(home, rows) for part in parts for rows in in_kept_types(part).iter_slices(_STAGED_ROWS)
        ]
    finally:
        source.close()
    asked = KeepRequest(name=name, recipe=given.recipe, staged=tuple(staged), columns=given.columns)
    call(server, settings, "dataset.keep_training_set", asked, timeout_s=WITHIN_S)
    return _rows(home, name, given)


def _rows(home: Path, name: str, given: Prepared) -> Rows:
    def read() -> Iterator[pl.DataFrame]:
        source = LocalSource(home)
        try:
            desk = source.desk.require_versions()
            yield from TrainingSets(desk.ledger, desk.datasets).rows(name, given.recipe, given.types)
        finally:
            source.close()

    return in_kept_types(pl.DataFrame(schema=given.types)).schema, read()
