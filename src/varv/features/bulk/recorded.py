"""Training sets on record: each is a dataset of one version, and the ledger holds what it was made of.

The same recipe gives the same rows, bit for bit, so a training set that is asked for again is read and not
made. A name has one recipe for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import polars as pl

from varv.data.dataset import Dataset
from varv.data.service import Datasets
from varv.data.sources import Frame, in_kept_types
from varv.data.versions import stream_of
from varv.features.bulk.history_rows import Mode
from varv.features.bulk.model import Recipe, TrainingSetMade
from varv.features.definitions import digest_of_view
from varv.features.model import Derived, FeatureSet, FeatureView
from varv.kernel.content import rows_digest
from varv.kernel.errors import AlreadyExists, InvalidInput
from varv.kernel.expressions import written_expression
from varv.kernel.ids import DatasetName, Version
from varv.kernel.ledger import Ledger, entries_of
from varv.kernel.sagas import Fact

ROW = "request_row"
"""The column that numbers the requests, which is the key: one request may come twice."""


def recipe_of(
    features: FeatureSet, requests: str, at: str, datasets: Mapping[DatasetName, Version], mode: Mode
) -> Recipe:
    """Return the recipe of a training set."""
    return Recipe(
        requests=requests,
        at=at,
        features={_name(one): _identity(one, features) for one in features.declared},
        datasets=dict(datasets),
        mode=mode,
    )


def columns_read(features: FeatureSet) -> dict[DatasetName, tuple[str, ...]]:
    """Return what views read of each dataset: values, entities and times."""
    found: dict[DatasetName, dict[str, None]] = {}
    for view in features.views:
        needed = (*view.columns, *view.entity, view.part)
        found.setdefault(view.source.name, {}).update(dict.fromkeys(needed))
    return {name: tuple(columns) for name, columns in found.items()}


class TrainingSets:
    """The training sets of a home.

    Parameters
    ----------
    ledger, datasets
        Of the home.
    """

    def __init__(self, ledger: Ledger, datasets: Datasets) -> None:
        self._ledger = ledger
        self._datasets = datasets

    def find(self, name: str, recipe: Recipe) -> TrainingSetMade | None:
        """Return what is on record of a training set; None if it is not there.

        Raises
        ------
        AlreadyExists
            If the name is that of another one, or of another dataset.
        """
        n_entries = 0
        for entry in entries_of(self._ledger, stream_of(name)):
            n_entries += 1
            if isinstance(entry.event, TrainingSetMade):
                if entry.event.recipe == recipe:
                    return entry.event
                differs = _difference(entry.event.recipe, recipe)
                hint = "give the new one another name"
                raise AlreadyExists("training set", name, f"was made with {differs}", hint=hint)
        if n_entries:
            raise AlreadyExists(
                "dataset", name, "is no training set", hint="give the training set another name"
            )
        return None

    def make(
        self,
        name: str,
        recipe: Recipe,
        parts: Iterable[pl.DataFrame],
        columns: Mapping[DatasetName, tuple[str, ...]],
    ) -> TrainingSetMade:
        """Store the rows of a training set, and put it on record.

        Raises
        ------
        InvalidDeclaration
            If a column is of a type that is not kept.
        InvalidInput
            If there are no requests, or they have a column of the name that numbers them.
        """
        facts: list[Fact] = []
        n_rows = 0
        for part in parts:
            if ROW in part.columns:
                hint = "rename the column: it numbers the requests of a training set"
                raise InvalidInput("training set", name, f"has requests with a column {ROW!r}", hint=hint)
            rows = in_kept_types(part).insert_column(0, _numbers(n_rows, part.height))
            dataset = self._dataset(name, recipe.at, rows.schema)
            if not facts:
                facts += self._datasets.register(dataset)
            # Named by what it holds: what a crash has left is found again, or is nobody's.
            segment = f"{n_rows:012d}-{rows_digest(rows)[:24]}"
            prepared = self._datasets.prepare_correction(dataset, recipe.at, rows, segment=segment)
            facts += prepared.facts
            n_rows += part.height
        if not facts:
            raise InvalidInput("training set", name, "has no requests", hint="give one row at least")
        made = TrainingSetMade(dataset=DatasetName(name), recipe=recipe, n_rows=n_rows, columns=dict(columns))
        self._datasets.commit([*facts, Fact(stream_of(name), made)])
        return made

    def rows(self, name: str, recipe: Recipe, types: Mapping[str, pl.DataType]) -> Iterator[pl.DataFrame]:
        """Yield the rows of a training set, in the order of its requests.

        Parameters
        ----------
        types
            Its columns.
        """
        kept = in_kept_types(pl.DataFrame(schema=types)).schema
        dataset = self._dataset(name, recipe.at, pl.Schema({ROW: pl.Int64(), **kept}))
        yield from self._datasets.batches(dataset, recipe.at, columns=list(kept))

    @staticmethod
    def _dataset(name: str, at: str, columns: pl.Schema) -> Dataset:
        return Dataset(name, source=Frame(pl.DataFrame(schema=columns)), key=ROW, event_time=at)


def _numbers(first: int, n: int) -> pl.Series:
    return pl.int_range(first, first + n, dtype=pl.Int64, eager=True).alias(ROW)


def _name(feature: str | Derived | FeatureView) -> str:
    return feature if isinstance(feature, str) else feature.name


def _identity(feature: str | Derived | FeatureView, features: FeatureSet) -> str:
    if isinstance(feature, FeatureView):
        digest = digest_of_view(feature)
        # Sets that were made before requests stopped seeing their own rows hold other values.
        return f"{digest} before each request" if feature in features.own_views else digest
    return "column" if isinstance(feature, str) else written_expression(feature.expr) or str(feature.expr)


def _difference(before: Recipe, now: Recipe) -> str:
    """Return in words what a recipe had that another has not."""
    if before.requests != now.requests:
        return f"the requests {before.requests[:80]}, not {now.requests[:80]}"
    if before.datasets != now.datasets:
        gone = [
            f"{name}@{version}"
            for name, version in before.datasets.items()
            if now.datasets.get(name) != version
        ]
        return f"{', '.join(gone) or 'fewer datasets'}"
    if before.mode != now.mode:
        return f"mode {before.mode!r}"
    return "other features"
