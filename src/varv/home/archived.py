"""How far back features look at rows, and the check that none of these rows is archived."""

from __future__ import annotations

from collections.abc import Iterable

from varv.data import Datasets
from varv.data.cold import require_warm
from varv.features import FeatureDefinition, definitions_of
from varv.features.observed import PATIENCE
from varv.kernel.clock import Duration, Instant
from varv.kernel.ids import DatasetName
from varv.project import ModelPlan


def spans_of(one: FeatureDefinition, base: str) -> Iterable[tuple[str, Duration | None]]:
    """Return how far back a feature of a view looks at the parts of its dataset."""
    span = one.ttl if one.span is None else one.kind_of_windows().reach
    yield one.part, span
    if one.part != base:
        # What is said later of a row belongs to the entity of its base row.
        yield base, None if span is None else Duration(span + PATIENCE)


def require_in_reach(datasets: Datasets, plans: Iterable[ModelPlan], now: Instant) -> None:
    """Raise `FailedPrecondition` if a view can see rows that are archived: it is declared anew, and looks
    further back than what was served when they went.
    """
    for plan in plans:
        sources = {view.source.name: view.source for view in plan.schema.features.views}
        for one in definitions_of(plan.schema.features):
            if not one.view:
                continue
            dataset = sources[DatasetName(one.dataset)]
            for part, span in spans_of(one, dataset.event_time):
                since = None if span is None else Instant(now - span)
                extents = datasets.extents(dataset, part)
                require_warm(dataset.name, [extent for extent in extents if extent.reaches(since, None)])
