"""Datasets: their versions, the contract that rows must keep, and what was left out and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import polars as pl

from varv.data.arrivals import PartCounts
from varv.data.contracts.model import Contract
from varv.data.kept_contracts import texts_of
from varv.data.model import DatasetRegistered
from varv.data.profiling.keeping import kept_profile, kept_versions, last_kept
from varv.data.profiling.verbs import Profiled
from varv.data.quarantine import ROW
from varv.data.quarantined import REASON, Quarantined, quarantine_of
from varv.fronts.web.page import Page, Reading, not_one_of, whole_number
from varv.home.impact import impact_of
from varv.kernel.catalogue import Extent
from varv.kernel.clock import Instant
from varv.kernel.errors import NotFound
from varv.kernel.wording import count
from varv.profiles import Profile
from varv.profiles.difference import profile_difference
from varv.profiles.reading import read

PAGE = 50
ROWS = 50
LONGEST_VALUE = 80


class Reason(msgspec.Struct, kw_only=True):
    """What rows were put aside for, over all batches of a part that have some in quarantine."""

    dataset: str
    part: str
    reason: str
    n_rows: int = 0
    n_batches: int = 0
    first: Instant
    last: Instant


def data_page(now: Reading, query: Mapping[str, str]) -> Page:
    """Return every dataset, what became of its rows, and what is in quarantine."""
    registered = now.datasets.datasets()
    held = now.datasets.arrivals.quarantine()
    data: dict[str, object] = {
        "datasets": [_line(now, one) for one in registered],
        "parts": part_lines(now),
        "reasons": reasons_of(held),
        "n_held": sum(one.n_rows for one in held),
    }
    return Page("Data", "data.html", data)


def dataset_page(now: Reading, dataset: str, query: Mapping[str, str]) -> Page:
    """Return one dataset: its contract, its quarantine, and its versions before ``before``, newest first.

    Raises
    ------
    NotFound
        If there is no such dataset.
    """
    registered = _registered(now, dataset)
    stored = sorted(_extents(now, registered), key=lambda one: one[1].number)
    before = min(whole_number(query, "before", len(stored) + 1), len(stored) + 1)
    first = max(0, before - 1 - PAGE)
    shown = stored[first : max(0, before - 1)][::-1]
    held = now.datasets.arrivals.quarantine(dataset)
    data: dict[str, object] = {
        "dataset": _line(now, registered),
        "registered": registered,
        "contracts": {part: _contract(now, dataset, part) for part in _parts(registered)},
        "parts": [one for one in part_lines(now) if one["dataset"] == dataset],
        "reasons": reasons_of(held),
        "held": held[: -PAGE - 1 : -1],
        "n_held_batches": len(held),
        "stored": [_stored(part, one) for part, one in shown],
        "tags": sorted(now.datasets.history(dataset).tags.values(), key=lambda tagged: -tagged.version),
        "archived": _archived(stored),
        "keeps": str(now.datasets.history(dataset).retention),
        "older": first + 1 if shown and first else None,
        "newer": min(before + PAGE, len(stored) + 1) if before <= len(stored) else None,
    }
    return Page(dataset, "dataset.html", data)


def _archived(stored: Sequence[tuple[str, Extent]]) -> list[dict[str, object]]:
    """Return what of each part lies in the archive."""
    cold: dict[str, list[Extent]] = {}
    for part, one in stored:
        if one.cold:
            cold.setdefault(part, []).append(one)
    return [
        {
            "part": part,
            "n_files": len(several),
            "n_rows": sum(one.n_rows for one in several),
            "first": min((one.first for one in several if one.first is not None), default=None),
            "last": max((one.last for one in several if one.last is not None), default=None),
        }
        for part, several in sorted(cold.items())
    ]


def impact_page(now: Reading, dataset: str, query: Mapping[str, str]) -> Page:
    """Return what a column of a dataset touches, or all of it where none is named.

    Raises
    ------
    NotFound
        If there is no such dataset, or it has no such column.
    """
    registered = _registered(now, dataset)
    column = query.get("column", "")
    found = impact_of(now, f"{dataset}.{column}" if column else dataset)
    data: dict[str, object] = {"impact": found, "columns": sorted(registered.types)}
    return Page(f"What {dataset}{'.' if column else ''}{column} touches", "impact.html", data)


def quarantine_page(now: Reading, dataset: str, part: str, segment: str) -> Page:
    """Return the rows of one batch that are in quarantine, the first fifty with their values.

    Raises
    ------
    NotFound
        If there are none.
    """
    _registered(now, dataset)
    held = now.datasets.arrivals.quarantined(dataset, part, segment)
    if held is None:
        hint = "it never was, or somebody released, replaced or dropped it"
        raise NotFound("batch", f"{dataset}/{part}/{segment}"[:160], "is not in quarantine", hint=hint)
    names, rows = _rows(now, held)
    data: dict[str, object] = {
        "batch": held,
        "violations": held.report.violations,
        "names": names,
        "rows": rows,
    }
    return Page(f"Quarantine of {dataset}", "quarantine.html", data)


def profile_page(now: Reading, dataset: str, query: Mapping[str, str]) -> Page:
    """Return the last profile that was made of a dataset, of the ``part`` that is asked for, and what moved
    since that of the version ``against``.

    Raises
    ------
    NotFound
        If there is no such dataset, part or profile.
    """
    registered = _registered(now, dataset)
    parts = _parts(registered)
    part = query.get("part", "") or parts[0]
    if part not in parts:
        raise not_one_of("part", part, parts, "it has none")
    kept = None if now.folder is None else last_kept(now.folder, dataset, part)
    against, earlier = query.get("against", ""), list[int]()
    found = None
    if now.folder is not None and kept is not None:
        version, profile = kept
        found = Profiled(dataset=dataset, part=part, version=version, profile=read(profile))
        earlier = [one for one in kept_versions(now.folder, dataset, part) if one < version]
        if against:
            before = _profile_before(now.folder, dataset, part, against, earlier)
            moved = profile_difference(before, profile)
            found = msgspec.structs.replace(found, against=f"version {against}", difference=moved)
    data: dict[str, object] = {
        "name": dataset,
        "part": part,
        "parts": parts,
        "found": found,
        "earlier": earlier[::-1],
        "against": against,
    }
    return Page(f"Profile of {dataset}", "dataset_profile.html", data)


def _profile_before(folder: Path, dataset: str, part: str, version: str, known: list[int]) -> Profile:
    found = kept_profile(folder, dataset, part, int(version)) if version in map(str, known) else None
    if found is None:
        raise not_one_of("version", version, list(map(str, known)), "none before it has a profile")
    return found


def part_lines(now: Reading) -> list[dict[str, object]]:
    """Return what became of the rows of every part, as a table shows it."""
    parts = [(one.dataset, part) for one in now.datasets.datasets() for part in _parts(one)]
    return [
        {"dataset": name, "part": part, **_counts(now.datasets.arrivals.counts(name, part))}
        for name, part in parts
    ]


def _counts(counts: PartCounts) -> dict[str, int]:
    return {
        "n_rows": counts.n_rows,
        "n_equal": counts.n_equal,
        "n_different": counts.n_different,
        "n_waiting": counts.n_waiting,
        "n_early": counts.n_early,
        "n_quarantined": counts.n_quarantined,
        "n_discarded": counts.n_discarded + counts.n_replaced,
    }


def reasons_of(held: Iterable[Quarantined]) -> list[Reason]:
    """Return the reasons for which rows are in quarantine, the most frequent first."""
    found: dict[tuple[str, str, str], Reason] = {}
    for one in held:
        for name, n_rows in one.by_reason.items():
            key = (one.dataset, one.part, name)
            reason = found.setdefault(
                key, Reason(dataset=one.dataset, part=one.part, reason=name, first=one.at, last=one.at)
            )
            reason.n_rows += n_rows
            reason.n_batches += 1
            reason.last = one.at
    return sorted(found.values(), key=lambda one: (-one.n_rows, one.dataset, one.part, one.reason))


def _rows(now: Reading, held: Quarantined) -> tuple[list[str], list[dict[str, object]]]:
    """Return the columns and the first rows of a batch in quarantine; none where they were deleted."""
    try:
        if now.columns is None:
            return [], []
        stored = now.columns.scan(
            quarantine_of(held.dataset, held.part), [held.stored or held.segment]
        ).collect()
    except NotFound:
        return [], []
    rows = stored.with_row_index(ROW).filter(~pl.col(ROW).is_in(sorted(held.gone))).head(ROWS)
    names = [name for name in stored.columns if name != REASON]
    return names, [
        {
            "row": row[ROW],
            "reason": row.get(REASON, ""),
            "values": ["" if row[name] is None else str(row[name])[:LONGEST_VALUE] for name in names],
        }
        for row in rows.to_dicts()
    ]


def _contract(now: Reading, dataset: str, part: str) -> Contract | None:
    held = now.datasets.contract(dataset, part)
    if held is None or now.columns is None:
        return held
    columns = []
    for rule in held.columns:
        texts = texts_of(now.columns, dataset, part, rule.domain_digest)
        columns.append(rule if texts is None else msgspec.structs.replace(rule, domain=texts))
    return msgspec.structs.replace(held, columns=tuple(columns))


def _registered(now: Reading, dataset: str) -> DatasetRegistered:
    registered = now.datasets.registered(dataset)
    if registered is None:
        known = [str(one.dataset) for one in now.datasets.datasets()]
        raise not_one_of("dataset", dataset, known, "none is registered yet")
    return registered


def _parts(one: DatasetRegistered) -> list[str]:
    return [one.event_time, *one.known_at]


def _extents(now: Reading, one: DatasetRegistered) -> list[tuple[str, Extent]]:
    """Return where the rows of each part are."""
    return [
        (part, extent)
        for part in _parts(one)
        for extent in now.datasets.catalogue(one.dataset, part).extents()
    ]


def _stored(part: str, one: Extent) -> dict[str, object]:
    """Return a segment, or a file of many, as a table shows it."""
    upto = f"–{count(one.last_number)}" if one.n_segments > 1 else ""
    return {
        "versions": f"{count(one.number)}{upto}",
        "part": part,
        "batch": f"{count(one.n_segments)} batches" if one.n_segments > 1 else one.name,
        "n_rows": one.n_rows,
        "first": one.first,
        "last": one.last,
        "digest": one.digest,
    }


def _line(now: Reading, one: DatasetRegistered) -> dict[str, object]:
    base = now.datasets.catalogue(one.dataset, one.event_time)
    first, last = base.span()
    return {
        "name": one.dataset,
        "key": one.key,
        "event_time": one.event_time,
        "known_at": one.known_at,
        "n_columns": len(one.types),
        "n_versions": now.datasets.version(one.dataset),
        "n_rows": sum(extent.n_rows for extent in base.extents()),
        "first": first,
        "last": last,
        "n_quarantined": sum(held.n_rows for held in now.datasets.arrivals.quarantine(one.dataset)),
        "has_contract": any(now.datasets.contract(one.dataset, part) for part in _parts(one)),
    }
