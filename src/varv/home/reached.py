"""How far back what a home serves looks at the rows of a dataset: nothing within that is archived.

By what is on record, so that it holds with a server and without one. What a person asks for once (a training
set, an older version, a new model) may look further back, and says then what has to be restored.
"""

from __future__ import annotations

from collections.abc import Iterable

from varv.data import DatasetsView
from varv.data.tiers import Reach
from varv.features import FeatureDefinition
from varv.home.archived import spans_of
from varv.home.change.recorded import in_force
from varv.home.change.views import ChangesView
from varv.home.views import HomeView
from varv.kernel.clock import Duration
from varv.kernel.ids import ModelName
from varv.kernel.ledger import Ledger
from varv.kernel.views import Views
from varv.loop.views import LoopRecord, LoopView


def reached(views: Views, ledger: Ledger, dataset: str) -> list[Reach]:
    """Return how far back rows of the parts of a dataset are looked at, and by what."""
    found: dict[tuple[str, Duration | None], str] = {}
    with views.reading(DatasetsView) as view:
        known = view.registered(dataset)
    base = "" if known is None else str(known.event_time)
    with views.reading(HomeView) as home, views.reading(ChangesView) as changes:
        if home.replayed_through is not None and not home.replay_finished:
            found["", None] = "a replay that is not finished"
        if changes.open:
            found["", None] = "a change of the declaration that is not done"
    with views.reading(LoopView) as loops_view:
        loops = [record for record in loops_view.loops.values() if record.retired_at is None]
    for record in loops:
        for one in _in_use(record, views, ledger):
            if one.view and one.dataset == dataset:
                for part, span in spans_of(one, base):
                    found.setdefault((part, span), f"view {one.view} of {record.model}")
        # Few columns, and trainings, counts and judgements read all of them.
        if record.declared is not None and record.declared.requests == dataset:
            _, column, known_at = record.definition[0]
            if column:
                found.setdefault((known_at, None), f"{record.model}, whose outcomes these are")
    return [Reach(part, span, by) for (part, span), by in found.items()]


def _in_use(record: LoopRecord, views: Views, ledger: Ledger) -> Iterable[FeatureDefinition]:
    """Return the features of a model that are declared, and those that versions in force read beside them."""
    if record.declared is None:
        # A home of before does not say which of them are.
        return record.features.values()
    names = {one.name for one in record.declared.features} | set(record.declared.kept)
    for reads in in_force(views, ledger, ModelName(record.model)).values():
        names |= reads
    return [one for name, one in record.features.items() if name in names]
