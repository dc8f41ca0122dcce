"""The versions of a dataset one by one, as the ledger holds them; read models keep only where rows are."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from varv.data.model import BatchQuarantined, DatasetVersionAppended, RepeatsDropped
from varv.data.versions.model import DatasetRewritten
from varv.kernel.clock import Instant
from varv.kernel.codec import Digest, digest_of
from varv.kernel.ids import Version
from varv.kernel.ledger import Ledger, entries_of


class DatasetVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a dataset: what it was before, and the batch that was added, or the rewrite.

    A rewrite has no segment; its `n_rows` lie in the files that it put in, and its `digest` is theirs.
    """

    version: Version
    part: str
    segment: str
    n_rows: int
    digest: Digest
    first: Instant | None
    last: Instant | None
    at: Instant
    cause: str = "append"
    by: str = ""
    why: str = ""


class Came(msgspec.Struct, frozen=True):
    """A batch that came once: its digest as it came, and that of its rows that are stored, if any are."""

    batch: Digest
    rows: Digest | None
    version: Version | None


def stream_of(dataset: str) -> str:
    """Return the stream of a dataset's facts."""
    return f"dataset/{dataset}"


def table_of(dataset: str, part: str) -> str:
    """Return the table of a part's rows."""
    return f"data/{dataset}/{part}"


def versions_of(
    ledger: Ledger, dataset: str, *, after: int = 0, version: int = 0
) -> Iterator[tuple[int, DatasetVersion]]:
    """Yield the versions of a dataset, each with the place in its stream after which the next one is.

    Parameters
    ----------
    after
        The place in the stream to go on from.
    version
        The last version up to there.
    """
    for entry in entries_of(ledger, stream_of(dataset), after):
        event = entry.event
        if isinstance(event, DatasetVersionAppended | DatasetRewritten):
            version += 1
            yield entry.version, _version(Version(version), event, entry.at)


def _version(
    version: Version, event: DatasetVersionAppended | DatasetRewritten, at: Instant
) -> DatasetVersion:
    if isinstance(event, DatasetVersionAppended):
        return DatasetVersion(
            version=version,
            part=event.part,
            segment=event.segment,
            n_rows=event.n_rows,
            digest=event.digest,
            first=event.first,
            last=event.last,
            at=at,
        )
    return DatasetVersion(
        version=version,
        part=event.part,
        segment="",
        n_rows=event.n_rows,
        digest=digest_of([one.digest for one in event.added]),
        first=min((one.first for one in event.added if one.first is not None), default=None),
        last=max((one.last for one in event.added if one.last is not None), default=None),
        at=at,
        cause=event.cause,
        by=event.by,
        why=event.why,
    )


def batch_of(ledger: Ledger, dataset: str, part: str, segment: str) -> Came | None:
    """Return what became of a batch, however long ago; None if it never came."""
    batch, rows, version, n_versions = None, None, None, 0
    for entry in entries_of(ledger, stream_of(dataset)):
        event = entry.event
        n_versions += isinstance(event, DatasetVersionAppended | DatasetRewritten)
        if getattr(event, "segment", None) != segment or getattr(event, "part", None) != part:
            continue
        match event:
            case DatasetVersionAppended():
                batch = event.batch or batch or event.digest
                rows, version = event.rows, Version(n_versions)
            case RepeatsDropped():
                batch = event.batch
            case BatchQuarantined():
                batch = event.batch or event.digest
    return None if batch is None else Came(batch, rows, version)
