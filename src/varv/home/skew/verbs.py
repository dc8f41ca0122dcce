"""The use cases of skew: what is on record of it, and a comparison that is made now."""

from __future__ import annotations

import msgspec

from varv.features.skew import FeatureSkew
from varv.home.skew.desk import FeatureDesk
from varv.home.skew.views import SkewView
from varv.kernel.clock import DAY, Instant, instant, iso
from varv.kernel.errors import InvalidInput
from varv.kernel.verbs import READ, verb
from varv.monitoring.model import Window

MOST_DAYS = 35
LONGEST = 31 * DAY
"""Of a comparison."""


class SkewRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a model, the only one of the home if it is left out, and how many days to count together."""

    model: str = ""
    days: int = 7


class CompareRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Chooses requests of a model, the only one of the home if it is left out: those made from `since` on and
    before `until`, ISO 8601; of them a share, by default 1 % or 1,000 a day.
    """

    model: str = ""
    since: str
    until: str
    share: float | None = None


class SkewReport(msgspec.Struct, frozen=True, kw_only=True):
    """The served values of a model's features by class; `left_out` are features that cannot be compared, each
    with the reason.
    """

    model: str
    since: str
    until: str
    n_compared: int
    """Requests."""
    features: tuple[FeatureSkew, ...]
    left_out: dict[str, str]
    alarms: tuple[str, ...] = ()
    """Features whose alarm is open."""


@verb("features.skew", needs=READ)
def skew(desk: FeatureDesk, asked: SkewRequest) -> SkewReport:
    """Show how features were served, against what they are when computed anew, as it is on record.

    Raises
    ------
    InvalidInput
        If so many days are not kept.
    """
    if not 1 <= asked.days <= MOST_DAYS:
        raise InvalidInput("days", asked.days, "are not kept", hint=f"choose 1 to {MOST_DAYS}")
    model, now = desk.records.model(asked.model), desk.records.clock.now()
    with desk.records.views.reading(SkewView) as view:
        held = view.of(model)
        first = max(held.through or now, Instant(0)) // DAY * DAY - (asked.days - 1) * DAY
        return SkewReport(
            model=model,
            since=iso(first),
            until=iso(held.through or now),
            n_compared=sum(n for day, n in held.n_compared.items() if day >= first),
            features=tuple(held.since(first).values()),
            left_out=dict(held.left_out),
            alarms=desk.alarms(model),
        )


@verb("features.compare", needs=READ)
def compare_now(desk: FeatureDesk, asked: CompareRequest) -> SkewReport:
    """Compare served features with what they are when computed anew, now; nothing is put on record.

    Raises
    ------
    InvalidInput
        If the window is empty or longer than 31 days, or the share is none.
    """
    model = desk.records.model(asked.model)
    window = Window(instant(asked.since), instant(asked.until))
    if not window.start < window.end <= window.start + LONGEST:
        raise InvalidInput("window", asked.since, "is empty or longer than 31 days", until=asked.until)
    if asked.share is not None and not 0 < asked.share <= 1:
        raise InvalidInput("share", asked.share, "is not above 0 and up to 1")
    found = desk.measuring.measure(model, window, share=asked.share)
    return SkewReport(
        model=model,
        since=iso(window.start),
        until=iso(window.end),
        n_compared=0 if found is None else found.n_compared,
        features=() if found is None else found.features,
        left_out={} if found is None else found.left_out,
        alarms=desk.alarms(model),
    )
