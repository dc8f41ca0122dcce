"""Compares the requests of an hour: reads them with what they were served, builds the features by the
definitions that served, and counts.

It reads a home and changes nothing, so it runs beside a server as well as in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from varv.data import Dataset, Datasets, DatasetsView
from varv.data.identity import keys_of
from varv.data.views import registered_dataset
from varv.features import FeatureDefinition, FeatureSet, FeatureView, rebuilt
from varv.features.model import Feature
from varv.features.skew import Comparison, Served, compare, counted, sample_share, sampled
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
        asked = self._asked(compared.features, answered, window)
        chosen = sampled(asked["@key"], self._share(model, window, asked.height) if share is None else share)
        asked = asked.filter(pl.Series(chosen)).head(MOST_COMPARED)
        names = [name for name in compared.names if name in answered.columns]
        found: Comparison = {}
        if asked.height and names:
            at = compared.features.requests.event_time
            served = Served(asked, at, asked.select(f"@{name}" for name in names).rename(_unmarked))
            versions = self._versions(compared.features.views, window)
            found = compare(self._datasets, compared.features, served, versions)
        every = np.ones(asked.height, np.bool_)
        return SkewMeasured(
            model=model,
            window=window,
            n_requests=answered.height,
            n_compared=asked.height if found else 0,
            features=tuple(
                counted(name, values, every, compared.fresh.get(name.partition(".")[0]))
                for name, values in found.items()
            ),
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

    def _asked(self, features: FeatureSet, answered: pl.DataFrame, window: Window) -> pl.DataFrame:
        """Return the requests with what features need of them, and what they were served, each under its name
        after an ``@``. Of requests that repeat a key, the one that the dataset holds.
        """
        data, at = features.requests, features.requests.event_time
        stored = self._datasets.read_part(data, at, since=window.start, until=window.end)
        rows = stored.select(list(dict.fromkeys((*features.request_columns(), at))))
        rows = rows.insert_column(0, keys_of(data.key, stored).alias("@key"))
        served = answered.rename(lambda name: f"@{name}").unique(("@key", "@requested_at"), keep="first")
        return rows.join(served, left_on=("@key", at), right_on=("@key", "@requested_at"), how="inner")

    def _share(self, model: ModelName, window: Window, n: int) -> float:
        with self._views.reading(RoutingView) as routing:
            n_day = routing.n_since(model, Instant(window.end - DAY))
        return sample_share(max(n_day, n))

    def _versions(self, views: Iterable[FeatureView], window: Window) -> dict[DatasetName, Version]:
        """Return as of which version datasets are read: rows that were replaced since then count."""
        found = {}
        for source in dict.fromkeys(view.source for view in views):
            replaced = [
                one.version
                for one in self._datasets.versions(source, since=window.start)
                if one.cause != "append" and one.at >= window.start
            ]
            if replaced:
                found[source.name] = Version(replaced[0] - 1)
        return found


def _unmarked(name: str) -> str:
    return name.removeprefix("@")


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
