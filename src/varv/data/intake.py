"""Intake: rows that became known, from the batch that arrived to those who listen.

A batch is checked and stored first (`Datasets.prepare_append`), and then told to every listener: feature
state, the outcomes of predictions. A replay tells before it commits, since what became known in a stretch of
time is part of the features of the requests in it; a live home commits first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec
import polars as pl

from varv.data.appending import Prepared
from varv.data.dataset import Dataset
from varv.data.service import Datasets
from varv.kernel.ids import DatasetName, Version
from varv.kernel.sagas import Fact


class Batch(msgspec.Struct, frozen=True):
    """Rows of one part that became known, in the order in which they did; and, once they are stored, the name
    of their segment.
    """

    dataset: Dataset
    part: str
    rows: pl.DataFrame
    segment: str = ""

    @property
    def is_base(self) -> bool:
        """Whether these are the rows themselves, rather than what became known of them later."""
        return self.part == self.dataset.event_time


class RowListener(Protocol):
    """Whoever has to hear of rows that became known."""

    def rows_known(self, batch: Batch) -> None:
        """Take in a batch; the same one again changes nothing."""
        ...


class Ingested(msgspec.Struct, frozen=True):
    """Batches that are stored: the facts to commit, and what counts once they are committed."""

    facts: tuple[Fact, ...]
    batches: tuple[Batch, ...]


class Intake:
    """Stores arriving rows and tells whoever listens.

    Parameters
    ----------
    datasets
        Where rows are kept.
    listeners
        Told of every batch, in this order; more may be added with `listen`.
    """

    def __init__(self, datasets: Datasets, listeners: Iterable[RowListener] = ()) -> None:
        self._datasets = datasets
        self._listeners = list(listeners)

    def listen(self, listener: RowListener) -> None:
        """Tell `listener` too, from now on."""
        self._listeners.append(listener)

    def store(self, arrivals: Iterable[Batch], segment: str, *, acknowledged: bool = False) -> Ingested:
        """Check and store batches; the same ones again change nothing.

        Parameters
        ----------
        segment
            Names the stretch of time, or the file, that they came in.
        acknowledged
            Each row was checked and accepted by itself, so none is put aside for the company it came in.
        """
        facts: list[Fact] = []
        batches: list[Batch] = []
        for arrival in arrivals:
            dataset, part = arrival.dataset, arrival.part
            prepared = self._datasets.prepare_append(
                dataset, part, arrival.rows, segment=segment, acknowledged=acknowledged
            )
            facts += prepared.facts
            batches += made_known([(dataset, part, prepared)])
        return Ingested(tuple(facts), tuple(batches))

    def tell(self, batches: Iterable[Batch]) -> None:
        """Tell every listener of batches."""
        for batch in batches:
            for listener in self._listeners:
                listener.rows_known(batch)

    def restore(
        self,
        datasets: Iterable[Dataset],
        since: Mapping[DatasetName, Version] | None = None,
        *,
        warm_only: bool = False,
    ) -> None:
        """Tell every listener of all that is stored, part by part.

        Parameters
        ----------
        since
            The versions up to which the listeners hold everything already; of other datasets they hold
            nothing.
        warm_only
            Leave out what is archived, which no request of the present can see.
        """
        for dataset in datasets:
            held = (since or {}).get(dataset.name)
            if held is None:
                self.tell(stored_batches(self._datasets, dataset, warm_only=warm_only))
                continue
            for part in dataset.parts:
                rows = self._datasets.later(dataset, part, held, warm_only=warm_only)
                self.tell([Batch(dataset, part, rows)])


def stored_batches(datasets: Datasets, dataset: Dataset, *, warm_only: bool = False) -> Iterator[Batch]:
    """Yield all that is stored of a dataset, a part at a time."""
    for part in dataset.parts:
        yield Batch(dataset, part, datasets.read_part(dataset, part, warm_only=warm_only))


def made_known(made: Sequence[tuple[Dataset, str, Prepared]]) -> list[Batch]:
    """Return the batches that make versions, of those that were prepared."""
    return [
        Batch(dataset, part, prepared.rows, prepared.segment)
        for dataset, part, prepared in made
        if prepared.accepted
    ]
