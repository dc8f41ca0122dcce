"""The nouns of a change: what is on record of a home, and what a declaration will do to it, as data.

`project.changes` compares; ledgers keep a `Plan` whole, so that whoever reads one sees what was decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from varv.data.contracts.model import Expectation
from varv.data.model import DatasetRegistered
from varv.features import FeatureDefinition
from varv.kernel.clock import Instant, iso
from varv.kernel.ids import DatasetName, ModelName
from varv.kernel.wording import count
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
    expected: Mapping[DatasetName, tuple[Expectation, ...]] = field(default_factory=dict)
    """What is expected of rows, beside what is learned."""
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
    """A dataset that is new, gains columns that are null in all rows of before, or is expected otherwise."""

    dataset: DatasetName
    act: Literal["register", "widen", "expect"]
    columns: tuple[str, ...]
    """Of ``"expect"``: the rules that are new or changed, in words."""
    gone: tuple[str, ...] = ()
    """Rules that are not expected any more."""

    def line(self) -> str:
        """Return it in words."""
        if self.act == "register":
            return f"new dataset, {len(self.columns)} columns, ingested from its source"
        if self.act == "expect":
            more = f"expects {', '.join(self.columns)}" if self.columns else ""
            gone = f"expects no more {', '.join(self.gone)}" if self.gone else ""
            return "; ".join(filter(None, (more, gone))) or "expects the same in another order"
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
    unproved: tuple[str, ...] = ()
    """Requirements that nothing is declared to prove, in words; they change nothing."""

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
            *self.unproved,
        )


class Retirement(msgspec.Struct, frozen=True, kw_only=True):
    """Which models may be retired, and whether also those that answered requests in the last day."""

    models: tuple[str, ...] = ()
    despite_traffic: bool = False


def _when(versions: tuple[int, ...]) -> str:
    if not versions:
        return ": no version in force reads it"
    named = " and ".join(f"v{version}" for version in versions)
    if len(versions) == 1:
        return f" once {named} is not in force any more; it reads it"
    return f" once {named} are not in force any more; they read it"
