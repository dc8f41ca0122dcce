"""Compares the requests of an hour: reads them with what they were served, builds the features by the
definitions that served, and counts.

It reads a home and changes nothing, so it runs beside a server as well as in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from varv.data import Dataset, Datasets, DatasetsView
from varv.data.identity import keys_of
from varv.data.registered import registered_dataset
from varv.features import FeatureDefinition, FeatureSet, rebuilt
from varv.features.model import Feature
from varv.features.skew import FeatureSkew, Served, added, compare, counted, sample_share, sampled
from varv.home.skew.model import SkewMeasured
from varv.home.tables import Tables
from varv.kernel.clock import DAY, Duration, Instant
from varv.kernel.errors import FailedPrecondition, VarvError
from varv.kernel.ids import DatasetName, ModelName, Version
from varv.kernel.views import Views
from varv.loop.views import LoopRecord, LoopView
from varv.monitoring.model import Window
from varv.serving.views import RoutingView

MOST_COMPARED = 5_000
"""Requests of one comparison."""
Versions = dict[DatasetName, Version]
"""As of which version a dataset is read; the last one of those that are not named."""


@dataclass(frozen=True)
class Compared:
    """The features of a model that can be compared, and why others cannot."""

    features: FeatureSet
    names: tuple[str, ...]
    left_out: dict[str, str]
    fresh: Mapping[str, Duration]


class Measuring:
    """Compares what was served in a home with what is stored in it.

    Parameters
    ----------
    tables, datasets, views
        Of the home.
    """

    def __init__(self, tables: Tables, datasets: Datasets, views: Views) -> None:
        self._tables = tables
        self._datasets = datasets
        self._views = views

    def measure(self, model: ModelName, window: Window, *, share: float | None = None) -> SkewMeasured | None:
        """Return the skew of the requests of a window; None if there are none.

        Parameters
        ----------
        share
            Of the requests that are compared; 1 %, or 1,000 a day, by default.

        Raises
        ------
        FailedPrecondition
            If nothing is on record of what the model reads.
        """
        answered = self._tables.predictions(model, window.start, window.end).rows
        if answered.is_empty():
            return None
        compared = self.comparable(model)
        share = self._share(model, window, answered.height) if share is None else share
        share = min(share, MOST_COMPARED / answered.height)
        chosen = answered.filter(pl.Series(sampled(answered["key"], share)))
        found: dict[str, list[FeatureSkew]] = {}
        n_compared = 0
        for stretch, versions in self._stretches(compared.features, window):
            served = self._served(compared, chosen, stretch, versions)
            n_compared += served.rows.height
            for one in self._counted(compared, served, versions):
                found.setdefault(one.name, []).append(one)
        return SkewMeasured(
            model=model,
            window=window,
            n_requests=answered.height,
            n_compared=n_compared if found else 0,
            features=tuple(map(added, found.values())),
            left_out=compared.left_out,
        )

    def comparable(self, model: ModelName) -> Compared:
        """Return the features of a model as its record has them.

        Raises
        ------
        FailedPrecondition
            If there is none.
        """
        with self._views.reading(LoopView) as loops:
            record = loops.loops.get(model)
            declared = None if record is None else record.declared
        if record is None or declared is None:
            hint = "run varv up once, which puts it on record"
            raise FailedPrecondition("model", model, "has no features on record", hint=hint)
        requests = registered_dataset(self._views, declared.requests)
        with self._views.reading(DatasetsView) as view:
            known = [one.dataset for one in view.datasets()]
        datasets = {DatasetName(name): registered_dataset(self._views, name) for name in known}
        datasets[requests.name] = requests
        features, left_out = _built(record.features.values(), requests, datasets)
        names = _computed_now(record)
        left_out = {name: why for name, why in left_out.items() if name in names}
        there = tuple(name for name in features.names if name in names and name not in left_out)
        return Compared(features, there, left_out, declared.fresh)

    def _served(
        self, compared: Compared, answered: pl.DataFrame, stretch: Window, versions: Versions
    ) -> Served:
        """Return requests of a stretch with what features need of them, and what they were served with. Of
        requests that repeat a key, the one that the dataset holds.
        """
        data = compared.features.requests
        at, version = data.event_time, versions.get(data.name)
        stored = self._datasets.read_part(data, at, version=version, since=stretch.start, until=stretch.end)
        rows = stored.select(list(dict.fromkeys((*compared.features.request_columns(), at))))
        rows = rows.insert_column(0, keys_of(data.key, stored).alias("@key"))
        marked = answered.rename(lambda name: f"@{name}").unique(("@key", "@requested_at"), keep="first")
        asked = rows.join(marked, left_on=("@key", at), right_on=("@key", "@requested_at"), how="inner")
        there = [f"@{name}" for name in compared.names if f"@{name}" in asked.columns]
        return Served(asked, at, asked.select(there).rename(lambda name: name.removeprefix("@")))

    def _counted(self, compared: Compared, served: Served, versions: Versions) -> Iterator[FeatureSkew]:
        """Yield the counts of each feature."""
        if served.rows.is_empty() or not served.values.width:
            return
        every = np.ones(served.rows.height, np.bool_)
        for name, values in compare(self._datasets, compared.features, served, versions).items():
            yield counted(name, values, every, compared.fresh.get(name.partition(".")[0]))

    def _share(self, model: ModelName, window: Window, n: int) -> float:
        with self._views.reading(RoutingView) as routing:
            n_day = routing.n_since(model, Instant(window.end - DAY))
        return sample_share(max(n_day, n))

    def _stretches(self, features: FeatureSet, window: Window) -> list[tuple[Window, Versions]]:
        """Return a window in stretches within which no rows were replaced, each with the versions as of which
        datasets are read: what was replaced since then counts as it was.
        """
        replaced = [
            (one.at, source.name, one.version)
            for source in dict.fromkeys((features.requests, *(view.source for view in features.views)))
            for one in self._datasets.versions(source, since=window.start)
            if one.cause != "append" and one.at > window.start
        ]
        cuts = sorted({at for at, *_ in replaced if at < window.end})
        found = []
        for start, end in pairwise([window.start, *cuts, window.end]):
            versions: Versions = {}
            for at, name, version in sorted(replaced):
                if at > start:
                    versions.setdefault(name, Version(version - 1))
            found.append((Window(start, end), versions))
        return found


def _computed_now(record: LoopRecord) -> set[str]:
    """Return the features that requests are served with by now."""
    declared = record.declared
    assert declared is not None, "asked only where it is there"
    return {*(one.name for one in declared.features), *declared.kept} - set(record.awaited)


def _built(
    definitions: Iterable[FeatureDefinition], requests: Dataset, datasets: Mapping[DatasetName, Dataset]
) -> tuple[FeatureSet, dict[str, str]]:
    """Return features by their definitions, and why others cannot be built; columns of the request are what
    they are, and are left out without a word.
    """
    built: list[FeatureDefinition] = []
    left_out: dict[str, str] = {}
    for one in definitions:
        if not one.view and one.column:
            continue
        try:
            rebuilt([one], datasets)
        except VarvError as error:
            left_out[one.name] = str(error)
        else:
            built.append(one)
    names = {one.name for one in built}
    for one in list(built):
        if missing := [name for name in one.reads if name not in names]:
            left_out[one.name] = f"reads {', '.join(missing)}, which cannot be built"
            built.remove(one)
    features: tuple[Feature, ...] = rebuilt(built, datasets)
    if not features:
        hint = "features that are columns of the request are served as they came"
        raise FailedPrecondition("model", requests.name, "has no features of views", hint=hint)
    return FeatureSet(features, requests), left_out
