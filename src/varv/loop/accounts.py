"""Accounts of a replay's rows: for each part of each dataset, how many the source holds, how many were used,
and why the others were not.

Every row of the source is counted once. Rows of before the replay begins and after it ends are outside of it,
with what is said about them; all others arrived.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from varv.data import Dataset, DatasetsView
from varv.kernel.clock import Instant
from varv.loop.feed import Feed
from varv.loop.world import World

LOUD_SHARE = 0.01
"""From this share of lost rows on, a replay says so before anything else."""
MANY_TEXTS = 1000
"""A text feature with more different values than this is pointed out."""


class PartRows(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the rows that a source holds for one part of a dataset."""

    dataset: str
    part: str
    n_source: int
    n_outside: int
    """Of a time outside of the replay, or about a row that is."""
    n_used: int
    n_equal: int
    """Repeated a key with the same values; nothing is lost by them."""
    n_different: int
    """Repeated a key with other values."""
    n_waiting: int
    """Are about a row that never came, or was put aside."""
    n_early: int
    """Say something from before their row existed."""
    n_quarantined: int
    n_discarded: int
    """Were given up, or replaced by corrected ones, by a person."""
    n_before_contract: int
    """Of those used: came before the contract was learned, which would have put them aside."""
    reasons: dict[str, int]
    """Rows that were put aside, by reason."""

    @property
    def n_arrived(self) -> int:
        """Rows that arrived during the replay."""
        return self.n_source - self.n_outside

    @property
    def n_lost(self) -> int:
        """Rows that arrived, say something that no other row says, and were not used."""
        left_out = self.n_quarantined + self.n_discarded
        return self.n_different + self.n_waiting + self.n_early + left_out


def rows_of(world: World, feed: Feed, since: Instant, until: Instant) -> tuple[PartRows, ...]:
    """Return the accounts of a finished replay of [since, until)."""
    return tuple(
        _part_rows(world, feed, dataset, part, (since, until))
        for dataset in world.model.datasets
        for part in dataset.parts
    )


def _part_rows(
    world: World, feed: Feed, dataset: Dataset, part: str, time: tuple[Instant, Instant]
) -> PartRows:
    with world.views.reading(DatasetsView) as view:
        counts = msgspec.structs.replace(view.counts(dataset.name, part))
        contract = view.contract(dataset.name, part)
    n_source = feed.n_rows(dataset, part)
    n_fed = feed.n_between(dataset, part, *time)
    n_fed += feed.n_undated(dataset) if part == dataset.event_time else 0
    n_about_outside = world.datasets.n_waiting_for(dataset, part, feed.keys_outside(dataset, *time))
    return PartRows(
        dataset=dataset.name,
        part=part,
        n_source=n_source,
        n_outside=n_source - n_fed + n_about_outside,
        n_used=counts.n_rows - counts.n_given - counts.n_waiting - counts.n_early,
        n_equal=counts.n_equal,
        n_different=counts.n_different,
        n_waiting=counts.n_waiting - n_about_outside,
        n_early=counts.n_early,
        n_quarantined=counts.n_quarantined,
        n_discarded=counts.n_discarded + counts.n_replaced,
        n_before_contract=0 if contract is None else contract.n_impossible,
        reasons=dict(counts.reasons),
    )


def warnings_of(rows: Sequence[PartRows]) -> tuple[str, ...]:
    """Return one sentence for each part that lost more than a hundredth of the rows that arrived."""
    return tuple(_loss(one) for one in rows if one.n_lost > LOUD_SHARE * one.n_arrived)


def _loss(rows: PartRows) -> str:
    causes = (
        (rows.n_quarantined, "in quarantine"),
        (rows.n_different, "repeat a key with other values"),
        (rows.n_waiting, "about a row that is not there"),
        (rows.n_early, "known before their row"),
        (rows.n_discarded, "given up"),
    )
    named = ", ".join(f"{n:,} {cause}" for n, cause in causes if n)
    share = f"{rows.n_lost / rows.n_arrived:.1%}"
    return (
        f"{share} of the rows of {rows.dataset}/{rows.part} were not used, "
        f"{rows.n_lost:,} of {rows.n_arrived:,}: {named}"
    )


def text_notices(view: DatasetsView, requests: str, features: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Return one sentence for each feature that is a text of very many different values.

    Parameters
    ----------
    requests
        The requests' dataset.
    features
        Each as `Model.definition` states it: one that is a column as it is has a name only.
    """
    columns = {feature[0] for feature in features if len(feature) == 1}
    registered = view.registered(requests)
    contract = None if registered is None else view.contract(requests, registered.event_time)
    many = [
        (rule.name, rule.n_distinct, contract.n_reference)
        for rule in (contract.columns if contract else ())
        if contract and rule.name in columns and (rule.n_distinct or 0) > MANY_TEXTS
    ]
    return tuple(
        f"feature {name!r} has {n_distinct or 0:,} different values in {n_rows:,} rows: a model learns "
        "little from a value that it hardly ever sees; make it the entity of a view, or derive a coarser one"
        for name, n_distinct, n_rows in many
    )
