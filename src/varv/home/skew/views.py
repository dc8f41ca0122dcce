"""Read model of skew: counts by day, and the evidence of each feature, which alarms rest on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from varv.features.skew import SKEW, FeatureSkew
from varv.home.skew.model import (
    CLEARS_AFTER,
    EVERY,
    FALSE_ALARM_EVERY,
    TOLERANCE,
    SkewMeasured,
)
from varv.kernel.clock import DAY, HOUR, Instant
from varv.kernel.codec import Event
from varv.kernel.ids import Version
from varv.kernel.ledger import Entry
from varv.kernel.sagas import Fact
from varv.monitoring.model import AlarmCleared, AlarmRaised, Window
from varv.stats.sequential import detector_logs, log_e_value

_DAYS_KEPT = 35


class Evidence(msgspec.Struct):
    """What speaks for wrong values of one feature."""

    logs: tuple[float, ...] = ()
    """Of `stats.sequential.detector_logs`; empty since the last alarm was cleared."""
    n_clean: int = 0
    """Hours in a row without a wrong value."""
    is_open: bool = False
    """Whether an alarm is."""

    def after(self, share_wrong: float) -> Evidence:
        """Return it after one more hour."""
        n_clean = 0 if share_wrong else self.n_clean + 1
        return Evidence(detector_logs(self.logs, share_wrong, TOLERANCE), n_clean, self.is_open)


class ModelSkew(msgspec.Struct):
    """What is known of the skew of one model."""

    days: dict[int, dict[str, FeatureSkew]] = {}
    """By the start of the day and feature."""
    n_compared: dict[int, int] = {}
    """Requests, by the start of the day."""
    evidence: dict[str, Evidence] = {}
    through: Instant = Instant(0)
    """The end of the last hour that was compared."""
    left_out: dict[str, str] = {}
    """Features that cannot be compared, each with the reason."""

    def since(self, start: int) -> dict[str, FeatureSkew]:
        """Return the counts of all days that begin from an instant on, by feature."""
        found: dict[str, FeatureSkew] = {}
        for day in sorted(self.days):
            for name, one in self.days[day].items() if day >= start else ():
                found[name] = found[name].plus(one) if name in found else one
        return found

    def latest(self, n_days: int = 7) -> list[FeatureSkew]:
        """Return the counts of each feature over the last days that were compared."""
        return list(self.since(max(self.days, default=0) - (n_days - 1) * DAY).values())


class SkewView(msgspec.Struct):
    """Skew by model; folded from the ledger."""

    models: dict[str, ModelSkew] = {}

    def apply(self, entry: Entry, event: Event) -> None:
        """Take in the next entry."""
        match event:
            case SkewMeasured():
                self._measured(event)
            case AlarmRaised() if event.kind == SKEW:
                self._evidence(event.model, event.subject).is_open = True
            case AlarmCleared() if event.kind == SKEW:
                self.models[event.model].evidence[event.subject] = Evidence()
            case _:
                pass

    def of(self, model: str) -> ModelSkew:
        """Return what is known of a model; nothing if none of its hours was compared."""
        return self.models.get(model) or ModelSkew()

    def _evidence(self, model: str, feature: str) -> Evidence:
        return self.models.setdefault(model, ModelSkew()).evidence.setdefault(feature, Evidence())

    def _measured(self, event: SkewMeasured) -> None:
        held = self.models.setdefault(event.model, ModelSkew())
        day = event.window.start - event.window.start % DAY
        of_day = held.days.setdefault(day, {})
        for one in event.features:
            of_day[one.name] = of_day[one.name].plus(one) if one.name in of_day else one
            held.evidence[one.name] = self._evidence(event.model, one.name).after(one.share_wrong)
        held.n_compared[day] = held.n_compared.get(day, 0) + event.n_compared
        held.through = max(held.through, event.window.end)
        held.left_out = event.left_out
        for old in [one for one in held.days if one < day - _DAYS_KEPT * DAY]:
            del held.days[old], held.n_compared[old]


def alarms(held: ModelSkew, event: SkewMeasured, version: Version) -> list[Fact]:
    """Return the alarms that an hour raises and clears.

    Parameters
    ----------
    held
        What was known before it.
    version
        The version that answers, which alarms are about.
    """
    limit = threshold(len(event.features))
    found: list[AlarmRaised | AlarmCleared] = []
    for one in event.features:
        after = held.evidence.get(one.name, Evidence()).after(one.share_wrong)
        evidence = log_e_value(after.logs)
        if not after.is_open and evidence >= limit and one.wrong:
            found.append(_raised(held, event, one, version, evidence))
        elif after.is_open and after.n_clean >= CLEARS_AFTER:
            found.append(
                AlarmCleared(
                    model=event.model,
                    version=version,
                    kind=SKEW,
                    subject=one.name,
                    reason="recovered",
                    window=event.window,
                )
            )
    return [Fact(f"alarms/{event.model}", one) for one in found]


def threshold(n_features: int) -> float:
    """Return the evidence from which an alarm is raised, in nats, if so many features are watched."""
    return math.log(n_features * FALSE_ALARM_EVERY / EVERY)


def _raised(
    held: ModelSkew, event: SkewMeasured, one: FeatureSkew, version: Version, evidence: float
) -> AlarmRaised:
    before = held.days.get(event.window.start - event.window.start % DAY, {}).get(one.name)
    day = one if before is None else before.plus(one)
    shown = {
        "wrong": day.wrong,
        "compared": day.n,
        "other_entity": day.other_entity,
        "missing": day.missing_online,
    }
    return AlarmRaised(
        model=event.model,
        version=version,
        kind=SKEW,
        subject=one.name,
        severity="critical",
        evidence={**{name: float(n) for name, n in shown.items()}, "evidence": evidence},
        window=event.window,
    )


def hours_due(through: Instant, now: Instant, settles: int, most: int = 24) -> Sequence[Window]:
    """Return the hours that are to be compared, the oldest first: those that ended `settles` before `now`,
    and no more than `most`.

    Examples
    --------
    >>> len(hours_due(Instant(0), Instant(5 * HOUR), HOUR))
    4
    """
    last = (now - settles) // HOUR
    first = max(-(-through // HOUR), last - most)
    return [Window(Instant(hour * HOUR), Instant((hour + 1) * HOUR)) for hour in range(first, last)]
