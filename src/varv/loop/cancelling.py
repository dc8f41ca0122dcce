"""Whether a training is still wanted: somebody may ask to end it while it runs, or while its server is down.

The wish is an event of the loop, so it outlives the server; handlers hand `Wish` to what runs the fits.
"""

from __future__ import annotations

from varv.kernel.clock import wall_seconds
from varv.kernel.errors import FailedPrecondition
from varv.kernel.ids import ModelName, Version
from varv.kernel.views import Views
from varv.loop.views import LoopView

LOOK_EVERY_S = 0.25
"""An executor asks twenty times a second, which the ledger need not be read for."""


class Wish:
    """Whether somebody asked to end the training of a version.

    Parameters
    ----------
    views
        Of the home.
    """

    def __init__(self, views: Views, model: ModelName, version: Version) -> None:
        self._views = views
        self._model = model
        self._version = version
        self._looked_at = -LOOK_EVERY_S
        self._is_set = False

    def is_set(self) -> bool:
        """Return whether the training is to end, as of a moment ago."""
        now = wall_seconds()
        if not self._is_set and now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            self._is_set = self.refusal() is not None
        return self._is_set

    def refusal(self) -> FailedPrecondition | None:
        """Return the error of a training that somebody asked to end, or None."""
        with self._views.reading(LoopView) as loops:
            record = loops.loops.get(self._model)
            attempt = record.attempts.get(self._version) if record else None
            asked = attempt.cancelled if attempt else None
        if asked is None:
            return None
        problem = f"was cancelled by {asked.because}"
        hint = f"ask for another with varv retrain {self._model}"
        return FailedPrecondition("training", f"{self._model} v{self._version}", problem, hint=hint)
