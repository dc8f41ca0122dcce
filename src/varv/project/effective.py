"""The plan that a home works by: what is declared, and the features that versions in force read beside it.

A feature that is declared no more is computed for as long as a version in force reads it, so that versions of
different features answer beside each other, each by its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from varv.data import Dataset
from varv.features import Derived, FeatureDefinition, FeatureSet, FeatureView, rebuilt
from varv.features.model import Feature, names_of
from varv.kernel.ids import DatasetName
from varv.project.plan import ModelPlan
from varv.serving import RequestSchema


def with_kept(
    plan: ModelPlan, kept: Sequence[FeatureDefinition], datasets: Mapping[DatasetName, Dataset]
) -> ModelPlan:
    """Return `plan` with features that it does not declare.

    Parameters
    ----------
    kept
        What they are.
    datasets
        Every dataset that they may read, by name.
    """
    if not kept:
        return plan
    more = rebuilt(kept, datasets)
    schema, loop = plan.schema, plan.loop
    features = FeatureSet((*schema.features.declared, *more), schema.requests)
    sources = [one.source for one in more if isinstance(one, FeatureView)]
    return replace(
        plan,
        schema=replace(schema, features=features),
        loop=replace(loop, datasets=tuple(dict.fromkeys([*loop.datasets, *sources]))),
    )


def with_optional(schema: RequestSchema, first: Iterable[str]) -> RequestSchema:
    """Return `schema` with columns that a request need not bring: those that only features need which were
    declared after the loop began. Whoever asks as before is answered as before.

    Parameters
    ----------
    first
        Names of what was declared then; of a view its own.
    """
    names, declared = frozenset(first), schema.features.declared
    begun = [name for feature in declared if _name(feature) in names for name in names_of(feature)]
    early = schema.features.computing(begun)
    if len(early) == len(declared):
        return schema
    needed = FeatureSet(early, schema.requests).request_columns() if early else ()
    optional = frozenset(schema.features.request_columns()) - frozenset(needed)
    return replace(schema, optional=optional)


def _name(feature: Feature) -> str:
    return feature.name if isinstance(feature, Derived | FeatureView) else feature
