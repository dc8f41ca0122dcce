"""What a changed declaration will do to a home, found by comparing it with what is on record.

Pure: what is on record comes in as values (`Recorded`), what is to be done goes out as one (`Plan`), which
`varv plan` shows and a change carries out. A change that would make the record say something untrue is
refused, with what to do instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from varv.data import Dataset
from varv.data.contracts.model import Expectation, is_as_before
from varv.data.contracts.words import in_words, rule_reason
from varv.data.shape import misfit
from varv.features import definitions_of
from varv.kernel.ids import ModelName
from varv.kernel.wording import count
from varv.project.plan import ModelPlan, datasets_of
from varv.project.planned import (
    DatasetChange,
    Kept,
    ModelChange,
    Plan,
    Recorded,
    RecordedModel,
    Refusal,
    Retirement,
    Setting,
    Stored,
)
from varv.project.wording import LATER_SETTINGS, settings_of


def plan_changes(
    plans: Sequence[ModelPlan],
    recorded: Recorded,
    *,
    retire: Retirement | None = None,
    whole: bool = True,
) -> Plan:
    """Return what the declaration of `plans` will do.

    Parameters
    ----------
    retire
        Which models may go; none by default.
    whole
        Whether `plans` are all that is declared; else models that are not among them stay as they are.
    """
    retire = retire or Retirement()
    datasets, refused = _datasets(plans, recorded)
    changes: list[ModelChange] = []
    left_over: list[ModelChange] = []
    for plan in plans:
        record = recorded.models.get(plan.name)
        stored = recorded.stored.get(plan.schema.requests.name)
        if record is None:
            names = plan.loop.features.names
            changes.append(ModelChange(model=plan.name, act="start", added=names, stored=stored))
            continue
        found = _refused(plan, record)
        refused += found
        if not found and (change := _model(plan, record, stored)) is not None:
            (left_over if change.is_left_over else changes).append(change)
    declared = {plan.name for plan in plans}
    for name, record in recorded.models.items():
        if name not in declared and record.retired_at is None and whole:
            gone = _gone(record, retire)
            if isinstance(gone, Refusal):
                refused.append(gone)
            else:
                changes.append(gone)
    refused += _misnamed(retire, declared, recorded)
    if changes or datasets or not recorded.is_changing:
        changes += left_over
    return Plan(
        models=tuple(changes),
        datasets=tuple(datasets),
        refused=tuple(refused),
        unproved=tuple(_unproved(plans)),
    )


def _unproved(plans: Sequence[ModelPlan]) -> Iterator[str]:
    for plan in plans:
        for spec in plan.loop.requirements:
            if not spec.proofs:
                held = ", and holds every candidate back" if spec.required else ""
                yield f"{plan.name}: requirement {spec.id} has no proof{held}; add proved_by=[...] to it"


def _model(plan: ModelPlan, record: RecordedModel, stored: Stored | None) -> ModelChange | None:
    names = plan.loop.features.names
    added = tuple(name for name in names if name not in record.declared)
    gone = [name for name in record.declared if name not in names]
    computed = {*record.declared, *record.kept} - set(record.awaited)
    removed = tuple(Kept(name, _readers(record, name)) for name in gone)
    kept = tuple(
        name
        for name in dict.fromkeys((*record.kept, *gone))
        if name not in names and name not in record.awaited and _readers(record, name)
    )
    settings = settings_of(plan)
    before = {**LATER_SETTINGS, **record.settings} if record.settings else {}
    change = ModelChange(
        model=plan.name,
        act="start" if not record.started else "restore" if record.retired_at is not None else "change",
        added=added,
        backfill=tuple(name for name in names if name not in computed) if record.started else (),
        stored=stored if stored is None or not record.started else _counted(stored, record),
        removed=removed,
        kept=kept,
        released=tuple(name for name in record.kept if name not in kept and name not in names),
        settings=tuple(
            Setting(name, was, settings.get(name, "none"))
            for name, was in before.items()
            if was != settings.get(name, "none")
        ),
    )
    nothing = change.is_left_over and not change.backfill
    return None if nothing and change.act == "change" else change


def _counted(stored: Stored, record: RecordedModel) -> Stored:
    return msgspec.structs.replace(stored, n_requests=record.n_requests)


def _readers(record: RecordedModel, feature: str) -> tuple[int, ...]:
    readers = {feature, *(name for name, known in record.known.items() if feature in known.reads)}
    return tuple(sorted(version for version, reads in record.in_force.items() if readers & reads))


def _refused(plan: ModelPlan, record: RecordedModel) -> list[Refusal]:
    """Return what makes a declaration that of another model, or a feature another one."""
    hint = "declare a new model under another name; both can answer beside each other"
    found: list[Refusal] = []

    def refuse(problem: str, hint: str = hint) -> None:
        found.append(Refusal(kind="model", name=plan.name, problem=problem, hint=hint))

    if record.task != plan.outcome.task.spec:
        refuse(f"is of another task: {record.task.name} -> {plan.outcome.task.spec.name}")
    outcome = plan.loop.definition()[0]
    if record.definition and record.definition[0] != outcome:
        before, after = (" known at ".join(text[1:]) for text in (record.definition[0], outcome))
        refuse(f"predicts another outcome: {before} -> {after}")
    if record.requests is not None and record.requests != plan.schema.requests.name:
        refuse(f"has requests of another dataset: {record.requests} -> {plan.schema.requests.name}")
    for feature in definitions_of(plan.loop.features):
        known = record.known.get(feature.name)
        if known is not None and not known.is_same(feature):
            problem = f"is defined otherwise: {known.line()} -> {feature.line()}"
            other = "give it another name; both can then be computed beside each other"
            found.append(Refusal(kind="feature", name=feature.name, problem=problem, hint=other))
    names = plan.loop.features.names
    for name in (*record.kept, *record.declared):
        known = record.known.get(name)
        if name not in names and _readers(record, name) and not (known and known.can_be_rebuilt):
            problem = "cannot be built again once it is not declared, and a version in force reads it"
            other = "keep it until another version is in force, or run varv up once as it was declared before"
            found.append(Refusal(kind="feature", name=name, problem=problem, hint=other))
    return found


def _gone(record: RecordedModel, retire: Retirement) -> ModelChange | Refusal:
    def refusal(problem: str, hint: str) -> Refusal:
        return Refusal(kind="model", name=record.model, problem=problem, hint=hint)

    if record.model not in retire.models:
        again = f"declare it again, or retire it with --retire {record.model}"
        return refusal("is not declared any more", again)
    if record.busy:
        return refusal(
            f"cannot be retired now: {record.busy}", "wait until it has ended, or give it up first"
        )
    if record.n_requests_day and not retire.despite_traffic:
        problem = f"has answered {count(record.n_requests_day)} requests in the last day"
        return refusal(problem, "send its callers elsewhere, or add --despite-traffic")
    return ModelChange(model=record.model, act="retire", n_requests_day=record.n_requests_day)


def _misnamed(retire: Retirement, declared: set[ModelName], recorded: Recorded) -> list[Refusal]:
    found = []
    for name in retire.models:
        model = ModelName(name)
        if model in declared:
            hint = "remove it from the file first"
            found.append(Refusal(kind="model", name=name[:80], problem="is still declared", hint=hint))
        elif model not in recorded.models:
            hint = f"the models are {', '.join(recorded.models) or 'none'}"
            found.append(Refusal(kind="model", name=name[:80], problem="is not of this home", hint=hint))
    return found


def _datasets(plans: Sequence[ModelPlan], recorded: Recorded) -> tuple[list[DatasetChange], list[Refusal]]:
    changes: list[DatasetChange] = []
    refused: list[Refusal] = []
    for dataset in datasets_of(plans):
        before = recorded.datasets.get(dataset.name)
        if before is None:
            columns = tuple(dataset.types())
            changes.append(DatasetChange(dataset=dataset.name, act="register", columns=columns))
        elif problem := misfit(before, dataset):
            hint = "declare a new dataset under another name, for a new model"
            refused.append(Refusal(kind="dataset", name=dataset.name, problem=problem, hint=hint))
        elif gained := tuple(name for name in dataset.types() if name not in before.types):
            changes.append(DatasetChange(dataset=dataset.name, act="widen", columns=gained))
        expected = recorded.expected.get(dataset.name, ())
        if before is not None and not is_as_before(expected, dataset.expect):
            changes.append(_expected_otherwise(dataset, expected))
    return changes, refused


def _expected_otherwise(dataset: Dataset, before: Sequence[Expectation]) -> DatasetChange:
    new = [one for one in dataset.expect if not any(map(one.is_same, before))]
    named = {rule_reason(one) for one in dataset.expect}
    gone = tuple(rule_reason(one) for one in before if rule_reason(one) not in named)
    columns = tuple(f"{rule_reason(one)}: {in_words(one)}" for one in new)
    return DatasetChange(dataset=dataset.name, act="expect", columns=columns, gone=gone)
