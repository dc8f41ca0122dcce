"""Watches skew while a home is served: compares every hour once, puts it on record, and raises alarms.

An hour that could not be compared, since the server stood still, is made up for within a day.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from varv.home.skew.measuring import Measuring
from varv.home.skew.model import SETTLES, stream_of
from varv.home.skew.views import SkewView, alarms, hours_due
from varv.kernel.clock import Clock, Instant
from varv.kernel.engine import Engine
from varv.kernel.errors import VarvError
from varv.kernel.ids import ModelName, Version
from varv.kernel.observe import log
from varv.kernel.sagas import Fact
from varv.kernel.views import Views
from varv.monitoring.model import Window
from varv.monitoring.views import MonitoringView
from varv.serving.views import RoutingView

BEAT_S = 60.0
"""How often whoever serves a home looks whether an hour is due."""
_LOG = logging.getLogger(__name__)


class SkewWatch:
    """Compares hours as they become due. One thread uses it.

    Parameters
    ----------
    measuring
        Compares.
    engine, views, clock
        Of the home.
    """

    def __init__(self, measuring: Measuring, engine: Engine, views: Views, clock: Clock) -> None:
        self._measuring = measuring
        self._engine = engine
        self._views = views
        self._clock = clock
        self._looked: dict[ModelName, Instant] = {}

    def beat(self, ends: Callable[[], bool] = lambda: False) -> int:
        """Compare what is due, and return how many hours were.

        Parameters
        ----------
        ends
            Returns whether to leave the rest for another time.

        Raises
        ------
        StorageFull
            If the disk takes nothing more.
        """
        with self._views.reading(RoutingView) as routing:
            models = [ModelName(name) for name in routing.tables]
        due = ((model, window) for model in models for window in self._due(model))
        return sum(self._compare(model, window) for model, window in due if not ends())

    def _due(self, model: ModelName) -> list[Window]:
        with self._views.reading(SkewView) as view:
            through = max(view.of(model).through, self._looked.get(model, Instant(0)))
        return list(hours_due(through, self._clock.now(), SETTLES, most=24))

    def _compare(self, model: ModelName, window: Window) -> bool:
        try:
            event = self._measuring.measure(model, window)
        except VarvError as error:
            if error.retryable:
                raise
            # Nobody's answer depends on it; the next hour is compared all the same.
            log(_LOG, logging.WARNING, "skew.not_compared", model=model, why=str(error))
            event = None
        self._looked[model] = window.end
        if event is None or not event.features:
            return False
        with self._views.reading(SkewView) as view, self._views.reading(MonitoringView) as monitoring:
            raised = alarms(view.of(model), event, monitoring.watched(model) or Version(0))
        self._engine.tell(facts=[Fact(stream_of(model), event), *raised])
        return True
