"""What a page is made of: read models that stand still while it is made, and the data it shows.

A page is a pure function from a `Reading` and the query of the URL to a `Page`; the same data is written as
HTML by a template and as JSON beside it. Pages know no request and no response; those are in `console`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from markupsafe import Markup

from varv.data.alarms import DataAlarmsView
from varv.data.ingestion.views import PullsView
from varv.data.views import DatasetsView
from varv.home.change.views import ChangesView
from varv.home.skew.reads import ReadsView
from varv.home.skew.views import SkewView
from varv.home.tracking.looking import RunDesk
from varv.home.views import HomeView
from varv.kernel.clock import Instant, instant
from varv.kernel.columns import Columns
from varv.kernel.errors import InvalidInput, NotFound
from varv.kernel.views import Views
from varv.labels.views import LabelsView
from varv.loop.views import LoopView
from varv.monitoring.views import MonitoringView
from varv.registry import RegistryView
from varv.rollout import RolloutsView
from varv.runs.histories import RunThatRead
from varv.serving.views import RoutingView

MOST_DIGITS = 18


@dataclass(frozen=True)
class Page:
    """One page: its title, the template that writes it, and what it says.

    `data` can be written as JSON, and is all that the template knows beside `charts`.
    """

    title: str
    template: str
    data: dict[str, object]
    charts: dict[str, Markup] = field(default_factory=dict)
    scripts: tuple[str, ...] = ()
    """Static files that it runs; without them it says the same."""
    acts: bool = False
    """Whether it has a form that changes something, for which its browser has to say where it comes from."""


class Asking(Protocol):
    """The query of a URL, in which a name may be there several times."""

    def get(self, name: str, default: str, /) -> str:
        """Return the last value of a name."""
        ...

    def getlist(self, name: str, /) -> list[str]:
        """Return all values of a name."""
        ...


@dataclass(frozen=True)
class Reading:
    """All read models, folded up to the same entry; nothing of them may be kept."""

    registry: RegistryView
    routing: RoutingView
    rollouts: RolloutsView
    monitoring: MonitoringView
    loops: LoopView
    home: HomeView
    datasets: DatasetsView
    changes: ChangesView
    skew: SkewView
    reads: ReadsView
    data_alarms: DataAlarmsView
    pulls: PullsView
    labels: LabelsView
    columns: Columns | None = None
    """Where rows are, if the page may show some."""
    has_report: Callable[[str], bool] = lambda model: False
    """Whether the report of a replay on a model is there to be read."""
    folder: Path | None = None
    """The home, where the output of trainings is."""
    runs: RunDesk | None = None
    """Where runs are; None where none are tracked, or where whoever asks may not read them."""

    def that_read(self, datasets: Sequence[str]) -> Sequence[RunThatRead]:
        """Return the runs that have read datasets of some names; none where whoever asks may read no runs."""
        return () if self.runs is None else self.runs.that_read(datasets)

    def require_runs(self) -> RunDesk:
        """Return what reads runs.

        Raises
        ------
        NotFound
            If this console has none.
        """
        if self.runs is None:
            raise NotFound(
                "page", "", "shows runs, and none are tracked here", hint="start varv up or varv track"
            )
        return self.runs

    def models(self) -> list[str]:
        """Return the names of all models that anything is known of."""
        return sorted({*self.loops.loops, *self.registry.models})

    def require_model(self, name: str) -> str:
        """Return `name` if there is such a model.

        Raises
        ------
        NotFound
            If there is not; the message names those that there are.
        """
        known = self.models()
        if name not in known:
            raise NotFound(
                "model", name[:80], hint=_those(known, "declare one and replay it: varv replay FILE")
            )
        return name


@contextmanager
def reading(
    views: Views,
    columns: Columns | None = None,
    has_report: Callable[[str], bool] = lambda model: False,
    home: Path | None = None,
    runs: RunDesk | None = None,
) -> Generator[Reading]:
    """Give all read models at once; they stand still within the block."""
    with ExitStack() as stack:
        yield Reading(
            registry=stack.enter_context(views.reading(RegistryView)),
            routing=stack.enter_context(views.reading(RoutingView)),
            rollouts=stack.enter_context(views.reading(RolloutsView)),
            monitoring=stack.enter_context(views.reading(MonitoringView)),
            loops=stack.enter_context(views.reading(LoopView)),
            home=stack.enter_context(views.reading(HomeView)),
            datasets=stack.enter_context(views.reading(DatasetsView)),
            changes=stack.enter_context(views.reading(ChangesView)),
            skew=stack.enter_context(views.reading(SkewView)),
            reads=stack.enter_context(views.reading(ReadsView)),
            data_alarms=stack.enter_context(views.reading(DataAlarmsView)),
            pulls=stack.enter_context(views.reading(PullsView)),
            labels=stack.enter_context(views.reading(LabelsView)),
            columns=columns,
            has_report=has_report,
            folder=home,
            runs=runs,
        )


def whole_number(query: Mapping[str, str], name: str, default: int) -> int:
    """Return a number of the query.

    Raises
    ------
    InvalidInput
        If it is given and is not a whole number of at least 0.
    """
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS):
        raise InvalidInput("query", name, "is not a whole number", given=text[:40], hint=f"write ?{name}=10")
    return int(text)


def time_range(query: Mapping[str, str], first: int, last: int) -> tuple[Instant, Instant]:
    """Return the instants of ``from`` and ``to`` in the query, by default from `first` to just after `last`.

    Raises
    ------
    InvalidInput
        If one is not an ISO 8601 date or time that the calendar holds, or both are given out of order.
    """
    since = _time(query, "from", first)
    until = _time(query, "to", last + 1)
    if since >= until and query.get("from") and query.get("to"):
        raise InvalidInput("query", "to", "is not after from", hint="write ?from=2013-02-01&to=2013-03-01")
    return since, until


def _time(query: Mapping[str, str], name: str, default: int) -> Instant:
    text = query.get(name, "")
    try:
        return instant(text) if text else Instant(default)
    except (InvalidInput, OverflowError):
        hint = f"write ?{name}=2013-02-01"
        raise InvalidInput("query", name, "is not a date or a time", given=text[:40], hint=hint) from None


def date_text(at: int) -> str:
    """Return the day of `at` as it is written in a query."""
    return f"{dt.datetime.fromtimestamp(at / 1e6, dt.UTC):%Y-%m-%d}"


def _those(names: list[str], otherwise: str) -> str:
    return f"there are {', '.join(names[:20])}" if names else otherwise


def not_one_of(kind: str, name: object, known: list[str], otherwise: str) -> NotFound:
    """Return the error for a thing that is not there, naming those that are."""
    return NotFound(kind, str(name)[:80], hint=_those(known, otherwise))
