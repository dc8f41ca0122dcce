"""The use cases of personal data that change nothing: look for it, and see how well rows hide."""

from __future__ import annotations

import msgspec
import polars as pl

from varv.data.dataset import Dataset
from varv.data.privacy.anonymity import Anonymity, anonymity
from varv.data.privacy.detection import MOST_ROWS, Proposal, proposals
from varv.data.service import Datasets
from varv.data.versioning.references import parse_reference
from varv.data.versioning.verbs import VersionsDesk
from varv.kernel.verbs import EXPORT, READ, verb


class PiiRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a dataset, or a version of it."""

    dataset: str


class PiiFound(msgspec.Struct, frozen=True, kw_only=True):
    """What is declared of personal columns, and what else may be personal, by rows that were looked at."""

    dataset: str
    version: int
    n_rows: int
    declared: dict[str, str]
    proposals: tuple[Proposal, ...]


class AnonymityRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a dataset or a version of it, its quasi-identifiers, an outcome, and how many rows are a
    crowd.
    """

    dataset: str
    columns: tuple[str, ...]
    outcome: str = ""
    k: int = 5


@verb("dataset.pii", needs=READ)
def find_pii(desk: VersionsDesk, request: PiiRequest) -> PiiFound:
    """Look for personal data in columns of which nobody declared it."""
    reference = parse_reference(request.dataset)
    version = desk.version(reference)
    dataset = desk.datasets.registered(reference.dataset)
    found, n_rows = list[Proposal](), 0
    for part in dataset.parts:
        rows = _sample(desk.datasets, dataset, part, version)
        n_rows = max(n_rows, rows.height)
        own = [name for name in rows.columns if part == dataset.event_time or name not in dataset.key]
        found += proposals(rows.select(own), dataset.pii)
    declared = {column: str(how) for column, how in dataset.pii.items()}
    return PiiFound(
        dataset=dataset.name, version=version, n_rows=n_rows, declared=declared, proposals=tuple(found)
    )


@verb("dataset.anonymity", needs=EXPORT)
def measure_anonymity(desk: VersionsDesk, request: AnonymityRequest) -> Anonymity:
    """Measure how well the rows of a version hide behind their quasi-identifiers."""
    reference = parse_reference(request.dataset)
    version = desk.version(reference)
    rows = desk.datasets.read(desk.datasets.registered(reference.dataset), version=version)
    return anonymity(rows, request.columns, outcome=request.outcome, k=request.k)


def _sample(datasets: Datasets, dataset: Dataset, part: str, version: int) -> pl.DataFrame:
    """Return rows of a part, evenly from files that lie evenly among all."""
    types = dataset.part_types(part)
    extents = [one for one in datasets.extents(dataset, part, upto=version) if one.n_rows]
    step = max(1, len(extents) // 100)
    chosen = extents[::step]
    each = -(-MOST_ROWS // max(1, len(chosen)))
    parts = [pl.DataFrame(schema=types)]
    for one in chosen:
        rows = datasets.rows_in(dataset, part, one)
        parts.append(rows.gather_every(max(1, rows.height // each)).head(each).select(list(types)))
    return pl.concat(parts).head(MOST_ROWS)
