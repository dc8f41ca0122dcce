"""What became of the rows of datasets, and how far their sources were pulled; read, and never changed."""

from __future__ import annotations

import msgspec

from varv.data.arrivals import PartCounts
from varv.data.ingestion.views import PullState, PullsView
from varv.data.sources import Upstream
from varv.data.views import DatasetsView
from varv.kernel.clock import SECOND, Instant, iso
from varv.kernel.views import Views


class PartStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the rows of one part of a dataset."""

    dataset: str
    part: str
    n_rows: int
    n_equal: int
    """Repeated a key with the same values, and were dropped."""
    n_different: int
    """Repeated a key with other values, and were dropped."""
    n_waiting: int
    """Are about a row that has not come (yet), such as outcomes of an unknown key."""
    n_early: int
    """Say something from before their row existed, and are not used."""
    n_quarantined: int
    n_discarded: int
    """Were given up, or replaced, by a person."""


class PullStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far the source of a dataset was pulled."""

    dataset: str
    source: str
    done_at: str
    """When a pull last came to its end; empty if none did."""
    age_s: float | None
    """Since then."""
    n_rows: int
    """New ones, of all pulls."""
    failed: str
    """Why the last pull did not; empty if it did."""
    failing_since: str
    stale: tuple[Upstream, ...] = ()
    """What it is made of that was not found fresh when somebody looked last."""


def data_status(views: Views) -> tuple[PartStatus, ...]:
    """Return what became of the rows of every part of every dataset."""
    with views.reading(DatasetsView) as view:
        parts = [(one, part) for one in view.datasets() for part in (one.event_time, *one.known_at)]
        return tuple(
            _part_status(one.dataset, part, view.arrivals.counts(one.dataset, part)) for one, part in parts
        )


def _part_status(dataset: str, part: str, counts: PartCounts) -> PartStatus:
    return PartStatus(
        dataset=dataset,
        part=part,
        n_rows=counts.n_rows,
        n_equal=counts.n_equal,
        n_different=counts.n_different,
        n_waiting=counts.n_waiting,
        n_early=counts.n_early,
        n_quarantined=counts.n_quarantined,
        n_discarded=counts.n_discarded + counts.n_replaced,
    )


def quarantined_by_reason(views: Views) -> dict[str, int]:
    """Return how many rows were put aside for each reason, of the batches that have some in quarantine."""
    found: dict[str, int] = {}
    with views.reading(DatasetsView) as view:
        for held in view.arrivals.quarantine():
            for reason, n in held.by_reason.items():
                found[reason] = found.get(reason, 0) + n
    return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))


def pull_status(views: Views, now: Instant) -> tuple[PullStatus, ...]:
    """Return how far each source was pulled, of those that ever were."""
    with views.reading(PullsView) as view:
        return tuple(_pull(name, view.states[name], now) for name in sorted(view.states))


def _pull(name: str, state: PullState, now: Instant) -> PullStatus:
    done_at, failed = state.done_at, state.failed
    return PullStatus(
        dataset=name,
        source=state.source,
        done_at="" if done_at is None else iso(done_at),
        age_s=None if done_at is None else (now - done_at) / SECOND,
        n_rows=state.n_rows,
        failed="" if failed is None else failed.why,
        failing_since="" if failed is None else iso(failed.since),
        stale=tuple(one for one in state.upstreams if one.status != "pass"),
    )
