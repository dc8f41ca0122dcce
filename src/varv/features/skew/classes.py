"""What became of the served values of one feature, counted by class.

Counts of several stretches of time add up. Nothing here reads rows; values are classed in `comparing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import msgspec
import numpy as np
import numpy.typing as npt

from varv.kernel.clock import Duration, spoken
from varv.kernel.wording import count, percent
from varv.stats.intervals import wilson

EQUAL, STALE, LATE, MISSING_ONLINE, MISSING_OFFLINE, DIFFERENT = range(6)
SKEW = "skew"
"""The kind of alarm on values that are served wrong."""
CLASSES = {
    "equal": "the same value, numbers to 2 units in the last place",
    "stale": "right as of an earlier state of the ledger: whoever served it was behind",
    "late": "right as of all that the ledger held then: rows came later that had been known before",
    "missing online": "served without a value, though there is one",
    "missing offline": "served with a value, though there is none",
    "different": "no state of the ledger gives the value",
}
"""What a class means, in the order of its number."""
Codes = npt.NDArray[np.uint8]
Lags = npt.NDArray[np.int64]


class FeatureSkew(msgspec.Struct, frozen=True, kw_only=True):
    """The served values of one feature by class."""

    name: str
    n: int = 0
    """Values that were compared."""
    stale: int = 0
    late: int = 0
    missing_online: int = 0
    missing_offline: int = 0
    different: int = 0
    other_entity: int = 0
    """Of the different ones, those that are right for another entity."""
    resembles: str = ""
    """The feature whose value most of the different ones are, if there is one."""
    fresh: Duration | None = None
    """The declared age up to which a value counts as fresh; None where none is declared."""
    in_time: int = 0
    """Values that were right, or had been within the declared age."""
    longest_lag: Duration = Duration(0)
    """The longest time for which a stale or late value had been out of date."""

    @property
    def equal(self) -> int:
        """How many were equal."""
        return self.n - self.stale - self.late - self.wrong

    @property
    def wrong(self) -> int:
        """How many neither were right nor ever had been."""
        return self.missing_online + self.missing_offline + self.different

    @property
    def share_wrong(self) -> float:
        """The share of those, 0 of none."""
        return self.wrong / self.n if self.n else 0.0

    def by_class(self) -> dict[str, int]:
        """Return the counts by the names of the classes."""
        counts = (
            self.equal,
            self.stale,
            self.late,
            self.missing_online,
            self.missing_offline,
            self.different,
        )
        return dict(zip(CLASSES, counts, strict=True))

    def interval(self, of: str) -> tuple[float, float]:
        """Return the 95 % limits of the share of a class (Wilson 1927)."""
        found = wilson(self.by_class()[of], self.n)
        return found.low, found.high

    def interval_wrong(self) -> tuple[float, float]:
        """Return the 95 % limits of the share of wrong values."""
        found = wilson(self.wrong, self.n)
        return found.low, found.high

    def plus(self, other: FeatureSkew) -> FeatureSkew:
        """Return the counts of both; what is declared is that of the other, later one."""
        added = ("n", "stale", "late", "missing_online", "missing_offline", "different", "other_entity")
        sums = {name: getattr(self, name) + getattr(other, name) for name in (*added, "in_time")}
        return msgspec.structs.replace(
            other,
            **sums,
            resembles=other.resembles or self.resembles,
            longest_lag=max(self.longest_lag, other.longest_lag),
        )

    def said(self) -> str:
        """Return in words what was not equal.

        Examples
        --------
        >>> FeatureSkew(name="recent.late_mean_6h", n=200, stale=2, different=1, other_entity=1).said()
        '1 % stale, 0.5 % different (1 right for another entity)'
        """
        parts = [
            f"{percent(n / self.n)} {name}" for name, n in self.by_class().items() if n and name != "equal"
        ]
        if not parts:
            return "all equal"
        why = self.why()
        return f"{', '.join(parts)} ({why})" if why else ", ".join(parts)

    def why(self) -> str:
        """Return what is known of values that were not equal, in words; nothing if nothing is."""
        told = [f"{count(self.other_entity)} right for another entity"] if self.other_entity else []
        told += [f"most have the value of {self.resembles}"] if self.resembles else []
        told += [f"out of date for up to {spoken(self.longest_lag)}"] if self.longest_lag else []
        return "; ".join(told)


class Classed(msgspec.Struct, frozen=True):
    """The values of one feature, request by request: class, how long they had been out of date in
    microseconds, and whether they are right for another entity.
    """

    codes: Codes
    lags: Lags
    other_entity: npt.NDArray[np.bool_]
    alike: Mapping[str, npt.NDArray[np.bool_]]
    """By the name of another feature, which values are its."""


def counted(
    name: str, values: Classed, rows: npt.NDArray[np.bool_], fresh: Duration | None = None
) -> FeatureSkew:
    """Return the counts of one feature over some requests.

    Parameters
    ----------
    rows
        Which requests.
    fresh
        The declared age up to which a value counts as fresh.
    """
    codes, lags = values.codes[rows], values.lags[rows]
    n = {code: int((codes == code).sum()) for code in range(len(CLASSES))}
    behind = (codes == STALE) | (codes == LATE)
    alike = {other: int(same[rows].sum()) for other, same in values.alike.items()}
    most = max(alike, key=alike.__getitem__, default="")
    in_time = n[EQUAL] + int((behind & (lags <= fresh)).sum()) if fresh is not None else 0
    return FeatureSkew(
        name=name,
        n=len(codes),
        stale=n[STALE],
        late=n[LATE],
        missing_online=n[MISSING_ONLINE],
        missing_offline=n[MISSING_OFFLINE],
        different=n[DIFFERENT],
        other_entity=int(values.other_entity[rows].sum()),
        resembles=most if most and 2 * alike[most] > n[DIFFERENT] > 0 else "",
        fresh=fresh,
        in_time=in_time,
        longest_lag=Duration(int(lags[behind].max(initial=0))),
    )


def added(parts: Sequence[FeatureSkew]) -> FeatureSkew:
    """Return the counts of one feature over several stretches of time, the earliest first."""
    return reduce(FeatureSkew.plus, parts)
