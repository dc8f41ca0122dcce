"""Which numbers of a table are unlike those of the windows before, with one rate of false alarms over all of
them; and whether rows are late.

A window is compared with at least thirty earlier ones of its season: of the same hour of the week if there
are so many, else of a coarser season. Pure: whoever has profiles of windows asks, and keeps what is raised.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import msgspec
import numpy as np
import numpy.typing as npt

from varv.kernel.clock import DAY, HOUR, Duration, Instant, as_datetime
from varv.kernel.errors import InvalidInput
from varv.profiles.counted import BOOLEAN, INTEGER, NUMBER, OTHER, TEXT
from varv.profiles.profile import Profile
from varv.profiles.reading import quantile
from varv.stats.quantiles import quantile_interval
from varv.stats.surprise import FEWEST, distances, e_values, gathered

ROWS, MISSING, MEAN, DISTINCT, LEAST, GREATEST, LENGTH = (
    "rows",
    "missing",
    "mean",
    "distinct",
    "least",
    "greatest",
    "length",
)
"""What is watched of each column; of numbers the quantiles ``p5``, ``p50`` and ``p95`` too."""
_SHARES = {"p5": 0.05, "p50": 0.5, "p95": 0.95}
LATEST = 60
"""Earlier windows of a season that count."""
_USUAL = 1.6
"""An alarm is over once a value lies this close again: what it says then is for nothing having changed."""
_EXTREME = 0.05
_STEADY = 0.9
"""A number that is correlated with time beyond this goes on; a single step is correlated by .87 at most."""
_FEWEST_GAPS = 20
_RARE = 0.999


class Watched(msgspec.Struct, frozen=True):
    """A number of a window on the scale on which it is compared, and its error from its own rows."""

    value: float
    error: float


class Observed(msgspec.Struct, frozen=True):
    """The numbers of a window, by the names of the column, empty for the table, and of the number."""

    start: Instant
    numbers: dict[str, Watched]


class Anomaly(msgspec.Struct, frozen=True, kw_only=True):
    """A number of a window that is unlike those before: the number, what is usual on average and the range
    that holds 95 % of the usual ones, and how many standard deviations it is off.
    """

    start: Instant
    column: str
    measure: str
    value: float
    usual: float
    low: float
    high: float
    distance: float
    n_earlier: int


class Judged(msgspec.Struct, frozen=True):
    """What a window showed: anomalies raised by it, and those that are over, by column and measure."""

    start: Instant
    raised: tuple[Anomaly, ...] = ()
    cleared: tuple[tuple[str, str], ...] = ()


def observed(profile: Profile, start: Instant) -> Observed:
    """Return the numbers of a window that are watched: of keys and times not where they lie, since they go on
    and on.
    """
    n = profile.n_rows
    numbers = {_name("", ROWS): Watched(math.log(n + 1), 1 / math.sqrt(n + 1))}
    # Of no rows nothing can be said but that there are none.
    for scale in profile.scale.columns if n else ():
        column = profile.column(scale.name)[1]
        tally, count = column.tally, max(n, 1)
        own = {MISSING: Watched(math.asin(math.sqrt(tally.null_share)), 0.5 / math.sqrt(count))}
        distinct = column.n_distinct().value
        if tally.rows > tally.null and scale.kind != OTHER:
            own[DISTINCT] = Watched(math.log(distinct + 1), 0.022 + 1 / (distinct + 1))
        if not scale.private and tally.finite and scale.kind in (NUMBER, INTEGER, BOOLEAN):
            own |= {} if scale.name in profile.scale.key else _of_numbers(profile, scale.name)
        elif not scale.private and tally.finite and scale.kind == TEXT:
            own[LENGTH] = Watched(math.log1p(tally.characters / tally.finite), 1 / math.sqrt(tally.finite))
        numbers |= {_name(scale.name, measure): one for measure, one in own.items()}
    return Observed(start, {name: one for name, one in numbers.items() if math.isfinite(one.value)})


def _of_numbers(profile: Profile, name: str) -> dict[str, Watched]:
    scale, column = profile.column(name)
    if column.sums is None or column.low is None or column.high is None:
        return {}
    mean, sd, _, _ = column.sums.moments(scale)
    sd = sd if math.isfinite(sd) else 0.0
    error = sd / math.sqrt(column.sums.n)
    found = {MEAN: Watched(mean, error)}
    for measure, share in _SHARES.items():
        found[measure] = Watched(quantile(profile, name, share), 2 * error)
    # One row decides an extreme, so it has to move by a part of the spread before it says anything.
    found[LEAST] = Watched(float(column.low), _EXTREME * sd)
    found[GREATEST] = Watched(float(column.high), _EXTREME * sd)
    return found


def _name(column: str, measure: str) -> str:
    return f"{measure} {column}".rstrip()


def shown_value(measure: str, value: float) -> float:
    """Return a watched number in its own unit: rows, a share, characters.

    Examples
    --------
    >>> round(shown_value("rows", math.log(101)), 9)
    100.0
    """
    if measure in (ROWS, DISTINCT, LENGTH):
        return math.expm1(value)
    return math.sin(min(max(value, 0.0), math.pi / 2)) ** 2 if measure == MISSING else value


def judged(windows: Sequence[Observed], *, every: Duration, false_alarm_every: Duration) -> list[Judged]:
    """Return what each window showed, given those before it.

    Parameters
    ----------
    windows
        In order of time, each `every` long.
    false_alarm_every
        Mean time between false alarms of all numbers together while nothing changes, at least.

    Raises
    ------
    InvalidInput
        If false alarms are to be rarer than windows, or windows are not in order.
    """
    if every <= 0 or false_alarm_every < every:
        hint = "give the mean time between false alarms, such as 365d"
        raise InvalidInput("anomalies", "false_alarm_every", "is shorter than a window", hint=hint)
    if any(one.start >= later.start for one, later in pairwise(windows)):
        raise InvalidInput("anomalies", "windows", "are not in the order of time")
    names = sorted({name for one in windows for name in one.numbers})
    state = _Detector(names, false_alarm_every / every)
    return [state.judge(one, every) for one in windows]


class _Detector:
    """What the windows so far say of the next one."""

    def __init__(self, names: Sequence[str], limit: float) -> None:
        self._names, self._limit = names, limit
        self._evidence = np.zeros(len(names))
        self._rows: list[npt.NDArray[np.float64]] = []
        self._seasons: dict[tuple[str, int], list[int]] = {}
        self._open: set[int] = set()

    def judge(self, window: Observed, every: Duration) -> Judged:
        unknown = Watched(math.nan, 0.0)
        numbers = [window.numbers.get(name, unknown) for name in self._names]
        values = np.array([one.value for one in numbers])
        seasons = _seasons(window.start, every)
        earlier = self._earlier(seasons)
        distance = distances(values, earlier, [one.error for one in numbers])
        distance[_goes_on(earlier)] = np.nan
        self._evidence = gathered(self._evidence, e_values(distance))
        over = {place for place in self._open if abs(distance[place]) <= _USUAL}
        raised: list[int] = []
        if len(numbers) and self._evidence.mean() >= self._limit:
            # Whatever holds a good part of the evidence is named, and all of it begins anew.
            least = max(self._limit, 0.05 * float(self._evidence.max()))
            raised = [int(place) for place in np.flatnonzero(self._evidence >= least)]
            raised = [place for place in raised if place not in self._open and not np.isnan(distance[place])]
            self._evidence = np.zeros(len(numbers))
        self._open = (self._open | set(raised)) - over
        for season in seasons:
            self._seasons.setdefault(season, []).append(len(self._rows))
        self._rows.append(values)
        return Judged(
            window.start,
            tuple(self._anomaly(window.start, place, values, earlier, distance) for place in raised),
            tuple(_parted(self._names[place]) for place in sorted(over)),
        )

    def _earlier(self, seasons: Sequence[tuple[str, int]]) -> npt.NDArray[np.float64]:
        """Return earlier windows of the finest season that has enough, shape (n, numbers)."""
        for season in seasons:
            places = self._seasons.get(season, [])
            if len(places) >= FEWEST:
                return np.array([self._rows[place] for place in places[-LATEST:]])
        return np.empty((0, len(self._names)))

    def _anomaly(
        self,
        start: Instant,
        place: int,
        values: npt.NDArray[np.float64],
        earlier: npt.NDArray[np.float64],
        distance: npt.NDArray[np.float64],
    ) -> Anomaly:
        column, measure = _parted(self._names[place])
        before = earlier[:, place][np.isfinite(earlier[:, place])]
        half = 2 * float(before.std(ddof=1))
        usual = float(before.mean())
        low, middle, high = (shown_value(measure, one) for one in (usual - half, usual, usual + half))
        return Anomaly(
            start=start,
            column=column,
            measure=measure,
            value=shown_value(measure, float(values[place])),
            usual=middle,
            low=low,
            high=high,
            distance=float(distance[place]),
            n_earlier=len(before),
        )


def _goes_on(earlier: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return which numbers rise or fall from window to window, so that none is like those before."""
    if len(earlier) < FEWEST:
        return np.zeros(earlier.shape[1], np.bool_)
    order = np.arange(len(earlier)) - (len(earlier) - 1) / 2
    values = earlier - np.nanmean(np.where(np.isfinite(earlier).any(axis=0), earlier, 0.0), axis=0)
    values = np.where(np.isfinite(values), values, 0.0)
    size = np.sqrt((values**2).sum(axis=0) * (order**2).sum())
    return np.abs(order @ values) > _STEADY * np.maximum(size, np.finfo(np.float64).tiny)


def _parted(name: str) -> tuple[str, str]:
    measure, _, column = name.partition(" ")
    return column, measure


def _seasons(start: Instant, every: Duration) -> list[tuple[str, int]]:
    """Return the seasons of a window, the finest first; the last one holds all windows."""
    at = as_datetime(start)
    hour = at.hour if every < DAY else 0
    size = max(1, int(every // HOUR)) if every < DAY else 1
    part, weekend = hour // size, int(at.weekday() >= 5)
    return [
        ("of the week", at.weekday() * 24 + part),
        ("of weekdays or weekends", weekend * 24 + part),
        ("of the day", part),
        ("of all", 0),
    ]


class Freshness(msgspec.Struct, frozen=True):
    """How long nothing has come, and for how long nothing may come: None while too little did."""

    age: Duration
    usual: Duration | None
    n_gaps: int

    @property
    def is_late(self) -> bool:
        """Whether nothing has come for longer than usual."""
        return self.usual is not None and self.age > self.usual


def freshness(arrivals: Sequence[Instant], now: Instant) -> Freshness:
    """Return whether rows are late, by the gaps between what has come.

    Parameters
    ----------
    arrivals
        When something came, in order; not empty.

    Raises
    ------
    InvalidInput
        If nothing ever came.

    Notes
    -----
    The bound is the upper 95 % limit of the 99.9 % quantile of the gaps, which is found from 3,688 gaps on;
    of fewer, twice the longest one, and none of fewer than twenty.
    """
    if not arrivals:
        raise InvalidInput("freshness", "arrivals", "are none", hint="wait until something came")
    gaps = np.diff(np.asarray(arrivals, np.int64))
    gaps = gaps[gaps > 0]
    age = Duration(max(0, now - arrivals[-1]))
    if len(gaps) < _FEWEST_GAPS:
        return Freshness(age, None, len(gaps))
    bound = quantile_interval(gaps.astype(np.float64), _RARE).high
    usual = bound if math.isfinite(bound) else 2.0 * float(gaps.max())
    return Freshness(age, Duration(int(usual)), len(gaps))
