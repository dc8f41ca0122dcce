"""Judging the windows of a part by those before it, and putting on record what is unlike them.

A window is judged once it is over: when a later one has rows. Its numbers are kept as they were first seen,
so what was raised is found again by whoever looks once more, and nothing is raised twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from varv.data.dataset import Dataset
from varv.data.profiling.keeping import FOLDER, Profiles
from varv.data.profiling.model import ROWS_LATE, AnomalyCleared, AnomalyRaised, anomalies_of
from varv.data.service import Datasets
from varv.kernel.blobs import write_atomically
from varv.kernel.clock import HOUR, Duration, Instant
from varv.kernel.codec import Event
from varv.kernel.errors import InvalidInput
from varv.kernel.faults import Faults
from varv.kernel.ledger import Ledger, entries_of
from varv.kernel.sagas import Fact
from varv.profiles import Scale, profile_of
from varv.profiles.anomalies import Freshness, Judged, Observed, freshness, judged, observed

MOST_WINDOWS = 20_000
_FORM = 1
_SAME = ("column", "measure", "start", "value", "usual", "low", "high", "n_earlier")
Alarm = AnomalyRaised | AnomalyCleared


def _never() -> bool:
    return False


class _Seen(msgspec.Struct):
    """What was seen of the windows of a part."""

    form: int
    scale: Scale
    windows: list[Observed]


class Watch:
    """What judges the parts of a home's datasets.

    Parameters
    ----------
    datasets, profiles, ledger
        Of the home.
    home
        The folder.
    """

    def __init__(self, datasets: Datasets, profiles: Profiles, ledger: Ledger, home: Path) -> None:
        self._datasets, self._profiles, self._ledger = datasets, profiles, ledger
        self._root = home / FOLDER

    def windows(
        self, dataset: Dataset, part: str, every: Duration, ends: Callable[[], bool] = _never
    ) -> list[Observed]:
        """Return the numbers of all windows that are over, as they were first seen.

        Parameters
        ----------
        ends
            Returns whether to leave the windows that were not read yet for another time.

        Raises
        ------
        InvalidInput
            If there would be more than 20,000.
        """
        extents = self._datasets.extents(dataset, part)
        first = min((one.first for one in extents if one.first is not None), default=None)
        last = max((one.last for one in extents if one.last is not None), default=None)
        if first is None or last is None:
            return []
        start = Instant(first // every * every)
        if (last - start) // every > MOST_WINDOWS:
            hint = f"choose a longer window; {MOST_WINDOWS} are allowed"
            raise InvalidInput("anomalies", dataset.name, "has too many windows", hint=hint)
        place = self._root / dataset.name / part / f"{every}.windows"
        seen = self._seen(place, dataset, part)
        if seen.windows:
            start = Instant(seen.windows[-1].start + every)
        new = list(self._observed(dataset, part, seen.scale, start, last, every, ends))
        if new:
            seen.windows += new
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(place, msgspec.msgpack.encode(seen), Faults())
        return seen.windows

    def _seen(self, place: Path, dataset: Dataset, part: str) -> _Seen:
        try:
            found = msgspec.msgpack.decode(place.read_bytes(), type=_Seen)
            if found.form == _FORM and not self._is_widened(found.scale, dataset, part):
                return found
        except (FileNotFoundError, msgspec.MsgspecError):
            pass
        version = self._datasets.version(dataset)
        extents = self._datasets.extents(dataset, part, upto=version)
        return _Seen(_FORM, self._profiles.scale(dataset, part, extents, version), [])

    def _is_widened(self, scale: Scale, dataset: Dataset, part: str) -> bool:
        return {one.name for one in scale.columns} != set(dataset.columns(part))

    def _observed(
        self,
        dataset: Dataset,
        part: str,
        scale: Scale,
        start: Instant,
        last: Instant,
        every: Duration,
        ends: Callable[[], bool],
    ) -> Iterator[Observed]:
        while start + every <= last and not ends():
            until = Instant(start + every)
            rows = self._datasets.read_part(dataset, part, since=start, until=until)
            yield observed(profile_of(rows, scale=scale), start)
            start = until

    def judged(
        self,
        dataset: Dataset,
        part: str,
        *,
        every: Duration,
        false_alarm_every: Duration,
        ends: Callable[[], bool] = _never,
    ) -> list[Judged]:
        """Return what each window that is over showed."""
        windows = self.windows(dataset, part, every, ends)
        return judged(windows, every=every, false_alarm_every=false_alarm_every)

    def freshness(self, dataset: Dataset, part: str, now: Instant) -> Freshness | None:
        """Return whether rows of a part are late, by when those before came; None if none ever did."""
        arrived = sorted(one.at for one in self._datasets.extents(dataset, part) if one.at)
        # Where rows come every few seconds, a night is a rarer gap than one in a thousand, and no news.
        arrivals = list({at // HOUR: at for at in arrived}.values())
        return freshness(arrivals, now) if arrivals else None

    def late(
        self, dataset: Dataset, part: str, found: Freshness, now: Instant, rate: Duration
    ) -> list[Alarm]:
        """Return the alarms on rows that do not come: the one that is over, and the one that begins."""
        last = Instant(now - found.age)
        waited: Instant | None = None
        for entry in entries_of(self._ledger, anomalies_of(dataset.name, part)):
            match entry.event:
                case AnomalyRaised() as event if event.measure == ROWS_LATE:
                    waited = event.start
                case AnomalyCleared() as event if event.measure == ROWS_LATE:
                    waited = None
                case _:
                    pass
        events: list[Alarm] = []
        if waited is not None and waited < last:
            events.append(
                AnomalyCleared(dataset=dataset.name, part=part, column="", measure=ROWS_LATE, start=last)
            )
        if found.is_late:
            events.append(late_alarm(dataset, part, found, now, rate))
        return events

    def facts(self, dataset: Dataset, part: str, events: Sequence[Alarm]) -> list[Fact]:
        """Return those of some alarms that are not on record, for the caller to commit."""
        stream = anomalies_of(dataset.name, part)
        length = self._ledger.head(stream).version
        known = {_identity(entry.event) for entry in entries_of(self._ledger, stream)}
        new = [one for one in events if _identity(one) not in known]
        # Whoever looks at the same time is told so, and does not raise the same alarm once more.
        return [Fact(stream, one, length if place == 0 else None) for place, one in enumerate(new)]


def _identity(event: Event) -> tuple[object, ...]:
    return tuple(getattr(event, name, "") for name in ("event_name", "column", "measure", "start"))


def alarms(
    dataset: Dataset, part: str, found: Sequence[Judged], *, every: Duration, false_alarm_every: Duration
) -> list[Alarm]:
    """Return the events of what judged windows showed, in their order."""
    events: list[Alarm] = []
    for window in found:
        events += [
            AnomalyRaised(
                dataset=dataset.name,
                part=part,
                every=every,
                false_alarm_every=false_alarm_every,
                **{name: getattr(one, name) for name in _SAME},
            )
            for one in window.raised
        ]
        events += [
            AnomalyCleared(
                dataset=dataset.name, part=part, column=column, measure=measure, start=window.start
            )
            for column, measure in window.cleared
        ]
    return events


def late_alarm(
    dataset: Dataset, part: str, found: Freshness, now: Instant, false_alarm_every: Duration
) -> AnomalyRaised:
    """Return the event of rows that do not come; its window is the time since the last ones."""
    usual = (found.usual or 0) / HOUR
    return AnomalyRaised(
        dataset=dataset.name,
        part=part,
        column="",
        measure=ROWS_LATE,
        start=Instant(now - found.age),
        every=found.age,
        value=found.age / HOUR,
        usual=usual,
        low=0.0,
        high=usual,
        n_earlier=found.n_gaps,
        false_alarm_every=false_alarm_every,
    )
