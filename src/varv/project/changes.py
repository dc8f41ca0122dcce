"""What a changed declaration will do to a home, found by comparing it with what is on record.

Pure: what is on record comes in as values (`Recorded`), what is to be done goes out as one (`Plan`), which
`varv plan` shows and a change carries out. A change that would make the record say something untrue is
refused, with what to do instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from varv.data.model import DatasetRegistered
from varv.data.shape import misfit
from varv.features import FeatureDefinition, definitions_of
from varv.kernel.clock import Instant, iso
from varv.kernel.ids import DatasetName, ModelName
from varv.kernel.wording import count
from varv.project.plan import ModelPlan, datasets_of
from varv.project.wording import settings_of
from varv.tasks import TaskSpec


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """Stored requests: how many, and over what span."""

    n_requests: int
    since: Instant | None = None
    until: Instant | None = None

    def line(self) -> str:
        """Return it in words."""
        if self.since is None or self.until is None:
            return f"{count(self.n_requests)} stored requests"
        return f"{count(self.n_requests)} stored requests, {iso(self.since)[:10]} to {iso(self.until)[:10]}"


@dataclass(frozen=True, kw_only=True)
class RecordedModel:
    """What is on record of one model."""

    model: ModelName
    requests: DatasetName | None
    """Its requests' dataset; None in a home of before that was kept."""
    definition: tuple[tuple[str, ...], ...]
    task: TaskSpec
    settings: Mapping[str, str]
    """In words; of a home of before they were kept, those of the policy."""
    declared: tuple[str, ...]
    """Names of the features that are declared."""
    known: Mapping[str, FeatureDefinition]
    """Every feature that was ever declared."""
    kept: tuple[str, ...] = ()
    awaited: tuple[str, ...] = ()
    in_force: Mapping[int, frozenset[str]] = field(default_factory=dict)
    """The features that each version in force reads."""
    started: bool = True
    retired_at: Instant | None = None
    busy: str = ""
    """What is under way, if anything is that must end before the model can be retired."""
    n_requests: int = 0
    n_requests_day: int = 0


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What is on record of a home."""

    models: Mapping[ModelName, RecordedModel] = field(default_factory=dict)
    datasets: Mapping[DatasetName, DatasetRegistered] = field(default_factory=dict)
    stored: Mapping[DatasetName, Stored] = field(default_factory=dict)
    """The base rows of each dataset."""
    is_changing: bool = False
    """Whether a change is open, which does what it has left to do."""


class Setting(msgspec.Struct, frozen=True):
    """A setting that changes, in words."""

    name: str
    before: str
    after: str


class Kept(msgspec.Struct, frozen=True):
    """A feature that is declared no more, and the versions in force that read it."""

    feature: str
    versions: tuple[int, ...]


class ModelChange(msgspec.Struct, frozen=True, kw_only=True):
    """What changes of one model."""

    model: ModelName
    act: Literal["start", "change", "restore", "retire"]
    added: tuple[str, ...] = ()
    """Features that are new."""
    backfill: tuple[str, ...] = ()
    """Features that are computed for requests that were stored without them."""
    stored: Stored | None = None
    removed: tuple[Kept, ...] = ()
    kept: tuple[str, ...] = ()
    """All features that are computed for versions in force, though they are not declared."""
    released: tuple[str, ...] = ()
    """Features that were kept until now."""
    settings: tuple[Setting, ...] = ()
    n_requests_day: int = 0

    @property
    def is_left_over(self) -> bool:
        """Whether all of it is what an earlier change has not done yet."""
        anew = self.added if self.act != "start" else ()
        return self.act in ("start", "change") and not (
            anew or self.removed or self.released or self.settings
        )

    @property
    def changes_features(self) -> bool:
        """Whether what is trained next reads something else."""
        return bool(self.added or self.removed or self.backfill)

    def lines(self) -> Iterator[str]:
        """Yield what changes, in words."""
        if self.act == "retire":
            n_requests = count(self.n_requests_day)
            yield f"retired: it answered {n_requests} requests in the last day; its data stays"
            return
        if self.act == "start":
            rows = self.stored.line() if self.stored else "no stored requests"
            yield f"new model, first trained from {rows}"
        elif self.act == "restore":
            yield "declared again: its champion answers, and its loop goes on"
        for name in self.added if self.act != "start" else ():
            backfilled = name in self.backfill and self.stored is not None
            yield f"new feature {name}" + (
                f", computed for {self.stored.line()}" if backfilled and self.stored else ""
            )
        late = [name for name in self.backfill if name not in self.added]
        if late and self.stored is not None and self.act != "start":
            yield f"{', '.join(late)} still to be computed for {self.stored.line()}"
        for one in self.removed:
            yield f"feature {one.feature} goes{_when(one.versions)}"
        for name in self.released:
            yield f"feature {name} goes: no version in force reads it any more"
        for setting in self.settings:
            yield f"{setting.name}: {setting.before} -> {setting.after}"
        if self.act == "change" and self.changes_features:
            yield "a version is trained on the changed features, and rolled out like any"


class DatasetChange(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset that is new, or gains columns that are null in all rows of before."""

    dataset: DatasetName
    act: Literal["register", "widen"]
    columns: tuple[str, ...]

    def line(self) -> str:
        """Return it in words."""
        if self.act == "register":
            return f"new dataset, {len(self.columns)} columns, ingested from its source"
        more = "columns" if len(self.columns) > 1 else "column"
        return f"gains the {more} {', '.join(self.columns)}, null in all rows stored before"


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A change that is not carried out, and what to do instead."""

    kind: str
    name: str
    problem: str
    hint: str

    def line(self) -> str:
        """Return it in words."""
        return f"{self.kind} {self.name!r} {self.problem}; {self.hint}"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a declaration will do to a home."""

    models: tuple[ModelChange, ...] = ()
    datasets: tuple[DatasetChange, ...] = ()
    refused: tuple[Refusal, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.models or self.datasets or self.refused)

    def lines(self) -> tuple[str, ...]:
        """Return everything in words, a line a change."""
        return (
            *(f"{one.dataset}: {one.line()}" for one in self.datasets),
            *(f"{one.model}: {line}" for one in self.models for line in one.lines()),
            *(f"refused: {one.line()}" for one in self.refused),
        )


class Retirement(msgspec.Struct, frozen=True, kw_only=True):
    """Which models may be retired, and whether also those that answered requests in the last day."""

    models: tuple[str, ...] = ()
    despite_traffic: bool = False


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
    return Plan(models=tuple(changes), datasets=tuple(datasets), refused=tuple(refused))


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
            Setting(name, before, settings.get(name, "none"))
            for name, before in record.settings.items()
            if before != settings.get(name, "none")
        ),
    )
    nothing = change.is_left_over and not change.backfill
    return None if nothing and change.act == "change" else change


def _counted(stored: Stored, record: RecordedModel) -> Stored:
    return msgspec.structs.replace(stored, n_requests=record.n_requests)


def _readers(record: RecordedModel, feature: str) -> tuple[int, ...]:
    return tuple(sorted(version for version, reads in record.in_force.items() if feature in reads))


def _when(versions: tuple[int, ...]) -> str:
    if not versions:
        return ": no version in force reads it"
    named = " and ".join(f"v{version}" for version in versions)
    if len(versions) == 1:
        return f" once {named} is not in force any more; it reads it"
    return f" once {named} are not in force any more; they read it"


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
    return changes, refused
