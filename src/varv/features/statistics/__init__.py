"""What is computed of the values in a window, each statistic behind one small class.

A statistic says which columns it takes of a row's value, and finds its value between two places of a sorted
run (`features.history`), of many requests together or of one alone. Nothing here knows of views, of entities
or of time zones; where windows begin and end is found in `features.windowing`.
"""

from varv.features.statistics.asked import Share, Statistic, share, statistic_of
from varv.features.statistics.found import Found
from varv.features.statistics.kinds import found_by

__all__ = ["Found", "Share", "Statistic", "found_by", "share", "statistic_of"]
