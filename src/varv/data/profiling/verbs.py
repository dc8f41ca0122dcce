"""The use cases of profiles: look at a version, compare two, and judge a dataset by its own past."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from varv.data.dataset import Dataset, part_named
from varv.data.profiling.keeping import Profiles
from varv.data.profiling.model import AnomalyCleared, AnomalyRaised
from varv.data.profiling.watching import Watch, alarms
from varv.data.versioning.references import parse_reference
from varv.data.versioning.verbs import VersionsDesk
from varv.kernel.clock import HOUR, Instant, duration, instant
from varv.kernel.errors import InvalidInput
from varv.kernel.sagas import Fact
from varv.kernel.verbs import EXPORT, OPERATE, verb
from varv.profiles import Profile
from varv.profiles.anomalies import Anomaly, Judged
from varv.profiles.difference import ProfileDifference, profile_difference
from varv.profiles.reading import ProfileRead, read


class ProfileRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a version of a dataset or of one of its parts, ``flights/arrived_at@12``; one that it is compared
    with, if any; the column that others are to tell about; and windows of time, ``2013-07-01/2013-08-01``, of
    both, if not all rows are meant.
    """

    dataset: str
    against: str = ""
    outcome: str = ""
    window: str = ""
    against_window: str = ""
    """Without `against`, of the same version."""


class WatchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a dataset or one of its parts, how long a window is, and the mean time between false alarms over
    all columns; says who asks.
    """

    dataset: str
    every: str = "1d"
    false_alarm_every: str = "365d"
    by: str = "operator"


class Profiled(msgspec.Struct, frozen=True, kw_only=True):
    """The profile of a version in numbers, and how it differs from another one if that was asked for."""

    dataset: str
    """Or the model, of the rows that its version was trained on."""
    part: str
    """Nothing for a model."""
    version: int
    profile: ProfileRead
    window: str = ""
    against: str = ""
    difference: ProfileDifference | None = None


class WatchedDataset(msgspec.Struct, frozen=True, kw_only=True):
    """What a dataset's own past says of it: windows that were judged, open alarms, how many this call
    put on record, and for how many hours nothing came, against the bound; None while too little is known.
    """

    dataset: str
    part: str
    n_windows: int
    open: tuple[Anomaly, ...]
    n_raised: int
    n_cleared: int
    hours_since: float | None
    hours_usual: float | None
    is_late: bool


@verb("dataset.profile", needs=EXPORT)
def profile_dataset(desk: VersionsDesk, request: ProfileRequest) -> Profiled:
    """Profile a version of a dataset: counts, moments, quantiles, frequent values, and what moved since
    another.
    """
    name, part, version, profile = _profile(desk, request.dataset, request.window)
    difference = None
    against = request.against or (str(version) if request.against_window else "")
    if against:
        given = against if "@" in against else f"{name}/{part}@{against}"
        difference = profile_difference(_profile(desk, given, request.against_window)[3], profile)
    return Profiled(
        dataset=name,
        part=part,
        version=version,
        profile=read(profile, outcome=request.outcome),
        window=request.window,
        against=", ".join(filter(None, (request.against, request.against_window))),
        difference=difference,
    )


def _profile(desk: VersionsDesk, text: str, window: str) -> tuple[str, str, int, Profile]:
    place, mark, given = text.partition("@")
    dataset, part = _part(desk, place)
    version = desk.version(parse_reference(f"{dataset.name}{mark}{given}"))
    profiles = Profiles(desk.datasets, desk.home)
    if not window:
        return dataset.name, part, version, profiles.of_version(dataset, part, version)
    since, until = _window(window)
    return dataset.name, part, version, profiles.of_window(dataset, part, version, since=since, until=until)


def _window(text: str) -> tuple[Instant, Instant]:
    first, mark, last = text.partition("/")
    if not mark:
        hint = "write when it begins and ends, 2013-07-01/2013-08-01"
        raise InvalidInput("window", text[:80], "has no end", hint=hint)
    since, until = instant(first), instant(last)
    if since >= until:
        raise InvalidInput("window", text[:80], "ends before it begins", hint="write the earlier time first")
    return since, until


def _part(desk: VersionsDesk, place: str) -> tuple[Dataset, str]:
    known = desk.datasets.registered(place.partition("/")[0])
    return part_named({known.name: known}, place)


@verb("dataset.watch", needs=OPERATE)
def watch_dataset(desk: VersionsDesk, request: WatchRequest) -> WatchedDataset:
    """Judge the rows of a dataset by its own past, and put on record what is unlike it."""
    dataset, part = _part(desk, request.dataset)
    every, rate = duration(request.every), duration(request.false_alarm_every)
    if every < HOUR:
        raise InvalidInput("anomalies", "every", "is shorter than an hour", hint="write 1h, 1d or 7d")
    watch = Watch(desk.datasets, Profiles(desk.datasets, desk.home), desk.ledger, desk.home)
    found = watch.judged(dataset, part, every=every, false_alarm_every=rate)
    now = desk.now()
    fresh = watch.freshness(dataset, part, now)
    events = alarms(dataset, part, found, every=every, false_alarm_every=rate)
    if fresh is not None:
        events += watch.late(dataset, part, fresh, now, rate)
    facts = watch.facts(dataset, part, events)
    desk.datasets.commit(facts)
    return WatchedDataset(
        dataset=dataset.name,
        part=part,
        n_windows=len(found),
        open=_open(found),
        n_raised=_n(facts, AnomalyRaised),
        n_cleared=_n(facts, AnomalyCleared),
        hours_since=None if fresh is None else fresh.age / HOUR,
        hours_usual=None if fresh is None or fresh.usual is None else fresh.usual / HOUR,
        is_late=fresh is not None and fresh.is_late,
    )


def _open(found: Sequence[Judged]) -> tuple[Anomaly, ...]:
    still: dict[tuple[str, str], Anomaly] = {}
    for window in found:
        for place in window.cleared:
            still.pop(place, None)
        still |= {(one.column, one.measure): one for one in window.raised}
    return tuple(still.values())


def _n(facts: list[Fact], kind: type) -> int:
    return sum(isinstance(fact.event, kind) for fact in facts)
