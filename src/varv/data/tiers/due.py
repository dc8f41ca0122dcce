"""Which files of rows may be archived: plain decisions on what is in the catalogues."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from varv.data.dataset import Dataset
from varv.data.views import DatasetsView
from varv.kernel.catalogue import Extent
from varv.kernel.clock import DAY, Duration, Instant, iso, spoken

SETTLES = Duration(DAY)
"""A file that came less long ago stays: those that answer may not have read it yet."""
MARGIN = Duration(7 * DAY)
"""So much older than what a view looks back at rows are: requests of the last days are looked up again, to
compare what was served."""


class Reach(NamedTuple):
    """How far back somebody looks at rows of a part, and who."""

    part: str
    """Empty for every part."""
    span: Duration | None
    """Before the present; None for all rows there ever were."""
    by: str


Reached = Callable[[str], Sequence[Reach]]
"""Returns what looks at rows of a dataset by itself, as long as a home is served."""


class Due(NamedTuple):
    """What may be archived of a dataset, by part, and what kept older rows from it."""

    extents: Mapping[str, list[Extent]]
    kept: Mapping[str, int]
    """By whoever looks at them, how many files with rows old enough stay."""


def due(
    dataset: Dataset,
    view: DatasetsView,
    reached: Sequence[Reach],
    *,
    before: Instant,
    now: Instant,
    held_back: bool,
) -> Due:
    """Return the files all of whose rows are from before an instant and that nothing looks at by itself.

    Parameters
    ----------
    held_back
        Whether files that somebody had restored stay as long as that says.
    """
    found: dict[str, list[Extent]] = {}
    kept: dict[str, int] = {}
    published = view.history(dataset.name).published
    for part in dataset.parts:
        last = published.get(part)
        for one in view.catalogue(dataset.name, part).ever():
            if one.removed_by or one.cold or one.last is None or one.last >= before or not one.n_rows:
                continue
            why = _keeper(one, part, reached, now)
            if not why and last is not None and one.counts_at(last.version):
                why = "readers of the Delta table that was published last"
            if not why and held_back and one.stays_until > now:
                why = f"whoever had them restored, until {iso(one.stays_until)[:16]}"
            if why:
                kept[why] = kept.get(why, 0) + 1
            else:
                found.setdefault(part, []).append(one)
    return Due(found, kept)


def _keeper(one: Extent, part: str, reached: Sequence[Reach], now: Instant) -> str:
    """Return who may look at the rows of an extent; nobody if it is empty."""
    if one.at > now - SETTLES:
        return "those that answer: they came within a day"
    for reach in reached:
        if reach.part not in ("", part):
            continue
        if reach.span is None:
            return f"{reach.by}, which looks at all rows"
        if one.last is None or one.last >= now - reach.span - MARGIN:
            return f"{reach.by}, which looks back {spoken(reach.span)}"
    return ""
