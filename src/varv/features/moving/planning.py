"""What a project of Feast becomes here: datasets, views, derived features and lists of them, and what is
otherwise than it was.

`declaring` writes a plan down as Python. What cannot be imported stays in the plan with its reason, so that
it is written down too, as a comment.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from varv.data.sources import kept_type
from varv.features.kinds import feature_kind
from varv.features.moving.model import Difference, FeastField, FeastRegistry, FeastSource, FeastView
from varv.features.moving.source_rows import SourceRows, has_one_clock
from varv.kernel.clock import DAY, Duration, spoken
from varv.kernel.errors import VarvError
from varv.kernel.wording import count

RowsOf = Callable[[FeastSource, Sequence[str]], SourceRows | None]
"""Looks at the rows of a source whose key these columns are; None where they are elsewhere."""
STATED = "stated_at"
_PART = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_WAREHOUSES = {
    "BATCH_BIGQUERY": "BigQuery",
    "BATCH_REDSHIFT": "Redshift",
    "BATCH_SNOWFLAKE": "Snowflake",
    "BATCH_SPARK": "Spark",
    "BATCH_TRINO": "Trino",
    "BATCH_ATHENA": "Athena",
    "BATCH_ICEBERG": "Iceberg",
}
_STREAMS = {"STREAM_KAFKA": "Kafka", "STREAM_KINESIS": "Kinesis"}
_RESERVED = frozenset({"pl", "varv", "feast"})
_LONGEST_TTL = Duration(36_500 * DAY)


@dataclass(kw_only=True)
class DatasetPlan:
    """A dataset that the rows of a source become."""

    variable: str
    name: str
    source: FeastSource
    keys: tuple[str, ...]
    rows: SourceRows | None = None
    dropped: tuple[str, ...] = ()
    """Columns of types that are not kept."""
    known_at: tuple[str, ...] = ()
    """The columns that become known when a row was written, if the source says when that was."""
    is_clipped: bool = False
    """Whether rows that were written before they happened count from when they happened."""
    is_corrected: bool = False
    """Whether the time of writing is part of the key, since rows are corrected."""
    reason: str = ""
    """Why it is not imported."""

    @property
    def is_read_by_function(self) -> bool:
        """Whether rows are changed on the way."""
        renamed = any(old != new for old, new in self.source.mapping.items())
        return bool(renamed or self.dropped or self.is_clipped or self.is_corrected)


@dataclass(kw_only=True)
class ViewPlan:
    """A view of features."""

    variable: str
    name: str
    feast: FeastView
    dataset: DatasetPlan | None
    columns: tuple[str, ...] = ()
    ttl: str = ""
    statistics: tuple[str, ...] = ()
    """Of the one column, over `window`."""
    window: str = ""
    reason: str = ""


@dataclass(kw_only=True)
class UsePlan:
    """A view that a service joins by other columns, under a name of its own."""

    variable: str
    name: str
    of: ViewPlan
    asked_by: dict[str, str]


@dataclass(kw_only=True)
class DerivedPlan:
    """A feature that is computed when a request is made."""

    variable: str
    name: str
    view: str
    """The view on demand that it is of."""
    code: str = ""
    reads: tuple[str, ...] = ()
    """The variables of the views that it looks at."""
    text: str = ""
    """The function, where it could not be translated."""
    reason: str = ""


@dataclass(kw_only=True)
class ListPlan:
    """Features that belong together."""

    variable: str
    name: str
    items: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Plan:
    """All that a project becomes."""

    project: str
    datasets: list[DatasetPlan] = field(default_factory=list)
    views: list[ViewPlan] = field(default_factory=list)
    uses: list[UsePlan] = field(default_factory=list)
    derived: list[DerivedPlan] = field(default_factory=list)
    lists: list[ListPlan] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)

    def imported(self, name: str) -> ViewPlan | None:
        """Return the first view that a view of Feast has become; None if it is not imported."""
        return next((one for one in self.views if one.feast.name == name and not one.reason), None)


class Names:
    """Gives names that are valid here, each once."""

    def __init__(self, differences: list[Difference]) -> None:
        self._differences = differences
        self._variables = set(_RESERVED)
        self._names: dict[str, set[str]] = {}

    def variable(self, name: str, otherwise: str) -> str:
        """Return a name of Python for something; with a suffix where it is taken."""
        plain = re.sub(r"\W", "_", _valid(name, otherwise), flags=re.ASCII)
        return self._free(
            f"{plain}_" if keyword.iskeyword(plain) else plain, f"_{otherwise}", self._variables
        )

    def name(self, kind: str, name: str, otherwise: str) -> str:
        """Return a name that things here may have, and note where it is another one."""
        given = self._free(_valid(name, otherwise), "", self._names.setdefault(kind, set()))
        if given != name:
            self.changed(f"{kind} {name}", f"is called {given}")
        return given

    def changed(self, about: str, what: str) -> None:
        """Note what is otherwise."""
        self._differences.append(Difference(about=about, kind="changed", what=what))

    def left(self, about: str, what: str) -> None:
        """Note what is not imported."""
        self._differences.append(Difference(about=about, kind="not imported", what=what))

    @staticmethod
    def _free(name: str, suffix: str, taken: set[str]) -> str:
        found, number = name, 2
        if found in taken and suffix:
            found = name = f"{name}{suffix}"
        while found in taken:
            found, number = f"{name}_{number}", number + 1
        taken.add(found)
        return found


def _valid(name: str, otherwise: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    plain = re.sub(r"^(?=[0-9])", f"{otherwise}_", plain)[:56].strip("_")
    return plain or otherwise


def datasets_of(registry: FeastRegistry, names: Names, rows_of: RowsOf) -> dict[str, DatasetPlan]:
    """Return the datasets of the sources that views read, by the names of the sources."""
    read: dict[str, tuple[FeastSource, dict[str, None], dict[str, None]]] = {}
    for view in registry.views:
        if view.source is None:
            continue
        _, keys, features = read.setdefault(identity(view.source), (view.source, {}, {}))
        keys.update(dict.fromkeys(view.join_keys))
        features.update((one.name, None) for one in view.features if one.is_kept)
    return {
        name: _dataset(source, tuple(keys), tuple(features), names, rows_of)
        for name, (source, keys, features) in read.items()
    }


def identity(source: FeastSource) -> str:
    """Return what tells a source from others."""
    return source.name or source.place


def called(source: FeastSource) -> str:
    """Return the name of a source; that of its file if it has none."""
    return source.name or re.sub(r"\.\w+$", "", source.place.rstrip("/").rpartition("/")[2])


def _dataset(
    source: FeastSource, keys: tuple[str, ...], features: tuple[str, ...], names: Names, rows_of: RowsOf
) -> DatasetPlan:
    plan = DatasetPlan(
        variable=names.variable(called(source), "rows"),
        name=names.name("source", called(source), "rows"),
        source=source,
        keys=keys,
        reason=_not_read(source),
    )
    if not plan.reason:
        try:
            plan.rows = rows_of(source, keys)
        except VarvError as error:
            plan.reason = f"{error.problem}: {error.facts.get('why') or error.facts.get('place') or ''}"[:200]
    if plan.rows is not None:
        _look_at(plan, plan.rows, names)
    elif source.created:
        plan.known_at = tuple(one for one in features if one not in keys)
    if plan.reason:
        names.left(f"source {called(source)}", plan.reason)
    return plan


def _not_read(source: FeastSource) -> str:
    """Return why the rows of a source cannot be read, or nothing."""
    if source.kind in _WAREHOUSES:
        return f"its rows are in {_WAREHOUSES[source.kind]} ({source.place[:80]}): bring them as Parquet"
    if source.kind != "BATCH_FILE" or source.is_custom:
        return "its rows are read by code of its own: bring them as Parquet"
    if source.is_delta:
        return "it is a table of Delta: bring its rows as Parquet"
    strange = next((one for one in (source.time, source.created) if one and not _PART.fullmatch(one)), None)
    return f"its column of times {strange!r} cannot name a part: rename it" if strange else ""


def _look_at(plan: DatasetPlan, rows: SourceRows, names: Names) -> None:
    """Plan a dataset by what its rows say, and note what is otherwise with them."""
    source, about = plan.source, f"source {called(plan.source)}"
    plan.dropped = tuple(name for name, dtype in rows.types.items() if kept_type(dtype) is None)
    if source.created:
        own = {*plan.keys, source.time, source.created, *plan.dropped}
        plan.known_at = tuple(name for name in rows.types if name not in own)
        n_corrections = rows.n_repeats - rows.n_ties
        plan.is_corrected = n_corrections > 0 and STATED not in rows.types
        plan.is_clipped = rows.n_early > 0 and has_one_clock(rows.types, source)
        if plan.is_corrected:
            says = f"rows correct another of the same time, so {STATED} is part of the key"
            names.changed(about, f"{count(n_corrections)} {says}")
        if rows.n_early:
            does = "count from when they happened" if plan.is_clipped else "are not used"
            names.changed(about, f"{count(rows.n_early)} rows were written before they happened; they {does}")
        if rows.n_too_late:
            names.changed(
                about, f"{count(rows.n_too_late)} rows were written over 92 days late and are not used"
            )
        if rows.n_without_created:
            says = (
                f"{count(rows.n_without_created)} rows have no {source.created}, so they never become known"
            )
            names.changed(about, says)
    if rows.n_ties:
        says = "rows repeat a key and all its times; the first stands, Feast takes any"
        names.changed(about, f"{count(rows.n_ties)} {says}")
    for n, what in ((rows.n_without_key, "entity"), (rows.n_without_time, "event time")):
        if n:
            names.changed(about, f"{count(n)} rows have no {what} and are not used")


def view_of(view: FeastView, datasets: dict[str, DatasetPlan], names: Names) -> tuple[ViewPlan, ...]:
    """Return what a view becomes: one, or one for each column and window that it aggregates."""
    dataset = None if view.source is None else datasets[identity(view.source)]
    reason = _not_imported(view, dataset)
    kept: list[str] = []
    for one in view.features:
        why = _refused(one, dataset)
        if not why:
            kept.append(one.name)
        elif not reason:
            names.left(f"feature {view.name}:{one.name}", why)
    if not kept and not reason and not view.aggregations:
        reason = "none of its features can be imported"
    if view.aggregations and not reason:
        return _windowed(view, dataset, names)
    if reason:
        names.left(f"view {view.name}", reason)
    elif view.stream is not None:
        _note_stream(view, dataset, names)
    ttl = view.ttl if view.ttl is not None and view.ttl < _LONGEST_TTL else None
    return (
        ViewPlan(
            variable=names.variable(view.name, "view"),
            name=names.name("view", view.name, "view"),
            feast=view,
            dataset=dataset,
            columns=tuple(kept or (one.name for one in view.features)),
            ttl="" if ttl is None else spoken(ttl),
            reason=reason,
        ),
    )


def _not_imported(view: FeastView, dataset: DatasetPlan | None) -> str:
    if view.is_disabled:
        return "it is disabled"
    if dataset is None:
        return "it has no rows of its own"
    if dataset.reason:
        return f"its source {dataset.name} is not imported"
    if view.is_computed and not view.aggregations:
        return "code computes it of its source"
    if dataset.rows is None:
        return ""
    types = dataset.rows.types
    strange = [one for one in view.join_keys if kept_type(types[one]) is None]
    return f"its entity {strange[0]} is of type {types[strange[0]]}" if strange else ""


def _refused(one: FeastField, dataset: DatasetPlan | None) -> str:
    """Return why a feature is not imported, or nothing."""
    if dataset is not None and dataset.rows is not None:
        dtype = dataset.rows.types.get(one.name)
        if dtype is None:
            return "its source has no such column"
        kept = kept_type(dtype)
        if kept is None or feature_kind(kept) is None:
            return f"is of type {dtype}; features are numbers and texts"
    elif not one.is_kept:
        return f"is of type {one.kind}; features are numbers and texts"
    return "is part of its source's key" if dataset is not None and one.name in dataset.keys else ""


def _note_stream(view: FeastView, dataset: DatasetPlan | None, names: Names) -> None:
    stream = view.stream
    if stream is None or dataset is None:
        return
    if stream.kind == "PUSH_SOURCE":
        says = f"rows are pushed by the name of their dataset, {dataset.name}"
        names.changed(f"push source {stream.name}", says)
    else:
        kind = _STREAMS.get(stream.kind, "a stream")
        says = f"rows come from {kind} ({stream.place[:80]}): send them as rows of the dataset {dataset.name}"
        names.left(f"stream {stream.name}", says)


_STATISTICS = {
    "mean": "mean",
    "avg": "mean",
    "sum": "sum",
    "count": "count",
    "min": "min",
    "max": "max",
    "std": "std",
    "stddev": "std",
    "stddev_samp": "std",
    "first": "first",
    "last": "last",
    "count_distinct": "distinct",
    "nunique": "distinct",
}


def _windowed(view: FeastView, dataset: DatasetPlan | None, names: Names) -> tuple[ViewPlan, ...]:
    """Return a view for each column and window of a view that aggregates."""
    wanted: dict[tuple[str, str], list[str]] = {}
    for one in view.aggregations:
        statistic = _STATISTICS.get(one.function.lower())
        about = f"aggregation {view.name}:{one.function}({one.column})"
        if statistic is None or one.window is None:
            names.left(about, "has no window" if statistic else "is no statistic of windows here")
            continue
        wanted.setdefault((one.column, spoken(one.window)), []).append(statistic)
        renamed = (
            f"is called {one.column}_{statistic}_{spoken(one.window)}, and its window ends at the request"
        )
        names.changed(about, renamed)
    _note_stream(view, dataset, names)
    found = []
    for (column, window), statistics in wanted.items():
        wide = view.name if len(wanted) == 1 else f"{view.name}_{column}_{window}"
        plan = ViewPlan(
            variable=names.variable(wide, "view"),
            name=names.name("view", wide, "view"),
            feast=view,
            dataset=dataset,
            columns=(column,),
            statistics=tuple(dict.fromkeys(statistics)),
            window=window,
        )
        found.append(plan)
    return tuple(found)
