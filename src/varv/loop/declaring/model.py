"""Events of declarations: what is declared of a model from now on, and that one goes or comes back."""

from __future__ import annotations

import msgspec

from varv.features import FeatureDefinition
from varv.kernel.clock import Duration
from varv.kernel.codec import Digest, Event, event
from varv.kernel.ids import DatasetName, ModelName
from varv.kernel.wording import count
from varv.labels.policy import LabellingPolicy
from varv.loop.requirements import RequirementSpec
from varv.serving.policy import ServingPolicy


@event("loop.declared")
class Declared(Event, frozen=True, kw_only=True):
    """What is declared of a model from now on, so that a changed declaration can be compared with it, and
    features that no declaration names any more can be built again.

    ``definition`` is as in `LoopStarted`; ``settings`` is everything else in words, by what it is about.
    ``added`` are features that earlier stored requests lack until they are computed for them; ``kept`` are
    features that are computed though they are not declared, since versions in force read them. ``serving`` is
    how it is served; ``fresh`` how long values of a view may be out of date, by the view.
    """

    model: ModelName
    declaration: Digest
    requests: DatasetName
    definition: tuple[tuple[str, ...], ...]
    features: tuple[FeatureDefinition, ...]
    unit: str | None = None
    settings: dict[str, str] = msgspec.field(default_factory=dict)
    added: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    serving: ServingPolicy = ServingPolicy()
    requirements: tuple[RequirementSpec, ...] = ()
    labelling: LabellingPolicy | None = None
    """Which requests people are asked to label; None for none."""
    fresh: dict[str, Duration] = msgspec.field(default_factory=dict)

    def line(self) -> str:
        """Return one line on what this event states."""
        added = f", new {', '.join(self.added)}" if self.added else ""
        kept = f", kept for versions in force {', '.join(self.kept)}" if self.kept else ""
        return f"{self.model} declares {count(len(self.features))} features{added}{kept}"


@event("loop.definition_changed")
class DefinitionChanged(Event, frozen=True, kw_only=True):
    """The declared features are others from now on, and stored requests have the new ones: what is trained
    next reads them.
    """

    model: ModelName
    added: tuple[str, ...]
    removed: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """What changed, in a few words."""
        parts = (("new", self.added), ("without", self.removed))
        return "; ".join(f"{word} {', '.join(names)}" for word, names in parts if names)

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"the features of {self.model} changed: {self.subject or 'nothing'}"


@event("loop.features_released")
class FeaturesReleased(Event, frozen=True, kw_only=True):
    """Features that are not declared any more are no longer computed: no version in force reads them."""

    model: ModelName
    features: tuple[str, ...]

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{', '.join(self.features)} of {self.model} go: no version in force reads them"


@event("loop.model_retired")
class ModelRetired(Event, frozen=True, kw_only=True):
    """A model is declared no more: its loop stands still, and its data stays. Declared again, it goes on.

    ``n_requests`` is how many requests it answered on the day before.
    """

    model: ModelName
    n_requests: int = 0

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{self.model} is retired; on its last day it answered {count(self.n_requests)} requests"


@event("loop.model_restored")
class ModelRestored(Event, frozen=True, kw_only=True):
    """A model that was retired is declared again: its champion answers, and its loop goes on."""

    model: ModelName

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{self.model} is declared again"
