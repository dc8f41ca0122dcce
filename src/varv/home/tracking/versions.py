"""Versions of registered models that come from a run, from a logged model, or from another version.

The server reads no place that a client names, so a source is only taken if it is below the run or the logged
model that it is said to be of: a pair of an owner and a relative path, never a file or an address.

Source: MLflow's documentation of model versions, and the behaviour of its server 3.18.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import NoReturn
from urllib.parse import unquote

import msgspec

from varv.kernel.errors import InvalidInput, NotFound
from varv.kernel.recorder import Write, Writing
from varv.registry import Models, Origin, reading
from varv.registry.rules import is_prompt
from varv.registry.service import require_registered
from varv.runs.experiments import ARTIFACTS
from varv.runs.logged import LoggedModels
from varv.runs.logged.model import MODELS_FOLDER
from varv.runs.logged.service import active, require_logged_id, tags_of
from varv.runs.rules import require_run_id

VERSIONS_TAG = "mlflow.modelVersions"
"""The tag of a logged model that lists the versions that came from it."""
MOST_DECODINGS = 5
_HINT = "use runs:/, models:/ or mlflow-artifacts:/ below the run or the logged model that is named"


class Listed(msgspec.Struct, frozen=True):
    """A version as the tag lists it."""

    name: str
    version: int | str


def create_version(
    models: Models,
    logged: LoggedModels,
    name: str,
    source: str,
    *,
    run: str = "",
    logged_model: str = "",
    run_link: str = "",
    tags: Mapping[str, str] | None = None,
    description: str = "",
) -> Write[reading.ModelVersion]:
    """Make a version of a registered model and return it; the number of its row is not known yet.

    Raises
    ------
    NotFound
        If the name is not registered, or the version that it is to come from is not.
    InvalidInput
        If the source is not below what it is said to be of, or anything else is not valid.
    """
    given = dict(tags or {})

    def work(writing: Writing) -> reading.ModelVersion:
        require_registered(writing.db, name)
        if is_prompt(given) and not any(mark in source for mark in ":/\\"):
            # A prompt is its tags: its source is a word that is never resolved.
            origin = Origin(source=source, storage="", run_link=run_link)
        else:
            origin = origin_of(writing.db, source, run=run, logged_model=logged_model, run_link=run_link)
        made = models.log_version(writing, name, origin, tags=given, description=description)
        if origin.logged_model:
            _list(logged, writing, origin.logged_model, Listed(name, made.number))
        return made

    return Write(work)


def origin_of(
    db: sqlite3.Connection, source: str, *, run: str = "", logged_model: str = "", run_link: str = ""
) -> Origin:
    """Return where a source is stored and what it is of.

    Raises
    ------
    InvalidInput
        If it is not below the run or the logged model that is named.
    """
    scheme, _, rest = source.partition(":")
    _require_plain(source, rest)
    parts = [part for part in rest.split("/") if part]
    if scheme == "models" and (len(parts) == 2 or "@" in rest):
        return _of_version(db, source, run, logged_model, run_link)
    if scheme == "models" and len(parts) == 1:
        if logged_model and parts[0] != logged_model:
            _refuse(source)
        return _of_logged(db, source, parts[0], run, run_link)
    if logged_model:
        return _below_logged(db, source, scheme, logged_model, run, run_link)
    if scheme not in ("runs", "mlflow-artifacts") or not run:
        _refuse(source)
    root = _run_root(db, source, run)
    if scheme == "runs":
        if parts[:1] != [run]:
            _refuse(source)
        return Origin(source, source, run, run_link)
    _require_below(source, root)
    return Origin(source, source, run, run_link)


def _of_version(db: sqlite3.Connection, source: str, run: str, logged_model: str, run_link: str) -> Origin:
    """Return the origin of the version that ``models:/name/2`` or ``models:/name@alias`` names."""
    named = source.removeprefix("models:/")
    name, slash, number = named.partition("/")
    if slash:
        found = reading.version(db, name, version_number(number))
    else:
        name, _, alias = named.partition("@")
        found = reading.version_by_alias(db, name, alias)
    if is_prompt(found.tags) or (run and run != found.run):
        _refuse(source)
    if logged_model and logged_model != found.logged_model:
        _refuse(source)
    place = f"models:/{name}/{found.number}"
    return Origin(place, found.storage, found.run, run_link, found.logged_model)


def _of_logged(db: sqlite3.Connection, source: str, id: str, run: str, run_link: str) -> Origin:
    require_logged_id(id)
    try:
        row = active(db, id)
    except NotFound:
        _refuse(source)
    return Origin(source, _logged_root(row.artifacts, id), run or row.run, run_link, id)


def _below_logged(
    db: sqlite3.Connection, source: str, scheme: str, id: str, run: str, run_link: str
) -> Origin:
    origin = _of_logged(db, source, id, run, run_link)
    if scheme != "mlflow-artifacts":
        _refuse(source)
    _require_below(source, origin.storage)
    return Origin(source, source, origin.run, run_link, id)


def location(db: sqlite3.Connection, storage: str) -> str:
    """Return the whole path of the artifacts that a version is stored as.

    Raises
    ------
    NotFound
        If they are none of this server's: a prompt has none, and a loop's version is a package.
    """
    scheme, _, rest = storage.partition(":/")
    if scheme == "runs":
        run, _, path = rest.partition("/")
        return f"{_run_root(db, storage, run)}/{path}".removeprefix(f"{ARTIFACTS}/").rstrip("/")
    if scheme != ARTIFACTS.removesuffix(":"):
        raise NotFound("artifact path", storage[:200], "belongs to nothing here")
    return rest


def version_number(number: str) -> int:
    """Return the number of a version as clients write it, a text.

    Raises
    ------
    InvalidInput
        If it is none.
    """
    digits = number.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 19):
        raise InvalidInput("model version", number[:40], "must be an integer")
    return int(number)


def _run_root(db: sqlite3.Connection, source: str, run: str) -> str:
    require_run_id(run)
    query = "SELECT artifacts FROM run JOIN experiment ON experiment.no = run.experiment WHERE run.id = ?"
    row = db.execute(query, (run,)).fetchone()
    if row is None:
        _refuse(source)
    return f"{row[0]}/{run}/artifacts"


def _logged_root(artifacts: str, id: str) -> str:
    return f"{artifacts}/{MODELS_FOLDER}/{id}/artifacts"


def _require_below(source: str, root: str) -> None:
    if source != root and not source.startswith(f"{root}/"):
        _refuse(source)


def _require_plain(source: str, rest: str) -> None:
    """Refuse hosts, steps upwards, and whatever would be one of them once it is decoded, however often."""
    path = rest
    for _ in range(MOST_DECODINGS):
        if (
            not path.startswith("/")
            or path.startswith("//")
            or not path.isprintable()
            or any(mark in path for mark in "\\?#")
            or any(part in (".", "..") for part in path.split("/"))
        ):
            _refuse(source)
        decoded = unquote(path)
        if decoded == path:
            return
        path = decoded
    _refuse(source)


def _refuse(source: str) -> NoReturn:
    raise InvalidInput("model version source", source[:200], "is not valid", hint=_HINT)


def _list(logged: LoggedModels, writing: Writing, id: str, version: Listed) -> None:
    before = tags_of(writing.db, active(writing.db, id).no).get(VERSIONS_TAG, "")
    try:
        listed = msgspec.json.decode(before, type=list[Listed]) if before else []
    except msgspec.MsgspecError:
        listed = list[Listed]()  # a client may set the tag to anything
    if version not in listed:
        listed.append(version)
        text = msgspec.json.format(msgspec.json.encode(listed), indent=0).decode()
        logged.set_tags(writing, id, {VERSIONS_TAG: text})
