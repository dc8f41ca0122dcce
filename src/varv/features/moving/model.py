"""What a registry of Feast says about data: entities, sources, views, views on demand, and services."""

from __future__ import annotations

from typing import Literal

import msgspec

from varv.kernel.clock import Duration

NUMBERS = frozenset({"INT32", "INT64", "DOUBLE", "FLOAT", "BOOL"})
TEXTS = frozenset({"STRING", "UUID", "TIME_UUID", "JSON"})


class FeastField(msgspec.Struct, frozen=True):
    """A column, and the name of its type in Feast."""

    name: str
    kind: str

    @property
    def is_kept(self) -> bool:
        """Whether values of its type are numbers or texts."""
        return self.kind in NUMBERS or self.kind in TEXTS


class FeastSource(msgspec.Struct, frozen=True, kw_only=True):
    """Where rows come from."""

    name: str
    kind: str
    """As the registry has it: ``BATCH_FILE``, ``PUSH_SOURCE``, ``BATCH_BIGQUERY``."""
    time: str = ""
    """The column of event times."""
    created: str = ""
    """The column that says when a row was written."""
    mapping: dict[str, str] = {}
    """Names of columns at the source, and what Feast calls them."""
    place: str = ""
    """Of a file its path or address, of a warehouse its table or query, of a stream its topic."""
    is_delta: bool = False
    is_custom: bool = False
    """Whether a class of its author's reads it."""
    request: tuple[FeastField, ...] = ()
    """What requests bring."""
    batch: FeastSource | None = None


class Aggregation(msgspec.Struct, frozen=True, kw_only=True):
    """A statistic of a column over a window."""

    column: str
    function: str
    window: Duration | None
    slide: Duration | None = None
    name: str = ""


class FeastView(msgspec.Struct, frozen=True, kw_only=True):
    """Features of entities."""

    name: str
    entities: tuple[str, ...]
    join_keys: tuple[str, ...]
    features: tuple[FeastField, ...]
    ttl: Duration | None
    """None for no limit, which Feast writes as 0."""
    source: FeastSource | None
    stream: FeastSource | None = None
    aggregations: tuple[Aggregation, ...] = ()
    is_computed: bool = False
    """Whether code makes it of its source or of other views."""
    is_disabled: bool = False


class OnDemandView(msgspec.Struct, frozen=True, kw_only=True):
    """Features that code computes when they are asked for."""

    name: str
    features: tuple[FeastField, ...]
    views: tuple[Projection, ...]
    request: tuple[FeastField, ...]
    mode: str
    text: str
    """The function as its author wrote it."""
    has_aggregations: bool = False


class Projection(msgspec.Struct, frozen=True, kw_only=True):
    """Some features of a view, as a service or a view on demand takes them."""

    view: str
    alias: str
    columns: tuple[str, ...]
    join_key_map: dict[str, str] = {}


class FeastService(msgspec.Struct, frozen=True, kw_only=True):
    """Features that belong together."""

    name: str
    projections: tuple[Projection, ...]


class FeastRegistry(msgspec.Struct, frozen=True, kw_only=True):
    """All of one project."""

    project: str
    views: tuple[FeastView, ...]
    on_demand: tuple[OnDemandView, ...]
    services: tuple[FeastService, ...]
    sources: tuple[FeastSource, ...]
    n_unknown: int = 0
    """Fields that this version of varv does not know."""
    others: dict[str, int] = {}
    """How many objects of other kinds there are, such as saved datasets."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is otherwise here than in Feast."""

    about: str
    kind: Literal["not imported", "changed", "rule"]
    """What is left out, what the declaration does otherwise, and what holds for all features."""
    what: str

    def line(self) -> str:
        """Return it in words."""
        return f"{self.about}: {self.what}"
