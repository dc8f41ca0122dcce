"""How long what a model leaves behind is kept, as it is declared."""

from __future__ import annotations

from varv.kernel.clock import DAY, Duration, spoken
from varv.kernel.errors import InvalidDeclaration
from varv.kernel.ids import ModelName
from varv.project.arguments import declared_duration
from varv.rollout.plan import RolloutPlan
from varv.training import Train

MARGIN = Duration(7 * DAY)
"""Files are given up as a whole, and a training may begin days after what it is trained on."""


class Retention:
    """How long what a model leaves behind is kept.

    Parameters
    ----------
    predictions
        How long what it was asked and what it answered is stored, with the features of the time. Files whose
        requests are all older are removed, and the ledger says so. Datasets are not touched.

    Raises
    ------
    InvalidDeclaration
        If it is no duration.
    """

    def __init__(self, *, predictions: str) -> None:
        self.predictions = declared_duration("retention", "predictions", predictions)

    def require_enough(self, model: ModelName, train: Train, plan: RolloutPlan, mature: Duration) -> None:
        """Check that the loop never misses what it reads.

        Raises
        ------
        InvalidDeclaration
            If a training reads further back, or a rollout with its probation takes longer.
        """
        if train.window is None:
            hint = f'give the training a window that is kept: Train(..., window="{spoken(self.predictions)}")'
            problem = "keeps predictions for a while, and trains on all of them"
            raise InvalidDeclaration("model", model, problem, hint=hint)
        reach = train.window + train.origins * train.validate
        least = Duration(max(reach, plan.deadline + plan.probation) + mature + MARGIN)
        if self.predictions < least:
            hint = f"keep them for {spoken(least)} at least, or train on a shorter window"
            problem = f"keeps predictions for {spoken(self.predictions)} only, and reads further back"
            raise InvalidDeclaration("model", model, problem, hint=hint)
