"""Watches whether features go together as they did: once a day, over all pairs of a model.

What is compared is the last week with the four weeks before it (`health`). Days with a week in common are no
fresh evidence, so each look has the share of false alarms to itself that one in ten years leaves for a day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from varv.home.skew.desk import FeatureDesk
from varv.home.skew.health import CHANGED, RECENT_DAYS, CorrelationChange, changed_correlations
from varv.home.skew.model import CORRELATION, FALSE_ALARM_EVERY
from varv.kernel.clock import DAY, Instant
from varv.kernel.engine import Engine
from varv.kernel.errors import FailedPrecondition
from varv.kernel.ids import ModelName, Version
from varv.kernel.sagas import Fact
from varv.monitoring.model import AlarmCleared, AlarmRaised, Window
from varv.monitoring.views import MonitoringView
from varv.serving.views import RoutingView

SURE = DAY / FALSE_ALARM_EVERY
"""The p-value of all pairs together up to which an alarm is raised."""


class CorrelationWatch:
    """Raises and clears alarms of correlations that changed. One thread uses it.

    Parameters
    ----------
    desk
        Reads what was served.
    engine
        Of the home.
    """

    def __init__(self, desk: FeatureDesk, engine: Engine) -> None:
        self._desk = desk
        self._engine = engine
        self._looked: dict[ModelName, int] = {}

    def beat(self, ends: Callable[[], bool] = lambda: False) -> None:
        """Look at every model once a day."""
        today = self._desk.records.clock.now() // DAY
        with self._desk.records.views.reading(RoutingView) as routing:
            models = [ModelName(name) for name in routing.tables]
        for model in models:
            if self._looked.get(model) != today and not ends():
                self._looked[model] = today
                self._look(model)

    def _look(self, model: ModelName) -> None:
        now = self._desk.records.clock.now()
        try:
            changes = changed_correlations(self._desk, model, now)
        except FailedPrecondition:
            return
        with self._desk.records.views.reading(MonitoringView) as view:
            version = view.watched(model) or Version(0)
            is_open = {
                one.raised.subject for one in view.open_alarms(model) if one.raised.kind == CORRELATION
            }
        facts = [Fact(f"alarms/{model}", one) for one in _alarms(model, version, changes, is_open, now)]
        if facts:
            self._engine.tell(facts=facts)


def _alarms(
    model: ModelName,
    version: Version,
    changes: dict[tuple[str, str], CorrelationChange],
    is_open: set[str],
    now: Instant,
) -> Iterator[AlarmRaised | AlarmCleared]:
    """Yield the alarms that a look raises and clears."""
    window = Window(Instant(now - RECENT_DAYS * DAY), now)
    found = {f"{one} with {other}": change for (one, other), change in changes.items()}
    for subject, change in found.items():
        if change.p_value <= SURE and subject not in is_open:
            yield AlarmRaised(
                model=model,
                version=version,
                kind=CORRELATION,
                subject=subject,
                severity="warning",
                evidence={"before": change.before, "after": change.after, "p_value": change.p_value},
                window=window,
            )
    for subject in sorted(is_open):
        # Where too few days are left to tell, an alarm stands.
        if subject in found and found[subject].p_value > CHANGED:
            yield AlarmCleared(
                model=model,
                version=version,
                kind=CORRELATION,
                subject=subject,
                reason="recovered",
                window=window,
            )
