"""Removals: rows that a source says were deleted, or that it has no more.

To remove what is gone changes nothing, so a pull removes before it commits its step.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from varv.data.dataset import Dataset
from varv.data.ingestion.acts import BY, Acts
from varv.data.ingestion.model import SourceCompared
from varv.data.service import Datasets
from varv.data.sources import Keyed, Step, fitted, in_kept_types
from varv.data.versions import stream_of
from varv.kernel.errors import InvalidInput
from varv.kernel.faults import Faults
from varv.kernel.sagas import Fact


class Removals:
    """Removes rows of datasets that are pulled.

    Parameters
    ----------
    datasets, acts, requests, faults
        As `pulling.Puller` has them: base rows of `requests` stay.
    """

    def __init__(self, datasets: Datasets, acts: Acts, requests: frozenset[str], faults: Faults) -> None:
        self._datasets, self._acts, self._requests, self._faults = datasets, acts, requests, faults

    def compare(self, dataset: Dataset, source: Keyed, *, may_be_empty: bool = False) -> int:
        """Remove rows that the source has no more; return how many.

        Parameters
        ----------
        may_be_empty
            Whether it says itself that it may have none.

        Raises
        ------
        InvalidInput
            If it has none, and does not say so.
        """
        there, n_removed = self._keys_there(dataset, source), 0
        if there.is_empty() and not may_be_empty and self._datasets.version(dataset):
            hint = "if that is right, say varv data overwrite"
            raise InvalidInput("source", dataset.name, "has no row any more", hint=hint)
        for part in self._parts_of(dataset):
            held = (
                self._datasets.rows_in(dataset, part, one) for one in self._datasets.extents(dataset, part)
            )
            gone = [rows.select(dataset.key).join(there, on=dataset.key, how="anti") for rows in held]
            keys = pl.concat(gone).unique(maintain_order=True) if gone else there.clear()
            n_removed += self._remove(dataset, part, keys, f"{dataset.source.identity} has them no more")
        fact = SourceCompared(dataset=dataset.name, source=dataset.source.identity, n_removed=n_removed)
        self._acts.tell((Fact(stream_of(dataset.name), fact),))
        return n_removed

    def remove(self, dataset: Dataset, keys: pl.DataFrame, why: str) -> int:
        """Remove the rows of some keys, the columns of the key as they came; return how many there were."""
        if keys.is_empty():
            return 0
        typed = self._keys_in(dataset, keys)
        return sum(
            self._remove(dataset, part, typed.filter(self._datasets.keys.holds(dataset, part, typed)), why)
            for part in self._parts_of(dataset)
        )

    def remove_unsaid(self, dataset: Dataset, step: Step, why: str) -> int:
        """Remove what became known of rows that come without it; return how many rows there were."""
        rows = step.rows if step.broken is None else step.rows.filter(~step.broken)
        if rows.is_empty():
            return 0
        n_removed = 0
        for part in dataset.known_at:
            unsaid = rows.filter(pl.col(part).is_null()).select(dataset.key).unique(maintain_order=True)
            typed = self._keys_in(dataset, unsaid)
            held = typed.filter(self._datasets.keys.holds(dataset, part, typed))
            n_removed += self._remove(dataset, part, held, why)
        return n_removed

    def _parts_of(self, dataset: Dataset) -> Iterator[str]:
        """Yield the parts in the order in which rows of one key go."""
        # What became known of a row goes before the row, so that nothing ever waits for a row that is gone.
        for part in reversed(dataset.parts):
            if part != dataset.event_time or dataset.name not in self._requests:
                yield part

    def _remove(self, dataset: Dataset, part: str, keys: pl.DataFrame, why: str) -> int:
        if keys.is_empty():
            return 0
        remove = self._datasets.remove
        result = self._acts.rewrite(dataset.name, lambda: remove(dataset, part, keys, by=BY, why=why))
        self._faults.reach("pull.after_remove")
        return result.n_lost

    def _keys_there(self, dataset: Dataset, source: Keyed) -> pl.DataFrame:
        came = map(in_kept_types, source.keys(dataset.key))
        found = [self._keys_in(dataset, self._datasets.minimised(dataset, rows)) for rows in came]
        none = pl.DataFrame(schema={name: dataset.types()[name] for name in dataset.key})
        return pl.concat([none, *found]).unique()

    def _keys_in(self, dataset: Dataset, rows: pl.DataFrame) -> pl.DataFrame:
        types = {name: dataset.types()[name] for name in dataset.key}
        return fitted(rows, types)[0].cast(pl.Schema(types), strict=False)
