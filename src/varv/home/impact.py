"""What a column touches: the features that read it, and through them views, models, versions, rollouts, runs,
requirements, training sets and reports; and what was made of its dataset: other datasets, tables, runs of
people who read it.

Found from what is on record: every definition that was ever declared, so versions in force that read an older
one are found too, and what each version was trained on. Nothing is kept for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import msgspec

from varv.data.contracts.row_rules import reads
from varv.data.contracts.words import in_words, rule_reason
from varv.data.model import DatasetRegistered
from varv.data.views import DatasetsView
from varv.features import FeatureDefinition
from varv.home.comparison import COMPARISON_FILE, read_comparisons
from varv.home.records import Records, ThatRead
from varv.home.views import HomeView
from varv.kernel.errors import NotFound, VarvError
from varv.kernel.expressions import read_expression
from varv.kernel.ids import ModelName
from varv.kernel.verbs import READ, verb
from varv.loop.views import LoopRecord, LoopView
from varv.registry import RegistryView
from varv.registry.model import training_run
from varv.registry.views import VersionRecord
from varv.rollout.views import RolloutsView
from varv.runs.histories import RunThatRead
from varv.serving.views import RoutingView

_COLUMN = re.compile(r'col\("([^"]+)"\)')


class ImpactRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a column, ``flights.dep_delay``, or a whole dataset, ``flights``."""

    what: str


class TouchedFeature(msgspec.Struct, frozen=True, kw_only=True):
    """A feature of a model that reads it."""

    model: str
    feature: str
    definition: str
    how: str
    """``"value"``, ``"entity"``, ``"time"``, or through which other features it does."""
    state: str
    """``"declared"``; ``"kept"``, computed for versions in force; or ``"former"``."""


class TouchedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a model that was trained with it."""

    model: str
    version: int
    features: tuple[str, ...]
    role: str
    """``"champion"``, ``"in force"``, or nothing for one that answers nobody."""
    trained_on: str
    """The version of the dataset that it was trained on; nothing if it was trained elsewhere."""
    run: str
    """Its training, as a run."""
    rollout: str = ""
    """The phase of its rollout, if one is open."""


class TouchedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that reads it."""

    model: str
    roles: tuple[str, ...]
    """Among ``"outcome"``, ``"feature"``, ``"request"``, ``"key"``, ``"unit"``."""
    views: tuple[str, ...]
    requirements: tuple[str, ...]
    has_report: bool
    """Whether a replay has reported on it."""


class TouchedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that has logged the dataset, or what was made of it, as an input."""

    run: str
    name: str
    experiment: str
    input: str
    """What it read, as it says, and for what."""


class TouchedTable(msgspec.Struct, frozen=True, kw_only=True):
    """A part that is published as a table of Delta, and holds it."""

    part: str
    version: int
    delta_version: int


class Impact(msgspec.Struct, frozen=True, kw_only=True):
    """What a column, or a dataset as a whole, touches."""

    dataset: str
    column: str
    known_at: str
    """The time from which the column is known; nothing for a whole dataset."""
    features: tuple[TouchedFeature, ...]
    models: tuple[TouchedModel, ...]
    versions: tuple[TouchedVersion, ...]
    rules: tuple[str, ...]
    """What is expected of it."""
    training_sets: tuple[str, ...]
    made_from: tuple[str, ...] = ()
    """Datasets that steps make from this one."""
    tables: tuple[TouchedTable, ...] = ()
    runs: tuple[TouchedRun, ...] = ()

    @property
    def views(self) -> tuple[str, ...]:
        """The views that read it, each as ``model: view``."""
        return tuple(f"{one.model}: {view}" for one in self.models for view in one.views)


class _Asked(NamedTuple):
    """A dataset, and the column; nothing for all of it."""

    dataset: DatasetRegistered
    column: str

    def touches(self, dataset: str, columns: Iterable[str]) -> bool:
        """Return whether columns of a dataset are touched."""
        return dataset == self.dataset.dataset and (not self.column or self.column in columns)


class Read(Protocol):
    """The read models that say what touches what, all folded up to one entry."""

    @property
    def registry(self) -> RegistryView: ...  # noqa: D102
    @property
    def routing(self) -> RoutingView: ...  # noqa: D102
    @property
    def rollouts(self) -> RolloutsView: ...  # noqa: D102
    @property
    def loops(self) -> LoopView: ...  # noqa: D102
    @property
    def home(self) -> HomeView: ...  # noqa: D102
    @property
    def datasets(self) -> DatasetsView: ...  # noqa: D102
    @property
    def has_report(self) -> Callable[[str], bool]: ...  # noqa: D102
    @property
    def that_read(self) -> ThatRead: ...  # noqa: D102


@dataclass(frozen=True)
class _Read:
    registry: RegistryView
    routing: RoutingView
    rollouts: RolloutsView
    loops: LoopView
    home: HomeView
    datasets: DatasetsView
    has_report: Callable[[str], bool]
    that_read: ThatRead


@verb("dataset.impact", needs=READ)
def impact(records: Records, asked: ImpactRequest) -> Impact:
    """Show what a column touches: features, views, models, versions, rollouts, runs, requirements, reports.

    Raises
    ------
    NotFound
        If there is no such dataset, or it has no such column.
    """
    views, reported = records.views, _reported(records)
    with (
        views.reading(RegistryView) as registry,
        views.reading(RoutingView) as routing,
        views.reading(RolloutsView) as rollouts,
        views.reading(LoopView) as loops,
        views.reading(HomeView) as home,
        views.reading(DatasetsView) as datasets,
    ):
        has_report = reported.__contains__
        read = _Read(registry, routing, rollouts, loops, home, datasets, has_report, records.that_read)
        return impact_of(read, asked.what)


def impact_of(read: Read, what: str) -> Impact:
    """Return what a column, or a dataset, touches.

    Raises
    ------
    NotFound
        If there is no such dataset, or it has no such column.
    """
    name, _, column = what.partition(".")
    registered = read.datasets.registered(name)
    if registered is None:
        known = ", ".join(one.dataset for one in read.datasets.datasets()) or "none"
        raise NotFound("dataset", name[:80], "is not registered", hint=f"registered are {known}")
    asked = _Asked(registered, column)
    known_at = _known_at(registered, column) if column else ""
    loops = read.loops.loops
    features = [one for model, loop in loops.items() for one in touched_features(model, loop, asked)]
    models = [one for model, loop in loops.items() if (one := _model(read, model, loop, asked, features))]
    versions = tuple(version for one in models for version in _versions(read, one, asked, features))
    sets = tuple(made for made in read.home.training_sets if _is_made_of(read.home, made, asked))
    made_from = _made_from(read.datasets, name)
    trained = {one.run for one in versions}
    return Impact(
        dataset=name,
        column=column,
        known_at=known_at,
        features=tuple(features),
        models=tuple(models),
        versions=versions,
        rules=_rules(read.datasets, asked),
        training_sets=sets,
        made_from=made_from,
        tables=_tables(read.datasets, asked),
        runs=tuple(
            TouchedRun(run=one.run, name=one.name, experiment=one.experiment, input=_input(one))
            for one in read.that_read((name, *sets, *made_from))
            if one.run not in trained and _has_read(one, asked)
        ),
    )


def _is_made_of(home: HomeView, training_set: str, asked: _Asked) -> bool:
    """Return whether a training set holds a column, with its requests or by its views."""
    name = asked.dataset.dataset
    if name not in {read for read, _ in home.training_sets[training_set]}:
        return False
    # Requests are in it with all their columns.
    read = home.columns_of.get(training_set, {}).get(name)
    return not asked.column or home.requests_of.get(training_set) == name or not read or asked.column in read


def _made_from(datasets: DatasetsView, name: str) -> tuple[str, ...]:
    """Return the datasets with a version that was made from the one of that name."""
    return tuple(
        made
        for made, history in datasets.histories.items()
        if any(name in of for of in history.made_from.values())
    )


def _tables(datasets: DatasetsView, asked: _Asked) -> tuple[TouchedTable, ...]:
    """Return the tables that were published of the parts that hold a column; the key is in each."""
    known_at, key = asked.dataset.known_at, asked.dataset.key
    later = {column: part for part, columns in known_at.items() for column in (part, *columns)}
    own = later.get(asked.column, asked.dataset.event_time)
    return tuple(
        TouchedTable(part=part, version=one.version, delta_version=one.delta_version)
        for part, one in datasets.history(asked.dataset.dataset).published.items()
        if not asked.column or asked.column in key or part == own
    )


def _has_read(run: RunThatRead, asked: _Asked) -> bool:
    """Return whether a run has read the column, as far as it says which it has read."""
    is_own = run.dataset.partition("@")[0] == asked.dataset.dataset
    return not (is_own and asked.column and run.columns) or f'"{asked.column}"' in run.columns


def _input(run: RunThatRead) -> str:
    digest = f" {run.digest[:12]}" if run.digest else ""
    return f"{run.dataset}{digest}" + (f" for {run.context}" if run.context else "")


def _known_at(registered: DatasetRegistered, column: str) -> str:
    """Return the time from which a column is known."""
    if column not in registered.types:
        hint = f"its columns are {', '.join(sorted(registered.types))}"
        raise NotFound("column", f"{registered.dataset}.{column}"[:80], "does not exist", hint=hint)
    later = [time for time, columns in registered.known_at.items() if column in (time, *columns)]
    return later[0] if later else registered.event_time


def _model(
    read: Read, name: str, loop: LoopRecord, asked: _Asked, features: Iterable[TouchedFeature]
) -> TouchedModel | None:
    own = [one for one in features if one.model == name]
    roles = [*_roles(loop, asked), *(["feature"] if any(one.state != "former" for one in own) else [])]
    if not roles and not own:
        return None
    declared = loop.declared
    views = dict.fromkeys(loop.features[one.feature].view for one in own if one.state != "former")
    return TouchedModel(
        model=name,
        roles=tuple(roles),
        views=tuple(view for view in views if view),
        requirements=() if declared is None else tuple(one.id for one in declared.requirements),
        has_report=read.has_report(name),
    )


def _versions(
    read: Read, model: TouchedModel, asked: _Asked, features: Iterable[TouchedFeature]
) -> Iterator[TouchedVersion]:
    """Yield the versions that read a touched feature, or were trained towards a touched outcome."""
    touched = {one.feature for one in features if one.model == model.model}
    name = ModelName(model.model)
    record, table = read.registry.models.get(name), read.routing.tables.get(name)
    rollout = read.rollouts.open(name)
    for number, version in sorted(record.versions.items()) if record else ():
        own = tuple(one for one in version.registered.signature if one in touched)
        if own or "outcome" in model.roles:
            is_open = rollout is not None and rollout.version == number
            yield TouchedVersion(
                model=name,
                version=number,
                features=own,
                role=_role(version, table is not None and number in table.versions),
                trained_on=_trained_on(version, asked.dataset.dataset),
                run=training_run(name, number),
                rollout=rollout.phase if rollout is not None and is_open else "",
            )


def touched_features(model: str, loop: LoopRecord, asked: _Asked) -> list[TouchedFeature]:
    """Return the features of a model, of whichever declaration, that read what is asked about."""
    requests = "" if loop.declared is None else str(loop.declared.requests)
    direct = {name: _how(one, requests, asked) for name, one in loop.features.items()}
    found = []
    for name, one in loop.features.items():
        through = [read for read in one.reads if direct.get(read)]
        how = direct[name] or (f"through {', '.join(through)}" if through else "")
        if how:
            found.append(
                TouchedFeature(
                    model=model, feature=name, definition=one.line(), how=how, state=_state(loop, name)
                )
            )
    return found


def _how(one: FeatureDefinition, requests: str, asked: _Asked) -> str:
    """Return how a feature reads what is asked about, without others; nothing if it does not."""
    if not one.view:
        columns = [one.column] if one.column else _read_columns(one)
        return "value" if asked.touches(requests, columns) else ""
    if asked.touches(one.dataset, [one.column]):
        return "value"
    if asked.touches(one.dataset, one.entity) or asked.touches(requests, one.asked or one.entity):
        return "entity"
    return "time" if asked.touches(one.dataset, [one.part]) else ""


def _read_columns(one: FeatureDefinition) -> list[str]:
    """Return the columns of the request that an expression reads."""
    with suppress(ValueError):
        return read_expression(one.written).meta.root_names()
    # One that holds a function of Python is kept in words alone.
    return _COLUMN.findall(one.expression)


def _state(loop: LoopRecord, feature: str) -> str:
    declared = loop.declared
    if declared is None or feature in {one.name for one in declared.features}:
        return "declared"
    return "kept" if feature in declared.kept else "former"


def _roles(loop: LoopRecord, asked: _Asked) -> list[str]:
    """Return what a column is to a model beside a feature."""
    declared = loop.declared
    if declared is None or declared.requests != asked.dataset.dataset:
        return []
    if not asked.column:
        return ["request", *(["outcome"] if loop.definition and loop.definition[0][1] else [])]
    outcome = loop.definition[0][1:] if loop.definition else ()
    cases: Mapping[str, Any] = {
        "outcome": asked.column in outcome,
        "key": asked.column in asked.dataset.key,
        "request": asked.column == asked.dataset.event_time,
        "unit": asked.column == declared.unit,
    }
    return [role for role, holds in cases.items() if holds]


def _role(version: VersionRecord, is_in_force: bool) -> str:
    return "champion" if "champion" in version.aliases else "in force" if is_in_force else ""


def _trained_on(version: VersionRecord, dataset: str) -> str:
    uses = [use.version for use in version.registered.datasets if use.dataset == dataset]
    return f"{dataset}@{uses[-1]}" if uses else ""


def _rules(datasets: DatasetsView, asked: _Asked) -> tuple[str, ...]:
    return tuple(
        f"{rule_reason(one)}: {in_words(one)}"
        for one in datasets.expectations(asked.dataset.dataset) or ()
        if not asked.column or asked.column in _columns_of(one)
    )


def _columns_of(one: Any) -> list[str]:
    with suppress(ValueError):
        return reads(one)
    return []


def _reported(records: Records) -> set[str]:
    """Return the models that a finished replay of the home has reported on."""
    with suppress(FileNotFoundError, VarvError):
        return {one.model for one in read_comparisons((records.home / COMPARISON_FILE).read_bytes()).models}
    return set()
