"""Windows as they are declared: which statistics of a column, over which stretches of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from varv.features.boundaries import require_zone
from varv.features.statistics import Share, Statistic, statistic_of
from varv.features.statistics.asked import is_of_numbers, is_of_texts, name_of
from varv.kernel.clock import DAY, HOUR, Duration, duration
from varv.kernel.errors import InvalidDeclaration, InvalidInput

_LONGEST_SESSION = "1d"


@dataclass(frozen=True)
class Sliding:
    """The stretches ``(t - span, t]`` that end at the request."""

    spans: Mapping[str, Duration]

    @property
    def labels(self) -> tuple[str, ...]:
        """What each window adds to names."""
        return tuple(self.spans)

    @property
    def reach(self) -> Duration:
        """How far before a request its windows begin at most."""
        return Duration(max(self.spans.values()))

    def said(self) -> list[str]:
        """Return what names of features do not say of it."""
        return []


@dataclass(frozen=True)
class Tumbling:
    """The last whole interval ``[start, end)`` that had ended by the request."""

    text: str
    every: Duration
    offset: Duration
    zone: str
    """Of its calendar days; intervals that are no whole days are in UTC."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What the window adds to names."""
        return (f"last_{self.text}",)

    @property
    def reach(self) -> Duration:
        """How far before a request its window begins at most."""
        # The day in which clocks are set back is longer.
        return Duration(2 * self.every + (0 if self.zone == "UTC" else 4 * HOUR))

    def said(self) -> list[str]:
        """Return what names of features do not say of it."""
        return [f"every {self.every} from {self.offset} in {self.zone}"]


@dataclass(frozen=True)
class Sessions:
    """The rows back from the request between which, and after the last of which, there is no longer gap."""

    text: str
    gap: Duration
    longest: Duration

    @property
    def labels(self) -> tuple[str, ...]:
        """What the window adds to names."""
        return (f"session_{self.text}",)

    @property
    def reach(self) -> Duration:
        """How far before a request its window begins at most."""
        return self.longest

    def said(self) -> list[str]:
        """Return what names of features do not say of it."""
        return [f"gap {self.gap} in {self.longest}"]


WindowKind = Sliding | Tumbling | Sessions


@dataclass(frozen=True)
class Windows:
    """Statistics of one column over windows of one kind."""

    column: str
    statistics: tuple[Statistic, ...]
    kind: WindowKind

    def features(self) -> list[tuple[str, str, Statistic]]:
        """Return each feature's name, its window's label and its statistic: windows as declared, and of each
        its statistics.
        """
        return [
            (f"{self.column}_{name_of(statistic)}_{label}", label, statistic)
            for label in self.kind.labels
            for statistic in self.statistics
        ]

    def feature_names(self) -> tuple[str, ...]:
        """Return the names of the features: ``late_mean_6h``, ``late_count_6h``, ``late_mean_last_1d``."""
        return tuple(name for name, _, _ in self.features())

    def said(self) -> list[str]:
        """Return what names of features do not say."""
        shares = [f"{one.name}: {one}" for one in self.statistics if isinstance(one, Share)]
        return [*self.kind.said(), *shares]

    def misfit(self, *, is_text: bool) -> Statistic | None:
        """Return a statistic that texts, or numbers, do not have, if there is one."""
        does_not_fit = is_of_numbers if is_text else is_of_texts
        return next(filter(does_not_fit, self.statistics), None)


def windows(
    column: str,
    statistics: str | Share | Sequence[str | Share],
    *,
    over: str | Sequence[str] | None = None,
    every: str | None = None,
    gap: str | None = None,
    zone: str | None = None,
    offset: str | None = None,
    longest: str | None = None,
) -> Windows:
    """Return the windows of a column that a `FeatureView` computes: sliding, tumbling, or a session.

    Values that are null or not a number are left out. A window without a value has a count and a number of
    distinct values, which are 0, and nothing else (null).

    Parameters
    ----------
    column
        Of numbers, Booleans or texts.
    statistics
        One or several of ``"count"``, ``"distinct"``, ``"first"``, ``"last"``, and of numbers ``"mean"``,
        ``"sum"``, ``"std"`` (of a sample), ``"min"``, ``"max"``, quantiles such as ``"p50"`` or ``"p99.9"``;
        and `share`.
    over
        Sliding windows that end at the request: durations such as ``["3h", "7d"]``.
    every
        Tumbling windows: the last whole interval of this length that had ended by the request.
    gap
        A session: the rows back from the request with no longer gap between them, and none to the request.
    zone
        With `every` in whole days: the zone of its calendar, such as ``"Europe/Berlin"``; UTC by default.
        Intervals of several days begin on a Monday.
    offset
        With `every`: how long after midnight its intervals begin.
    longest
        With `gap`: how far back a session is looked at, ``"1d"`` by default.

    Raises
    ------
    InvalidDeclaration
        If there is no window or no statistic, one is stated twice, there are several kinds of window, or a
        duration or zone is not understood.

    Examples
    --------
    >>> windows("late", ["mean", "max"], over="3h").feature_names()
    ('late_mean_3h', 'late_max_3h')
    >>> windows("paid", "sum", every="1d", zone="Asia/Tokyo").feature_names()
    ('paid_sum_last_1d',)
    """
    asked = [statistics] if isinstance(statistics, str | Share) else list(statistics)
    checked = tuple(statistic_of(column, one) for one in asked)
    if not checked or len({name_of(one) for one in checked}) < len(checked):
        hint = "give each statistic once, at least one"
        raise InvalidDeclaration("windows", column, f"have the statistics {asked}", hint=hint)
    given = [name for name, value in (("over", over), ("every", every), ("gap", gap)) if value is not None]
    if len(given) != 1:
        hint = "give one of over=[...], every=... and gap=..."
        raise InvalidDeclaration("windows", column, f"need one kind (found {given})", hint=hint)
    for name, value, needs in (
        ("zone", zone, "every"),
        ("offset", offset, "every"),
        ("longest", longest, "gap"),
    ):
        if value is not None and needs not in given:
            raise InvalidDeclaration(
                "windows", column, f"have {name} without {needs}", hint=f"leave {name} out"
            )
    if over is not None:
        return Windows(column, checked, _sliding(column, over))
    if every is not None:
        return Windows(column, checked, _tumbling(column, every, zone or "UTC", offset))
    long = longest or _LONGEST_SESSION
    sessions = Sessions(str(gap), _duration(column, "gap", gap), _duration(column, "longest", long))
    return Windows(column, checked, sessions)


def _sliding(column: str, over: str | Sequence[str]) -> Sliding:
    texts = [over] if isinstance(over, str) else list(over)
    spans = {text: _duration(column, "over", text) for text in texts}
    if not spans or len(spans) < len(texts) or len(set(spans.values())) < len(texts):
        hint = "give each window once, at least one"
        raise InvalidDeclaration("windows", column, f"are over {texts}", hint=hint)
    return Sliding(MappingProxyType(spans))


def _tumbling(column: str, every: str, zone: str, offset: str | None) -> Tumbling:
    length = _duration(column, "every", every)
    after = Duration(0) if offset is None else _duration(column, "offset", offset)
    require_zone("windows", column, zone)
    if after >= length:
        hint = "intervals repeat: give an offset below their length"
        raise InvalidDeclaration("windows", column, f"have an offset of {offset} in {every}", hint=hint)
    if zone != "UTC" and length % DAY:
        hint = "leave the zone out, or count in days: every='1d'"
        raise InvalidDeclaration("windows", column, f"have a zone, but intervals of {every}", hint=hint)
    return Tumbling(every, length, after, zone)


def _duration(column: str, argument: str, text: Any) -> Duration:
    try:
        return duration(text)
    except InvalidInput as error:
        problem = f"have {argument}={text!r}, which {error.problem}"
        raise InvalidDeclaration("windows", column, problem, hint=error.hint) from None
