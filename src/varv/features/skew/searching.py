"""Which state of the ledger gives what was served, request by request.

The features of a view are read together, so one state has to give all of them: a single count or share is
the same in many states by chance. The states are walked once, the earliest first, and each request is looked
up anew whenever rows have come.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from varv.features.bulk.entities import EntityCodes
from varv.features.engine import FeatureEngine
from varv.features.feature_view import FeatureView
from varv.features.model import FeatureSet
from varv.features.run import Ints
from varv.features.skew.arrivals import Step
from varv.features.skew.values import Flags, are_same
from varv.features.store import FeatureStore

_AT_ONCE = 256
"""Requests that are joined with the rows that came."""


class Group(NamedTuple):
    """Features that are read together, and the views that they come from."""

    names: tuple[str, ...]
    views: tuple[FeatureView, ...]


class Found(NamedTuple):
    """Of each request the number of the last state that gives what was served, -1 if none does; and that of
    the state in which the ledger was.
    """

    state: Ints
    current: Ints


def search(
    steps: Sequence[Step],
    features: FeatureSet,
    requests: pl.DataFrame,
    at: str,
    served: pl.DataFrame,
    groups: Sequence[Group],
) -> list[Found]:
    """Return what gives the features of each group.

    Parameters
    ----------
    steps
        As `Arrivals.steps` gives them for these requests.
    requests, at
        The requests in the order of their instants, and the column that holds these.
    served
        What they were served with.
    """
    store = FeatureStore()
    engine = FeatureEngine(features, features.requests, store)
    instants = instants_of(requests, at)
    states = [np.full(requests.height, -1, np.int64) for _ in groups]
    for number, step in enumerate(steps):
        for batch in step.batches:
            store.rows_known(batch)
        # Those before it were served by earlier states.
        first = int(np.searchsorted(instants, step.at))
        if first == requests.height:
            break
        rows = requests.slice(first)
        values = engine.lookup(rows, at)
        for state, group in zip(states, groups, strict=True):
            state[first:][_agree(values, served.slice(first), group.names)] = number
    current = np.searchsorted([step.at for step in steps], instants, side="right") - 1
    return [Found(state, current) for state in states]


def out_of_date_since(
    steps: Sequence[Step], views: Sequence[FeatureView], requests: pl.DataFrame, at: str, states: Ints
) -> Ints:
    """Return since when what each request was served with had been out of date: the time of the earliest row
    that it could have seen and that came after the state that it was served from; its own instant if there is
    none.

    Parameters
    ----------
    states
        The number of that state, of each request.
    """
    since = instants_of(requests, at).copy()
    for view in views:
        types = {name: view.source.types()[name] for name in view.entity}
        entities = EntityCodes(view.entities_in(requests), types)
        came = _came(steps, view, entities).filter(pl.col("step") > int(states.min(initial=0)))
        asked = pl.DataFrame({"code": entities.requests, "at": since, "state": states}).with_row_index(
            "place"
        )
        for some in asked.iter_slices(_AT_ONCE):
            both = some.join(came, on="code", how="inner")
            seen = both.filter(pl.col("step") > pl.col("state"), pl.col("time") <= pl.col("at"))
            first = seen.group_by("place").agg(pl.col("time").min())
            places = first["place"].to_numpy()
            since[places] = np.minimum(since[places], first["time"].to_numpy())
    return since


def _came(steps: Sequence[Step], view: FeatureView, entities: EntityCodes) -> pl.DataFrame:
    """Return the rows that a view reads: the code of the entity, the time, and the step that they came in."""
    source, key = view.source, list(view.source.key)
    batches = [(number, one) for number, step in enumerate(steps) for one in step.batches]
    own = [(number, one.rows) for number, one in batches if one.dataset is source and one.part == view.part]
    bases = [one.rows for _, one in batches if one.dataset is source and one.is_base]
    if not own or not bases:
        return pl.DataFrame(schema={"code": pl.Int64, "time": pl.Int64, "step": pl.Int64})
    base = pl.concat(bases).unique(key, keep="first", maintain_order=True)
    coded = base.select(key).with_columns(pl.Series("code", entities.of(base), pl.Int64))
    time = pl.col(view.part).cast(pl.Int64).alias("time")
    rows = pl.concat(rows.select(*key, time, pl.lit(number, pl.Int64).alias("step")) for number, rows in own)
    return rows.join(coded, on=key, how="inner").select("code", "time", "step")


def _agree(values: pl.DataFrame, served: pl.DataFrame, names: Sequence[str]) -> Flags:
    return np.logical_and.reduce([are_same(values[name], served[name]) for name in names])


def instants_of(requests: pl.DataFrame, at: str) -> Ints:
    """Return when requests were made, in microseconds."""
    return requests[at].cast(pl.Int64).to_numpy()
