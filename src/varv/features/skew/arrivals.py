"""The rows that some requests may see, in the order in which the ledger got them.

Versions of a dataset have two times: that at which the ledger got the rows, and that at which each row was
known. What a request was served with depends on both; `searching` walks along the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.data import Datasets
from varv.data.dataset import Dataset
from varv.data.intake import Batch
from varv.features.bulk.entities import EntityCodes
from varv.features.feature_view import FeatureView
from varv.features.observed import PATIENCE
from varv.features.run import Ints
from varv.kernel.clock import Instant
from varv.kernel.ids import DatasetName, Version

MOST_STEPS = 2_000
"""States of the ledger that are looked at; what came before them is one state."""
_VERSION = "@version"


class Step(NamedTuple):
    """Rows that came together, and when."""

    at: Instant
    batches: list[Batch]


class Arrivals:
    """What the views of some requests read, for the entities of these requests alone.

    Parameters
    ----------
    datasets
        Of the home.
    versions
        As of which version each dataset is read; the last one for others.
    """

    def __init__(self, datasets: Datasets, versions: dict[DatasetName, Version]) -> None:
        self._datasets = datasets
        self._versions = versions

    def steps(
        self, views: Sequence[FeatureView], requests: pl.DataFrame, at: Ints, since: Instant
    ) -> list[Step]:
        """Return what came, the first step with all that came before `since`.

        Parameters
        ----------
        requests, at
            The requests, and their instants.
        """
        steps: dict[tuple[int, str, int], Step] = {}
        for source in dict.fromkeys(view.source for view in views):
            own = [view for view in views if view.source is source]
            came = {one.version: one.at for one in self._datasets.versions(source, since=since)}
            for part, numbers, rows in self._rows(source, own, requests, at):
                for number, batch in _by_version(numbers, rows):
                    when = came.get(Version(number), Instant(0))
                    place = (when, source.name, number) if when >= since else (0, "", 0)
                    step = steps.setdefault(place, Step(Instant(place[0]), []))
                    step.batches.append(Batch(source, part, batch))
        ordered = [steps[place] for place in sorted(steps)]
        first = [one for one in ordered if not one.at]
        later = ordered[len(first) :]
        early = later[: max(0, len(later) - MOST_STEPS)]
        before = [batch for one in (*first, *early) for batch in one.batches]
        return [Step(Instant(0), before), *later[len(early) :]]

    def _rows(
        self, source: Dataset, views: Sequence[FeatureView], requests: pl.DataFrame, at: Ints
    ) -> list[tuple[str, Ints, pl.DataFrame]]:
        """Return the rows of each part that is read, with their versions."""
        base = source.event_time
        takes = _asked(source, views, requests)
        parts = list(dict.fromkeys((base, *(view.part for view in views))))
        since = _earliest(views, at)
        waits = Instant(since - PATIENCE) if since is not None and len(parts) > 1 else since
        entity = [name for view in views for name in view.entity]
        numbers, rows = self._read(source, base, views, entity, waits, takes)
        found = [(base, numbers, rows)]
        keys = rows.select(source.key)
        for part in parts[1:]:
            theirs, said = self._read(
                source, part, views, (), since, lambda frame: _are_among(frame, keys, source.key)
            )
            found.append((part, theirs, said))
        return found

    def _read(
        self,
        source: Dataset,
        part: str,
        views: Sequence[FeatureView],
        entity: Sequence[str],
        since: Instant | None,
        takes: Callable[[pl.DataFrame], npt.NDArray[np.bool_]],
    ) -> tuple[Ints, pl.DataFrame]:
        own = [name for view in views if view.part == part for name in view.columns]
        columns = list(dict.fromkeys((*source.key, part, *entity, *own)))
        none = pl.DataFrame(schema={name: source.types()[name] for name in columns})
        numbers, frames = [np.zeros(0, np.int64)], [none]
        version = self._versions.get(source.name)
        for versions, rows in self._datasets.arrivals(
            source, part, columns=columns, version=version, since=since
        ):
            chosen = takes(rows)
            numbers.append(versions[chosen])
            frames.append(rows.filter(pl.Series(chosen)))
        return np.concatenate(numbers), pl.concat(frames)


def _asked(
    source: Dataset, views: Sequence[FeatureView], requests: pl.DataFrame
) -> Callable[[pl.DataFrame], npt.NDArray[np.bool_]]:
    """Return what says of base rows whether they are of an entity that some request asks for."""
    kinds = {(view.entity, view.asked): view for view in views}
    types = source.types()
    codes = [
        EntityCodes(view.entities_in(requests), {name: types[name] for name in view.entity})
        for view in kinds.values()
    ]
    return lambda rows: np.logical_or.reduce([one.of(rows) >= 0 for one in codes])


def _are_among(rows: pl.DataFrame, keys: pl.DataFrame, key: Sequence[str]) -> npt.NDArray[np.bool_]:
    marked = rows.select(key).with_row_index("@place").join(keys, on=list(key), how="semi")
    found = np.zeros(rows.height, np.bool_)
    found[marked["@place"].to_numpy()] = True
    return found


def _earliest(views: Sequence[FeatureView], at: Ints) -> Instant | None:
    """Return the time of the earliest row that a request can see; None if there is no limit."""
    looks = [view.windows.kind.reach if view.windows else view.ttl for view in views]
    back = [look for look in looks if look is not None]
    return Instant(int(at.min()) - max(back)) if len(back) == len(looks) and len(at) else None


def _by_version(numbers: Ints, rows: pl.DataFrame) -> list[tuple[int, pl.DataFrame]]:
    marked = rows.with_columns(pl.Series(_VERSION, numbers))
    parts = marked.partition_by(_VERSION, as_dict=True, maintain_order=True, include_key=False)
    return [(int(number), part) for (number,), part in parts.items()]
