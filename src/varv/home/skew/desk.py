"""What the use cases of served features work on."""

from __future__ import annotations

from dataclasses import dataclass

from varv.features.skew import SKEW
from varv.home.records import Records
from varv.home.skew.measuring import Measuring
from varv.kernel.ids import ModelName
from varv.monitoring.views import MonitoringView


@dataclass(frozen=True, kw_only=True)
class FeatureDesk:
    """What looks at served features.

    Parameters
    ----------
    records
        Of the home.
    measuring
        Compares.
    """

    records: Records
    measuring: Measuring

    def alarms(self, model: ModelName) -> tuple[str, ...]:
        """Return the features whose alarm of skew is open."""
        with self.records.views.reading(MonitoringView) as view:
            return tuple(one.raised.subject for one in view.open_alarms(model) if one.raised.kind == SKEW)
