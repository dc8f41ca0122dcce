"""The use cases of the online store: what is online, read it, bring it up to date, fill it anew."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import polars as pl

from varv.data.service import Datasets
from varv.features.definitions import digest_of_view
from varv.features.feature_view import FeatureView
from varv.features.kinds import exported, feature_kind, kept_as
from varv.features.online.materialising import Materialiser
from varv.features.online.model import (
    OnlineView,
    ViewMaterialised,
    kept_views,
    readable_views,
    table_name,
)
from varv.features.online.ports import KeyValue, Table
from varv.features.online.reading import OnlineReader, ViewRead
from varv.features.reads import ReadCounts
from varv.features.view_history import Progress
from varv.kernel.clock import Clock, instant, iso
from varv.kernel.columns import TIME
from varv.kernel.errors import InvalidInput, NotFound, Unavailable
from varv.kernel.verbs import EXPORT, OPERATE, READ, verb
from varv.kernel.views import Views

MOST_READ = 10_000
"""Entities of one answer."""


class ListOnline(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for the feature views, online or not."""


class ReadFeatures(msgspec.Struct, frozen=True, kw_only=True):
    """Names features, ``view__feature``, or all of a view by its name; and entities, a column each with the
    values that name them. Rows that had become known by `as_of` count, by default now.
    """

    features: tuple[str, ...]
    entities: dict[str, list[Any]]
    as_of: str = ""


class MaterialiseRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names views, all that are declared if none, and says who does it."""

    views: tuple[str, ...] = ()
    by: str = "operator"


class BackfillRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a view that is filled anew from rows of `since` and later and of before `until`, all by default;
    and says who does it.
    """

    view: str
    since: str = ""
    until: str = ""
    by: str = "operator"


class OnlineShown(msgspec.Struct, frozen=True, kw_only=True):
    """A feature view: whose features it has, and how fresh they are online."""

    view: str
    entity: tuple[str, ...]
    features: tuple[str, ...]
    dataset: str
    digest: str
    version: int
    """The last of its dataset."""
    upto: int | None = None
    """Up to which of these it is online; None if it is not."""
    generation: int | None = None
    n_rows: int = 0
    n_late: int = 0
    newest: str = ""
    at: str = ""
    """When it was brought there."""
    size_bytes: int = 0
    n_too_late: int | None = None
    """Rows that became known so long after their event that they count in no feature (`observed.PATIENCE`),
    of those that the server has observed; None where no server holds the view in memory.
    """


class OnlineList(msgspec.Struct, frozen=True, kw_only=True):
    """The feature views."""

    views: tuple[OnlineShown, ...]


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """How fresh an answer is: it holds what a dataset had said up to a version."""

    view: str
    upto: int
    newest: str
    at: str


class FeaturesRead(msgspec.Struct, frozen=True, kw_only=True):
    """Entities and their features, a row each in the order in which they were asked for."""

    rows: pl.DataFrame
    freshness: tuple[Freshness, ...]


class Materialisation(msgspec.Struct, frozen=True, kw_only=True):
    """What a view gained online."""

    view: str
    generation: int
    upto: int
    n_rows: int
    n_late: int


class Materialisations(msgspec.Struct, frozen=True, kw_only=True):
    """What views gained; those that gained nothing are only named."""

    views: tuple[Materialisation, ...]
    unchanged: tuple[str, ...] = ()


class OnlineDesk:
    """What the use cases work on.

    Parameters
    ----------
    views, datasets, clock
        Of the home.
    store
        Where features are.
    declared
        Returns the feature views by now.
    materialiser
        Writes the store; None where the home is only read.
    reads
        Counts reads.
    progress
        Returns how far the rows of views have come that are held in memory; of none by default.
    """

    def __init__(
        self,
        views: Views,
        datasets: Datasets,
        clock: Clock,
        store: KeyValue,
        declared: Callable[[], Sequence[FeatureView]],
        materialiser: Materialiser | None,
        reads: ReadCounts | None = None,
        progress: Callable[[], Sequence[tuple[FeatureView, Progress]]] = tuple,
    ) -> None:
        self._progress = progress
        self.views = views
        self.datasets = datasets
        self.clock = clock
        self.store = store
        self.declared = declared
        self.materialiser = materialiser
        self._reads = reads or ReadCounts()
        self._alone = threading.Lock()
        self._reader: tuple[tuple[str, ...], OnlineReader] | None = None

    @property
    def reader(self) -> OnlineReader:
        """What reads the views that are declared by now."""
        views = readable_views(self.declared())
        digests = tuple(map(digest_of_view, views))
        if self._reader is None or self._reader[0] != digests:
            self._reader = digests, OnlineReader(self.store, views, self._reads)
        return self._reader[1]

    def chosen(self, names: Iterable[str]) -> list[FeatureView]:
        """Return views by their names, or those of their uses; all if there is none.

        Raises
        ------
        NotFound
            If there is no such view.
        """
        known = {view.name: view.of for view in readable_views(self.declared())}
        for name in names:
            if name not in known:
                raise NotFound("feature view", name[:80], hint=f"there are {', '.join(known) or 'none'}")
        return list(dict.fromkeys(known[name] for name in names)) or kept_views(self.declared())

    def act(self, act: Callable[[Materialiser], Any]) -> Any:
        """Have the materialiser do something, one at a time."""
        if self.materialiser is None:
            raise Unavailable("online store", "", "is only read here", hint="ask the server of the home")
        with self._alone:
            return act(self.materialiser)

    def follow(self, names: frozenset[str]) -> None:
        """Bring views of these names, and all that are online, up to what their datasets say."""
        with self.views.reading(OnlineView) as online:
            held = set(online.views)
        for view in kept_views(self.declared()):
            if view.name in names or view.name in held:
                self.act(lambda writer, view=view: writer.materialise(view, by="server"))

    def shown(self) -> list[OnlineShown]:
        """Return every view, and how fresh it is."""
        # A view may have several histories, of one dataset: each passes over the same rows.
        too_late: dict[str, int] = {}
        for view, one in self._progress():
            too_late[view.name] = max(too_late.get(view.name, 0), one.n_beyond)
        return [self._shown(view, too_late.get(view.of.name)) for view in readable_views(self.declared())]

    def _shown(self, view: FeatureView, n_too_late: int | None) -> OnlineShown:
        digest = digest_of_view(view.of)
        with self.views.reading(OnlineView) as online:
            held = online.of(view.of.name, digest)
        shown = OnlineShown(
            view=view.name,
            entity=view.asked,
            features=tuple(map(exported, view.feature_names())),
            dataset=view.source.name,
            digest=digest,
            version=self.datasets.version(view.source),
            n_too_late=n_too_late,
        )
        if held is None:
            return shown
        last = held.last
        return msgspec.structs.replace(
            shown,
            upto=last.upto,
            generation=last.generation,
            n_rows=held.n_rows,
            n_late=held.n_late,
            newest="" if last.newest is None else iso(last.newest),
            at=iso(held.at),
            size_bytes=self.store.size_bytes(Table(table_name(view.of, digest), last.generation)),
        )


@verb("features.list", needs=READ)
def list_online(desk: OnlineDesk, request: ListOnline) -> OnlineList:
    """List the feature views, and how fresh they are online."""
    return OnlineList(views=tuple(desk.shown()))


@verb("features.read", needs=EXPORT)
def read_features(desk: OnlineDesk, request: ReadFeatures) -> FeaturesRead:
    """Return features of entities from the online store, with how fresh they are."""
    if not request.entities:
        hint = "name whose features to read, as entities; from a shell, --entity customer=4711,4712"
        raise InvalidInput("entities", "", "are missing", hint=hint)
    lengths = {len(values) for values in request.entities.values()}
    if len(lengths) != 1 or not 0 < max(lengths) <= MOST_READ:
        hint = f"give columns of one length, {MOST_READ} entities at most"
        raise InvalidInput(
            "entities", "", "are not columns of one length", lengths=sorted(lengths), hint=hint
        )
    reader = desk.reader
    views, wanted = chosen_features(reader, request.features)
    entities = typed_entities(reader, views, request.entities)
    moment = instant(request.as_of) if request.as_of else desk.clock.now()
    found = reader.read(views, entities, moment)
    columns = [pl.Series(name, values, strict=False) for name, values in request.entities.items()]
    columns += [column for one in found for column in _columns(one) if column.name in wanted]
    order = [*request.entities, *(name for name in wanted if name not in request.entities)]
    return FeaturesRead(
        rows=pl.DataFrame(columns).select(order), freshness=tuple(_freshness(one) for one in found)
    )


@verb("features.materialise", needs=OPERATE)
def materialise(desk: OnlineDesk, request: MaterialiseRequest) -> Materialisations:
    """Bring feature views up to date online; those that are not there yet are filled."""
    stated: list[Materialisation] = []
    unchanged: list[str] = []
    for view in desk.chosen(request.views):
        found = desk.act(lambda writer, view=view: writer.materialise(view, by=request.by))
        if found is None:
            unchanged.append(view.name)
        else:
            stated.append(_materialisation(found))
    return Materialisations(views=tuple(stated), unchanged=tuple(unchanged))


@verb("features.backfill", needs=OPERATE)
def backfill(desk: OnlineDesk, request: BackfillRequest) -> Materialisation:
    """Fill a feature view anew online, and put it in the place of what is there as a whole."""
    (view,) = desk.chosen([request.view])
    since = instant(request.since) if request.since else None
    until = instant(request.until) if request.until else None
    return _materialisation(
        desk.act(lambda writer: writer.backfill(view, since=since, until=until, by=request.by))
    )


def chosen_features(reader: OnlineReader, asked: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the views of features, and the features by the names under which they leave.

    Parameters
    ----------
    asked
        ``view__feature``, ``view:feature``, ``view.feature``, or a view for all of its features.

    Raises
    ------
    NotFound
        If there is no such view or feature.
    InvalidInput
        If none is named.
    """
    if not asked:
        raise InvalidInput("features", "", "are empty", hint="name a view, or view__feature")
    views: dict[str, None] = {}
    names: list[str] = []
    for text in asked:
        view, _, feature = text.replace(":", "__", 1).partition("__")
        if "." in view and not feature:
            view, _, feature = text.partition(".")
        found = [exported(name) for name in reader.reader(view).names]
        views[view] = None
        if feature and f"{view}__{feature}" not in found:
            raise NotFound("feature", text[:80], hint=f"view {view} has {', '.join(found)}")
        names += [f"{view}__{feature}"] if feature else found
    return list(views), list(dict.fromkeys(names))


def typed_entities(
    reader: OnlineReader, views: Sequence[str], entities: Mapping[str, Sequence[Any]]
) -> dict[str, Sequence[Any]]:
    """Return the columns that name entities as keys want them: times as microseconds.

    Raises
    ------
    InvalidInput
        If a value is of another kind than the view's column, or no time.
    """
    typed = dict(entities)
    for name in views:
        view = reader.reader(name).view
        types = view.source.types()
        for column, own in zip(view.asked, view.entity, strict=True):
            values = entities.get(column)
            if values is not None:
                typed[column] = _typed(column, types[own], values)
    return typed


def _typed(column: str, dtype: pl.DataType, values: Sequence[Any]) -> Sequence[Any]:
    if dtype == TIME:
        return [instant(value) if isinstance(value, str) else value for value in values]
    is_text = feature_kind(dtype) == "categorical"
    for value in values:
        if isinstance(value, str) != is_text and value is not None:
            found = type(value).__name__
            raise InvalidInput("entity", column, f"has a value of type {found}", hint=f"it is {dtype}")
    return values


def _columns(read: ViewRead) -> list[pl.Series]:
    kinds = read.view.kinds()
    return [
        pl.Series(exported(name), [one.values[place] for one in read.entities], dtype=kept_as(kind))
        for place, (name, kind) in enumerate(kinds.items())
    ]


def _freshness(read: ViewRead) -> Freshness:
    note = read.note
    return Freshness(
        view=read.view.name,
        upto=note.upto,
        newest="" if note.newest is None else iso(note.newest),
        at=iso(note.at),
    )


def _materialisation(stated: ViewMaterialised) -> Materialisation:
    return Materialisation(
        view=stated.view,
        generation=stated.generation,
        upto=stated.upto,
        n_rows=stated.n_rows,
        n_late=stated.n_late,
    )
