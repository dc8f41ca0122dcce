"""Requests of the past: rows, each with its own instant, answered in one go."""

from __future__ import annotations

import polars as pl

from varv.features import FeatureEngine
from varv.features.engine import Shared
from varv.serving.dataplane import DataPlane
from varv.serving.schema import RequestSchema
from varv.serving.scores import GROUP, answer_schema


def predicted(
    schema: RequestSchema,
    engine: FeatureEngine,
    plane: DataPlane,
    requests: pl.DataFrame,
    *,
    planted: pl.DataFrame | None = None,
    shared: Shared | None = None,
) -> pl.DataFrame:
    """Return the predictions of requests of the past, as they are kept: ``key``, ``requested_at``, the answer
    and the features. Before the first champion the answers are null.

    Parameters
    ----------
    planted
        Further columns that the requests bring, one row each, which are not kept.
    shared
        What other models found for these requests; see `FeatureEngine.lookup`.
    """
    at = schema.requests.event_time
    features = engine.lookup(requests, at=at, shared=shared)
    given = features if planted is None else features.hstack(planted)
    keys = schema.keys(requests)
    if plane.table is None:
        # Nothing serves yet: the requests are kept with their features, to train the first model on.
        none = [
            pl.Series(name, [None], dtype=dtype)
            for name, dtype in answer_schema(schema.task).items()
            if name != GROUP
        ]
        answers = pl.DataFrame([column.new_from_index(0, requests.height) for column in none])
    else:
        answers = plane.infer(schema.units(requests, keys), given)
    rows = pl.DataFrame([keys, requests[at].alias("requested_at")])
    return rows.hstack(answers).hstack(schema.grouped(requests)).hstack(features)
