"""Read model of what is unusual in datasets now: anomalies that are not cleared, and contracts that warn; and
of which datasets nobody waits for it, since they are not declared any more.

That sources fail is in `data.ingestion.views`, that rows are in quarantine in `data.views`.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from varv.data.ingestion.views import PullsView
from varv.data.model import BatchWarned, DatasetDeclaredAgain, DatasetUndeclared, DatasetVersionAppended
from varv.data.profiling.model import AnomalyCleared, AnomalyRaised
from varv.data.versions.model import DatasetDerived
from varv.kernel.clock import DAY, Instant
from varv.kernel.codec import Event
from varv.kernel.ids import DatasetName
from varv.kernel.ledger import Entry
from varv.kernel.sagas import Fact
from varv.kernel.views import Views

WARNED_FOR = DAY
"""A warning stands until rows come so long after the last batch that broke a rule."""


class OpenAnomaly(msgspec.Struct, frozen=True):
    """An anomaly that has not been cleared, and when it was raised."""

    raised: AnomalyRaised
    at: Instant


class OpenWarning(msgspec.Struct, frozen=True):
    """The last batch that broke rules that only warn, and since when batches have."""

    last: BatchWarned
    since: Instant
    at: Instant
    """When the last one came."""


class DataAlarmsView(msgspec.Struct):
    """What is unusual in datasets now; folded from the ledger."""

    anomalies: dict[tuple[str, str, str, str], OpenAnomaly] = {}
    """By dataset, part, column and measure."""
    warnings: dict[tuple[str, str], OpenWarning] = {}
    """By dataset and part."""
    derived: set[str] = set()
    """Datasets that pipelines made."""
    undeclared: set[str] = set()
    """Datasets that are not declared any more, whose alarms are left out."""

    def apply(self, entry: Entry, event: Event) -> None:
        """Take in the next entry."""
        match event:
            case AnomalyRaised():
                self.anomalies[_place(event)] = OpenAnomaly(event, entry.at)
            case AnomalyCleared():
                self.anomalies.pop(_place(event), None)
            case DatasetDerived():
                self.derived.add(event.dataset)
            case DatasetUndeclared():
                self.undeclared.add(event.dataset)
            case DatasetDeclaredAgain():
                self.undeclared.discard(event.dataset)
            case BatchWarned():
                before = self.warnings.get((event.dataset, event.part))
                since = entry.at if before is None else before.since
                self.warnings[event.dataset, event.part] = OpenWarning(event, since, entry.at)
            case DatasetVersionAppended() if event.n_rows:
                held = self.warnings.get((event.dataset, event.part))
                if held is not None and entry.at - held.at >= WARNED_FOR:
                    del self.warnings[event.dataset, event.part]
            case _:
                pass


def declarations_of(dataset: str) -> str:
    """Return the stream of whether a dataset is declared."""
    return f"declared/{dataset}"


def declaration_facts(views: Views, declared: Iterable[str]) -> list[Fact]:
    """Return what is to be put on record of datasets with alarms, now that these are declared: those that are
    not declared any more, but for what pipelines make, and those that are again.
    """
    names = set(declared)
    with views.reading(DataAlarmsView) as data, views.reading(PullsView) as pulls:
        alarming = {name for name, *_ in data.anomalies} | {name for name, _ in data.warnings}
        alarming |= {name for name, state in pulls.states.items() if state.failed is not None}
        gone = alarming - names - data.derived - data.undeclared
        back = names & data.undeclared
    facts = [Fact(declarations_of(one), DatasetUndeclared(dataset=DatasetName(one))) for one in sorted(gone)]
    return facts + [
        Fact(declarations_of(one), DatasetDeclaredAgain(dataset=DatasetName(one))) for one in sorted(back)
    ]


def _place(event: AnomalyRaised | AnomalyCleared) -> tuple[str, str, str, str]:
    return event.dataset, event.part, event.column, event.measure
