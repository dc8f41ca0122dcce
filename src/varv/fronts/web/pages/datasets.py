"""Datasets: their versions, the contract that batches must keep, and batches that did not."""

from __future__ import annotations

from collections.abc import Mapping

from varv.data.model import DatasetRegistered
from varv.fronts.web.page import Page, Reading, not_one_of, whole_number

PAGE = 50


def data_page(now: Reading, query: Mapping[str, str]) -> Page:
    """Return every dataset and every batch in quarantine."""
    datasets = [_line(now, one) for one in now.datasets.datasets()]
    return Page("Data", "data.html", {"datasets": datasets, "quarantine": now.datasets.quarantine()})


def dataset_page(now: Reading, dataset: str, query: Mapping[str, str]) -> Page:
    """Return one dataset: its contract, its quarantine, and its versions below ``before``, newest first.

    Raises
    ------
    NotFound
        If there is no such dataset.
    """
    registered = now.datasets.registered(dataset)
    if registered is None:
        known = [str(one.dataset) for one in now.datasets.datasets()]
        raise not_one_of("dataset", dataset, known, "none is registered yet")
    versions = now.datasets.versions(dataset)
    before = min(whole_number(query, "before", len(versions) + 1), len(versions) + 1)
    shown = versions[max(0, before - 1 - PAGE) : max(0, before - 1)][::-1]
    data: dict[str, object] = {
        "dataset": _line(now, registered),
        "registered": registered,
        "contracts": {part: now.datasets.contract(dataset, part) for part in _parts(registered)},
        "quarantine": now.datasets.quarantine(dataset),
        "versions": shown,
        "older": shown[-1].version if shown and shown[-1].version > 1 else None,
        "newer": min(before + PAGE, len(versions) + 1) if before <= len(versions) else None,
    }
    return Page(dataset, "dataset.html", data)


def _parts(one: DatasetRegistered) -> list[str]:
    return [one.event_time, *one.known_at]


def _line(now: Reading, one: DatasetRegistered) -> dict[str, object]:
    versions = now.datasets.versions(one.dataset)
    base = [version for version in versions if version.part == one.event_time]
    return {
        "name": one.dataset,
        "key": one.key,
        "event_time": one.event_time,
        "known_at": one.known_at,
        "n_columns": len(one.types),
        "n_versions": len(versions),
        "n_rows": sum(version.n_rows for version in base),
        "first": min((version.first for version in base if version.first is not None), default=None),
        "last": max((version.last for version in base if version.last is not None), default=None),
        "n_quarantined": len(now.datasets.quarantine(one.dataset)),
        "has_contract": any(now.datasets.contract(one.dataset, part) for part in _parts(one)),
    }
