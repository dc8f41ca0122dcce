"""The read model of monitoring: series of windows, the drift matrix, open alarms and their history."""

from __future__ import annotations

import msgspec

from varv.kernel.clock import Instant
from varv.kernel.codec import Event
from varv.kernel.ids import ModelName, Seq, Version
from varv.kernel.ledger import Entry
from varv.monitoring.model import (
    CHAMPION,
    AlarmCleared,
    AlarmRaised,
    DriftMeasured,
    FeatureDrift,
    OffsetAllowed,
    PerformanceMeasured,
    ReferenceSet,
    Window,
)


class Alarm(msgspec.Struct, frozen=True):
    """One alarm from its raising to its clearing; `seq` is the entry that raised it."""

    seq: Seq
    raised: AlarmRaised
    raised_at: Instant
    cleared_at: Instant | None = None
    cleared_because: str = ""


class DriftMatrix(msgspec.Struct, frozen=True):
    """Features by windows, oldest first; `cells[i][j]` is feature i in window j, None if not measured."""

    windows: tuple[Window, ...]
    features: tuple[str, ...]
    cells: tuple[tuple[FeatureDrift | None, ...], ...]


class MonitoringView(msgspec.Struct):
    """What has been measured, and which alarms came of it; folded from the ledger."""

    performance: dict[tuple[ModelName, Version], dict[Window, PerformanceMeasured]] = {}
    drifts: dict[ModelName, dict[Window, DriftMeasured]] = {}
    measured_in: dict[tuple[ModelName, Version], int] = {}
    """By version, the entry of what was measured of it last."""
    drift_measured_in: dict[tuple[ModelName, Version], int] = {}
    raised: dict[ModelName, list[Alarm]] = {}
    champions: dict[ModelName, Version] = {}
    """The version of each model that its monitor watches."""
    allowed: dict[ModelName, list[OffsetAllowed]] = {}

    def apply(self, entry: Entry, event: Event) -> None:
        """Take in the next entry; measurements stated and told are one."""
        match event:
            case PerformanceMeasured():
                self.performance.setdefault((event.model, event.version), {})[event.window] = event
                self.measured_in[event.model, event.version] = entry.seq
            case DriftMeasured():
                self.drifts.setdefault(event.model, {})[event.window] = event
                self.drift_measured_in[event.model, event.version] = entry.seq
            case OffsetAllowed():
                self.allowed.setdefault(event.model, []).append(event)
            case ReferenceSet():
                self.champions[event.model] = event.version
            # A raised alarm is stated once and told to the loop once; the statement is the one that counts.
            case AlarmRaised() if entry.stream.startswith("alarms/"):
                self.raised.setdefault(event.model, []).append(Alarm(Seq(entry.seq), event, entry.at))
            case AlarmCleared():
                self._clear(event, entry.at)
            case _:
                pass

    def models(self) -> list[ModelName]:
        """Return the models that are watched, by name."""
        return sorted(self.champions)

    def watched(self, model: ModelName) -> Version | None:
        """Return the version that the monitor of `model` watches."""
        return self.champions.get(model)

    def versions(self, model: ModelName) -> list[Version]:
        """Return the versions of `model` that have been measured, in order."""
        return sorted(version for name, version in self.performance if name == model)

    def series(self, model: ModelName, version: Version) -> list[PerformanceMeasured]:
        """Return the measured windows of one version, oldest first."""
        found = self.performance.get((model, version), {})
        return [found[window] for window in sorted(found)]

    def measured(
        self, model: ModelName, since: Instant | None = None, until: Instant | None = None
    ) -> list[PerformanceMeasured]:
        """Return what champions of `model` showed in the windows that begin in [since, until), oldest first.

        On the day of a promotion two versions were champion; each is measured on its own requests.
        """
        found = [
            one
            for (name, _), series in self.performance.items()
            for one in series.values()
            if name == model
            and one.role == CHAMPION
            and (since is None or one.window.start >= since)
            and (until is None or one.window.start < until)
        ]
        return sorted(found, key=lambda one: (one.window, one.version))

    def drift(self, model: ModelName) -> DriftMatrix:
        """Return the drift of every feature in every window, each against the version watched at the time."""
        found = self.drifts.get(model, {})
        windows = tuple(sorted(found))
        columns = [{one.name: one for one in found[window].features} for window in windows]
        names = tuple(dict.fromkeys(name for column in columns for name in column))
        return DriftMatrix(
            windows, names, tuple(tuple(column.get(name) for column in columns) for name in names)
        )

    def offsets(self, model: ModelName) -> list[OffsetAllowed]:
        """Return what versions of `model` were off by when they were approved, oldest first."""
        return list(self.allowed.get(model, ()))

    def alarms(self, model: ModelName) -> list[Alarm]:
        """Return every alarm of `model`, newest first."""
        return self.raised.get(model, [])[::-1]

    def open_alarms(self, model: ModelName) -> list[Alarm]:
        """Return the alarms of `model` that have not been cleared, newest first."""
        return [one for one in self.alarms(model) if one.cleared_at is None]

    def _clear(self, event: AlarmCleared, at: Instant) -> None:
        alarms = self.raised.get(event.model, [])
        for index, one in enumerate(alarms):
            same = (one.raised.version, one.raised.kind, one.raised.subject) == (
                event.version,
                event.kind,
                event.subject,
            )
            if same and one.cleared_at is None:
                alarms[index] = msgspec.structs.replace(one, cleared_at=at, cleared_because=event.reason)
