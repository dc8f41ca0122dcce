"""The commands that the loop gives."""

from __future__ import annotations

from typing import ClassVar

from varv.kernel.clock import Instant
from varv.kernel.ids import ModelName, Version
from varv.kernel.sagas import Command, command
from varv.loop.model import Offer, PlantedFault


@command("loop.train_candidate")
class TrainCandidate(Command, frozen=True):
    """Train a version on what is known at `cutoff`, and register it."""

    partition: ClassVar[str] = "training"

    model: ModelName
    version: Version
    cutoff: Instant
    seed: int
    planted: PlantedFault | None = None
    offer: Offer | None = None


@command("loop.judge_candidate")
class JudgeCandidate(Command, frozen=True):
    """Hold a registered candidate against the gates."""

    model: ModelName
    version: Version
    champion: Version | None


@command("loop.measure_day")
class Measure(Command, frozen=True):
    """Measure the windows that end with `day`, which is mature by now, and count the rows with an outcome."""

    model: ModelName
    day: Instant


@command("loop.gather_evidence")
class GatherEvidence(Command, frozen=True):
    """Tell a rollout what the outcomes of requests made in [since, through), all mature, say.

    `former` is the version that a promoted one is compared with in its probation; None before the promotion.
    """

    model: ModelName
    version: Version
    since: Instant
    through: Instant
    former: Version | None = None


@command("loop.set_reference")
class SetReference(Command, frozen=True):
    """Let the monitors compare with a new champion's training rows."""

    model: ModelName
    version: Version
