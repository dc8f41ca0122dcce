"""What is on record of a home, as a declaration is compared with it, and the plans that it works by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from varv.data import Dataset, DatasetsView
from varv.data.dataset import dataset_of
from varv.data.model import DatasetRegistered
from varv.features import FeatureDefinition, FeatureSet, definitions_of, rebuilt
from varv.features.model import names_of
from varv.home.change.views import ChangesView
from varv.kernel.clock import DAY, Instant
from varv.kernel.ids import DatasetName, ModelName
from varv.kernel.ledger import Ledger
from varv.kernel.views import Views
from varv.loop.model import LoopState
from varv.loop.plan import loop_state
from varv.loop.views import LoopRecord, LoopView
from varv.project import ModelPlan, datasets_of
from varv.project.effective import with_kept, with_optional
from varv.project.planned import Recorded, RecordedModel, Stored
from varv.project.wording import policy_settings
from varv.registry import RegistryView
from varv.serving import RequestSchema
from varv.serving.views import RoutingView

_BUSY = {"training": "a version is being trained", "judging": "a version is being judged"}


def recorded_in(views: Views, ledger: Ledger, now: Instant, plans: Sequence[ModelPlan] = ()) -> Recorded:
    """Return what a home has on record.

    Parameters
    ----------
    plans
        What is declared now: homes of before definitions were kept have names of features only, and a feature
        that reads as before is taken for what it is now.
    """
    with views.reading(DatasetsView) as view:
        datasets = {DatasetName(one.dataset): one for one in view.datasets()}
        stored = {name: _stored(view, one) for name, one in datasets.items()}
        expected = {name: view.expectations(name) or () for name in datasets}
    with views.reading(LoopView) as view:
        names = sorted({*view.loops, *view.declared})
    declared = {plan.name: plan for plan in plans}
    models = {
        ModelName(name): _model(views, ledger, ModelName(name), now, declared.get(ModelName(name)), datasets)
        for name in names
    }
    with views.reading(ChangesView) as view:
        is_changing = bool(view.open)
    return Recorded(
        models=models, datasets=datasets, expected=expected, stored=stored, is_changing=is_changing
    )


def effective_plans(plans: Sequence[ModelPlan], views: Views, ledger: Ledger) -> tuple[ModelPlan, ...]:
    """Return the plans that a home works by: what is declared, and what versions in force read beside it."""
    with views.reading(DatasetsView) as view:
        datasets = {DatasetName(one.dataset): dataset_of(one) for one in view.datasets()}
    datasets |= {dataset.name: dataset for dataset in datasets_of(plans)}
    return tuple(_effective(plan, views, ledger, datasets) for plan in plans)


def _effective(
    plan: ModelPlan, views: Views, ledger: Ledger, datasets: Mapping[DatasetName, Dataset]
) -> ModelPlan:
    with views.reading(LoopView) as view:
        record = view.loops.get(plan.name)
        if record is None:
            return plan
        known, first = dict(record.features), record.first_features
    kept = _kept(views, ledger, plan.name, known, plan.schema.features.names)
    effective = with_kept(plan, kept, datasets)
    if first is None:
        return effective
    names = first | {one.view or one.name for one in kept}
    return replace(effective, schema=with_optional(effective.schema, names))


def _kept(
    views: Views,
    ledger: Ledger,
    model: ModelName,
    known: Mapping[str, FeatureDefinition],
    declared: Iterable[str],
) -> list[FeatureDefinition]:
    """Return the features that versions in force read though they are not declared."""
    needed = {name for reads in in_force(views, ledger, model).values() for name in reads}
    # What a derived feature looks at has to be there as well.
    needed |= {read for name in needed if name in known for read in known[name].reads}
    needed -= set(declared)
    # A name that is not known is no feature: a replay may plant a column.
    return [definition for name, definition in known.items() if name in needed]


def recorded_schemas(
    views: Views,
    ledger: Ledger,
    models: Iterable[ModelName] | None = None,
    declared: Iterable[Dataset] = (),
) -> dict[ModelName, RequestSchema]:
    """Return what a request of each model is by what is on record, without its file.

    Parameters
    ----------
    models
        Which ones; by default all that are declared. One that is not on record is left out.
    declared
        Datasets that are used as they are declared, since a ledger does not keep the order of columns.

    Raises
    ------
    FailedPrecondition
        If a feature cannot be built again.
    """
    with views.reading(DatasetsView) as view:
        datasets = {DatasetName(one.dataset): dataset_of(one) for one in view.datasets()}
    datasets |= {dataset.name: dataset for dataset in declared}
    with views.reading(LoopView) as view:
        served = [name for name in view.declared if ModelName(name) not in view.retired]
    names = map(ModelName, served) if models is None else models
    found = {name: _recorded_schema(views, ledger, name, datasets) for name in names}
    return {name: schema for name, schema in found.items() if schema is not None}


def _recorded_schema(
    views: Views, ledger: Ledger, model: ModelName, datasets: Mapping[DatasetName, Dataset]
) -> RequestSchema | None:
    with views.reading(LoopView) as view:
        declared, record, task = view.declared.get(model), view.loops.get(model), view.task(model)
        known = {} if record is None else dict(record.features)
    if declared is None or declared.requests not in datasets:
        return None
    kept = _kept(views, ledger, model, known, [one.name for one in declared.features])
    requests = datasets[declared.requests]
    features = FeatureSet((*rebuilt(declared.features, datasets), *rebuilt(kept, datasets)), requests)
    for one in features.views:
        one.fresh = declared.fresh.get(one.name)
    schema = RequestSchema(model, requests, features, task, declared.unit, serving=declared.serving)
    first = None if record is None else record.first_features
    return schema if first is None else with_optional(schema, first | {one.view or one.name for one in kept})


def in_force(views: Views, ledger: Ledger, model: ModelName) -> dict[int, frozenset[str]]:
    """Return the versions of a model that answer, score along, or may come back, and what each reads."""
    state = loop_state(ledger, model)
    with views.reading(RoutingView) as routing:
        table = routing.tables.get(model)
    versions = {state.champion, state.former, state.candidate, state.probation, state.returning_to}
    versions |= set() if table is None else set(table.versions)
    with views.reading(RegistryView) as registry:
        record = registry.models.get(model)
        known = {} if record is None else record.versions
        return {
            version: frozenset(known[version].registered.signature)
            for version in sorted(one for one in versions if one is not None)
            if version in known
        }


def _model(
    views: Views,
    ledger: Ledger,
    name: ModelName,
    now: Instant,
    plan: ModelPlan | None,
    datasets: Mapping[DatasetName, DatasetRegistered],
) -> RecordedModel:
    state = loop_state(ledger, name)
    with views.reading(RoutingView) as routing:
        n_requests = sum(routing.n_requests.get(name, {}).values())
        n_day = routing.n_since(name, Instant(now - DAY))
    reads = in_force(views, ledger, name)
    with views.reading(LoopView) as view:
        declared, record = view.declared.get(name), view.loops.get(name)
        task = view.task(name).spec if record is not None or plan is None else plan.outcome.task.spec
        known = dict(record.features) if record is not None else {}
        settings = dict(declared.settings) if declared is not None else {}
        definition = declared.definition if declared is not None else record.definition if record else ()
        names = tuple(one.name for one in declared.features) if declared is not None else ()
        if declared is None and record is not None:
            settings = policy_settings(record.policy)
            known = _as_declared(record, plan, reads, datasets)
            names = tuple(known)
        kept = record.declared.kept if record is not None and record.declared is not None else ()
        awaited = record.awaited if record is not None else ()
    return RecordedModel(
        model=name,
        requests=None if declared is None else declared.requests,
        definition=definition,
        task=task,
        settings=settings,
        declared=names,
        known=known,
        kept=kept,
        awaited=awaited,
        in_force=reads,
        started=record is not None,
        retired_at=None if record is None else record.retired_at,
        busy=_busy(state),
        n_requests=n_requests,
        n_requests_day=n_day,
    )


def _busy(state: LoopState) -> str:
    """Return what a loop is doing that must not be cut short, in words."""
    if state.phase == "rolling":
        return f"a rollout of v{state.candidate} is open"
    return _BUSY.get(state.phase, "")


def _as_declared(
    record: LoopRecord,
    plan: ModelPlan | None,
    reads: Mapping[int, frozenset[str]],
    datasets: Mapping[DatasetName, DatasetRegistered],
) -> dict[str, FeatureDefinition]:
    """Return the features of a home of before definitions were kept, from what it knows of their names."""
    found: dict[str, FeatureDefinition] = {}
    now = dict[tuple[str, ...], list[FeatureDefinition]]() if plan is None else _by_definition(plan)
    signatures = sorted({name for version in reads.values() for name in version})
    types = {name: dtype for one in datasets.values() for name, dtype in one.types.items()}
    for text in record.definition[1:]:
        name = text[0]
        if text in now:
            found |= {one.name: one for one in now[text]}
        elif len(text) == 1:
            kind = "categorical" if types.get(name) == "String" else "numeric"
            found[name] = FeatureDefinition(name=name, kind=kind, column=name)
        else:
            named = [one for one in signatures if one == name or one.startswith(f"{name}.")]
            for one in named or [name]:
                found[one] = FeatureDefinition(name=one, kind="numeric", expression=" ".join(text[1:]) or one)
    return found


def _by_definition(plan: ModelPlan) -> dict[tuple[str, ...], list[FeatureDefinition]]:
    features = plan.loop.features
    every = {one.name: one for one in definitions_of(features)}
    found: dict[tuple[str, ...], list[FeatureDefinition]] = {}
    for feature, text in zip(features.declared, features.definition(), strict=True):
        found[tuple(text)] = [every[name] for name in names_of(feature)]
    return found


def _stored(view: DatasetsView, dataset: DatasetRegistered) -> Stored:
    held = view.catalogue(dataset.dataset, dataset.event_time)
    first, last = held.span()
    return Stored(n_requests=held.n_rows, since=first, until=last)
