"""Models and versions that clients have registered, beside those of loops: on the same pages where a model is
both, on their own where no loop knows it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import replace

from varv.fronts.web.page import Page, Reading
from varv.fronts.web.pages import models, overview
from varv.kernel.errors import InvalidInput, NotFound
from varv.registry import reading
from varv.registry.model import training_run

MOST_MODELS = 50
MOST_VERSIONS = 100


def models_page(now: Reading, query: Mapping[str, str]) -> Page:
    """Return the models of loops, and those that clients have registered, the one that changed last first."""
    page = overview.models_page(now, query)
    of_loops = set(now.models())
    found: list[reading.RegisteredModel] = []
    if now.runs is not None:
        with now.runs.search.reading() as db:
            found = reading.changed_last(db, MOST_MODELS)
    by_clients = [one for one in found if one.name not in of_loops]
    return replace(page, data={**page.data, "by_clients": by_clients})


def model_page(now: Reading, model: str, query: Mapping[str, str]) -> Page:
    """Return one model, of a loop, of clients, or of both.

    Raises
    ------
    NotFound
        If there is no such model.
    """
    if model in now.models():
        page = models.model_page(now, model, query)
        logged = [one for one in _versions(now, model) if not one.trained]
        return replace(page, data={**page.data, "logged": logged})
    record = _record(now, model)
    if record is None:
        now.require_model(model)
    data: dict[str, object] = {
        "model": model,
        "record": record,
        "logged": _versions(now, model),
        "most": MOST_VERSIONS,
    }
    return Page(model, "registered.html", data)


def version_page(now: Reading, model: str, version: int) -> Page:
    """Return one version, of a loop or of a client.

    Raises
    ------
    NotFound
        If there is no such version.
    """
    logged, run = None, ""
    if now.runs is not None:
        with now.runs.search.reading() as db:
            logged, run = _version(db, model, version), _training_run(db, model, version)
    if logged is not None and not logged.trained:
        data: dict[str, object] = {"model": model, "version": logged}
        return Page(f"{model} v{version}", "logged_version.html", data)
    page = models.version_page(now, model, version)
    return replace(page, data={**page.data, "run": run})


def _training_run(db: sqlite3.Connection, model: str, version: int) -> str:
    """Return the run that a training of a loop is; nothing where it is not among the runs."""
    run = training_run(model, version)
    return run if db.execute("SELECT 1 FROM run WHERE id = ?", (run,)).fetchone() else ""


def _versions(now: Reading, model: str) -> list[reading.ModelVersion]:
    if now.runs is None:
        return []
    with now.runs.search.reading() as db:
        try:
            return reading.versions_of(db, model, MOST_VERSIONS)
        except NotFound:
            return []


def _version(db: sqlite3.Connection, model: str, version: int) -> reading.ModelVersion | None:
    try:
        return reading.version(db, model, version)
    except NotFound:
        return None


def _record(now: Reading, model: str) -> reading.RegisteredModel | None:
    if now.runs is None:
        return None
    try:
        with now.runs.search.reading() as db:
            return reading.registered_model(db, model)
    except (InvalidInput, NotFound):
        return None
