"""Monitoring: is the version that answers still as good as when it was approved?

Predictions whose outcomes have matured are measured a day at a time (`measure`); a saga turns the
measurements into alarms with a stated false-alarm rate (`rules`). Drift of a feature is a notice; only drift
that makes the predictions worse is an alarm.
"""

from varv.monitoring import monitor
from varv.monitoring.kinds import Measured, Monitor, Watch
from varv.monitoring.model import (
    AlarmCleared,
    AlarmRaised,
    DriftMeasured,
    FeatureDrift,
    OffsetAllowed,
    PerformanceMeasured,
    ReferenceSet,
    Window,
    monitor_id,
)
from varv.monitoring.plan import MonitorPlan

__all__ = [
    "AlarmCleared",
    "AlarmRaised",
    "DriftMeasured",
    "FeatureDrift",
    "Measured",
    "Monitor",
    "MonitorPlan",
    "OffsetAllowed",
    "PerformanceMeasured",
    "ReferenceSet",
    "Watch",
    "Window",
    "monitor",
    "monitor_id",
]
