"""Training sets of a home: requests of it or from outside, features that it has on record, versions by name;
and the use cases that make them and keep them.

Rows are read as they are stored, beside whoever serves the home; only what keeps a training set writes.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, NoReturn

import msgspec
import polars as pl

from varv.data import Dataset
from varv.data.dataset import dataset_of
from varv.data.registered import registered_dataset
from varv.data.sources import in_kept_types, kept_type
from varv.data.versioning.references import parse_reference
from varv.data.versioning.staging import staged_rows, unstage
from varv.data.versioning.verbs import VersionsDesk
from varv.data.views import DatasetsView
from varv.features import FeatureDefinition, FeatureView, definitions_of, rebuilt
from varv.features.bulk import (
    Mode,
    Recipe,
    StoredTables,
    TrainingSetMaker,
    TrainingSets,
    columns_read,
    features_for,
    recipe_of,
    requests_of,
)
from varv.features.model import Feature, exported
from varv.home.change.recorded import recorded_schemas
from varv.kernel.codec import digest_of
from varv.kernel.errors import InvalidInput, NotFound, VarvError
from varv.kernel.ids import DatasetName, Version
from varv.kernel.observe import log
from varv.kernel.verbs import OPERATE, verb

_LOG = logging.getLogger(__name__)
_MOST_BYTES = 1 << 29
"""Of memory that a training set takes in a server, about."""


class Asked(NamedTuple):
    """Requests: against what features are checked, when each is made, their columns and rows, and what tells
    them from all others; nothing where no home keeps them.
    """

    dataset: Dataset
    at: str
    columns: pl.Schema
    rows: Iterable[pl.DataFrame]
    said: str = ""


class Prepared(NamedTuple):
    """A training set before it is made."""

    maker: TrainingSetMaker
    recipe: Recipe
    asked: Asked

    @property
    def types(self) -> dict[str, pl.DataType]:
        """Its columns."""
        return self.maker.types(self.asked.columns)

    @property
    def columns(self) -> dict[DatasetName, tuple[str, ...]]:
        """What its views read of each dataset."""
        return columns_read(self.maker.features)


class TrainingSetRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a training set, its requests (a dataset's version, ``flights@12``, or rows as they were staged in
    the home, with the column of their times), and its features: ``view__feature``, a view, a derived feature,
    or a column of the requests; and as of which versions datasets are read, the last ones by default.
    """

    name: str
    requests: str = ""
    staged: str = ""
    at: str = ""
    features: tuple[str, ...]
    mode: Mode = "known"
    versions: dict[str, int] = {}


class KeepRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a training set, its recipe, what its views read of each dataset, and its rows, in parts as they
    were staged in the home.
    """

    name: str
    recipe: Recipe
    staged: tuple[str, ...]
    columns: dict[DatasetName, tuple[str, ...]] = {}


class TrainingSetKept(msgspec.Struct, frozen=True, kw_only=True):
    """A training set that is a dataset of the home, with its recipe."""

    dataset: str
    n_rows: int
    is_new: bool
    """False where it was there already."""
    recipe: Recipe


def requests_named(
    desk: VersionsDesk, reference: str | Dataset, at: str | None, versions: Mapping[str, int]
) -> Asked:
    """Return the rows of a dataset's version as requests, with their outcomes.

    Parameters
    ----------
    reference
        A dataset, or its name and maybe a version.
    at
        The column of their times; that of the dataset by default.
    versions
        Of datasets that no reference says the version of.

    Raises
    ------
    NotFound
        If there is no such dataset or version.
    """
    chosen = dict(versions)
    if isinstance(reference, str):
        parsed = parse_reference(reference)
        dataset = registered_dataset(desk.views, parsed.dataset)
        if "@" in str(parsed):
            chosen[dataset.name] = desk.version(parsed)
    else:
        dataset = reference
    version = _version(desk, dataset, chosen)
    rows = desk.datasets.read(dataset, version=version)
    return Asked(dataset, at or dataset.event_time, rows.schema, [rows], f"{dataset.name}@{version}")


def prepared(
    desk: VersionsDesk,
    asked: Asked,
    features: Sequence[Feature],
    mode: Mode,
    versions: Mapping[str, int],
    most_bytes: int | None,
) -> Prepared:
    """Return a training set before it is made.

    Raises
    ------
    InvalidDeclaration
        If the features do not fit the datasets, or one would leak.
    NotFound
        If a dataset is not registered.
    """
    read = {view.source.name: view.source for view in features if isinstance(view, FeatureView)}
    pinned = {one.name: _version(desk, one, versions) for one in read.values()}
    tables = StoredTables(desk.datasets, pinned)
    checked = features_for(features, asked.dataset)
    maker = TrainingSetMaker(checked, asked.at, tables, mode=mode, most_bytes=most_bytes)
    return Prepared(maker, recipe_of(checked, asked.said, asked.at, pinned, mode), asked)


def features_named(desk: VersionsDesk, names: Sequence[str], requests: Dataset) -> list[Feature]:
    """Return features that the home has on record, and columns of requests, by their names.

    Raises
    ------
    NotFound
        If there is none of a name.
    """
    # Whether a column would leak is checked with all features.
    columns = requests.types()
    known: dict[str, FeatureDefinition] = {}
    for schema in recorded_schemas(desk.views, desk.ledger).values():
        for one in definitions_of(schema.features):
            if one.view or one.expression:
                known.setdefault(one.name, one)
    chosen: dict[str, None] = {}
    for name in names:
        plain = name.replace("__", ".", 1)
        found = [one.name for one in known.values() if name == one.view or one.name in (name, plain)]
        if not found and name not in columns:
            _refuse(
                name, [*{one.view for one in known.values() if one.view}, *map(exported, known), *columns]
            )
        # What a derived feature looks at is computed first.
        chosen |= dict.fromkeys(read for one in found for read in known[one].reads) | dict.fromkeys(found)
    with desk.views.reading(DatasetsView) as view:
        datasets = {DatasetName(one.dataset): dataset_of(one) for one in view.datasets()}
    datasets[requests.name] = requests
    plain_columns = [name for name in dict.fromkeys(names) if name in columns]
    return [*plain_columns, *rebuilt([known[name] for name in chosen], datasets)]


@verb("dataset.training_set", needs=OPERATE)
def make(desk: VersionsDesk, request: TrainingSetRequest) -> TrainingSetKept:
    """Make a training set: requests with the features that were known at each of them, as a dataset.

    Raises
    ------
    InvalidInput
        If requests are named twice or not at all, or lack the column of their times.
    InvalidDeclaration
        If the features do not fit the datasets, or one would leak.
    NotFound
        If there is no such dataset, version or feature.
    AlreadyExists
        If the name is that of a training set with another recipe.
    """
    if bool(request.requests) == bool(request.staged):
        hint = "name the version of a dataset, or give rows"
        raise InvalidInput("training set", request.name[:80], "needs its requests once", hint=hint)
    try:
        asked = _asked(desk, request)
        features = features_named(desk, request.features, asked.dataset)
        given = prepared(desk, asked, features, request.mode, request.versions, _MOST_BYTES)
        return kept(desk, request.name, given.recipe, given.maker.parts(asked.rows), given.columns)
    finally:
        unstage(desk.home, request.staged)


@verb("dataset.keep_training_set", needs=OPERATE)
def keep(desk: VersionsDesk, request: KeepRequest) -> TrainingSetKept:
    """Keep a training set that was made beside this home's server, with its recipe on record.

    Raises
    ------
    NotFound
        If rows are not there.
    AlreadyExists
        If the name is that of a training set with another recipe.
    """
    try:
        parts = (staged_rows(desk.home, name) for name in request.staged)
        return kept(desk, request.name, request.recipe, parts, request.columns)
    finally:
        for name in request.staged:
            unstage(desk.home, name)


def kept(
    desk: VersionsDesk,
    name: str,
    recipe: Recipe,
    parts: Iterable[pl.DataFrame],
    columns: Mapping[DatasetName, tuple[str, ...]],
) -> TrainingSetKept:
    """Keep a training set, which is made if it is not there; what it is made of is published first, where it
    is published at all.
    """
    sets = TrainingSets(desk.ledger, desk.datasets)
    held = sets.find(name, recipe)
    if held is None:
        _publish_used(desk, recipe)
    made = sets.make(name, recipe, parts, columns) if held is None else held
    return TrainingSetKept(dataset=name, n_rows=made.n_rows, is_new=held is None, recipe=recipe)


def _publish_used(desk: VersionsDesk, recipe: Recipe) -> None:
    used: dict[str, int] = {**recipe.datasets}
    requests, _, version = recipe.requests.partition("@")
    if version.isdigit():
        used[requests] = int(version)
    for name, number in used.items():
        try:
            desk.versions.before_naming(desk.datasets.registered(name), Version(number))
        except VarvError as error:
            # Nothing fails for want of a publication.
            log(_LOG, logging.ERROR, "publication.failed", dataset=name, why=str(error))


def _asked(desk: VersionsDesk, request: TrainingSetRequest) -> Asked:
    if request.requests:
        return requests_named(desk, request.requests, request.at or None, request.versions)
    rows = in_kept_types(staged_rows(desk.home, request.staged))
    rows = rows.select(name for name, dtype in rows.schema.items() if kept_type(dtype) is not None)
    dataset = requests_of(rows.schema, request.at)
    return Asked(dataset, dataset.event_time, rows.schema, [rows], f"rows:{digest_of([request.staged])}")


def _version(desk: VersionsDesk, dataset: Dataset, versions: Mapping[str, int]) -> Version:
    """Return as of which version a dataset of a home is read."""
    registered_dataset(desk.views, dataset.name)
    desk.datasets.register(dataset)
    return Version(versions.get(dataset.name, desk.datasets.version(dataset)))


def _refuse(name: str, known: Sequence[str]) -> NoReturn:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"on record are {', '.join(sorted(known)[:20])}"
    raise NotFound("feature", name[:80], "is not on record, and no column of the requests", hint=hint)
