"""Accounts of a replay's rows: for each part of each dataset, how many the source holds, how many were used,
and why the others were not.

Every row of the source is counted once. Rows of before the replay begins and after it ends are outside of it,
with what is said about them; all others arrived.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from varv.data import Dataset, DatasetsView
from varv.home.feed import Feed
from varv.home.home import Home
from varv.home.model import PartRows
from varv.kernel.clock import Instant

LOUD_SHARE = 0.01
"""From this share of lost rows on, a replay says so before anything else."""
MANY_TEXTS = 1000
"""A text feature with more different values than this is pointed out."""


def rows_of(
    home: Home, datasets: Sequence[Dataset], feed: Feed, since: Instant, until: Instant
) -> tuple[PartRows, ...]:
    """Return the accounts of `datasets` in a finished replay of [since, until)."""
    return tuple(
        _part_rows(home, feed, dataset, part, (since, until))
        for dataset in datasets
        for part in dataset.parts
    )


def _part_rows(
    home: Home, feed: Feed, dataset: Dataset, part: str, time: tuple[Instant, Instant]
) -> PartRows:
    with home.views.reading(DatasetsView) as view:
        counts = msgspec.structs.replace(view.arrivals.counts(dataset.name, part))
        contract = view.contract(dataset.name, part)
    n_source = feed.n_rows(dataset, part)
    n_fed = feed.n_between(dataset, part, *time)
    n_fed += feed.n_undated(dataset) if part == dataset.event_time else 0
    n_about_outside = home.datasets.keys.n_waiting_for(dataset, part, feed.keys_outside(dataset, *time))
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
        Each as `LoopPlan.definition` states it: one that is a column as it is has a name only.
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
