"""Which class finds which statistic."""

from __future__ import annotations

from varv.features.statistics.asked import Share, Statistic, quantile_of
from varv.features.statistics.distinct import Distinct
from varv.features.statistics.ends import End
from varv.features.statistics.extremes import Extreme
from varv.features.statistics.found import Found
from varv.features.statistics.quantiles import Quantile
from varv.features.statistics.totals import Count, Deviation, Mean, Part, Sum


def found_by(statistic: Statistic, *, is_text: bool) -> Found:
    """Return what finds a statistic of a column, as `statistic_of` has checked it."""
    if isinstance(statistic, Share):
        return Part(statistic)
    if statistic in ("first", "last"):
        return End(last=statistic == "last", is_text=is_text)
    if statistic in ("min", "max"):
        return Extreme(greatest=statistic == "max")
    if (fraction := quantile_of(statistic)) is not None:
        return Quantile(*fraction)
    simple: dict[str, type[Count | Sum | Distinct]] = {
        "count": Count,
        "distinct": Distinct,
        "mean": Mean,
        "std": Deviation,
        "sum": Sum,
    }
    return simple[statistic]()
