"""The use case of reading encrypted values again: for a reason, which stays in the ledger with who did it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import polars as pl

from varv.data.dataset import Dataset
from varv.data.privacy import Encrypt, Pseudonymise
from varv.data.privacy.encrypting import Encryptor, Opened
from varv.data.privacy.model import ValuesRevealed
from varv.data.service import Datasets
from varv.data.values import in_json
from varv.data.versioning.references import parse_reference
from varv.data.versioning.verbs import VersionsDesk
from varv.data.versions import stream_of
from varv.kernel.errors import InvalidInput, NotFound
from varv.kernel.ids import Version
from varv.kernel.purpose_keys import PurposeKeys, normalised
from varv.kernel.sagas import Fact
from varv.kernel.verbs import REVEAL, verb

MOST_ROWS = 10_000
"""Of one answer."""


class RevealRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a dataset or a version of it, encrypted columns, all if it is left out, and the rows: those that
    hold these values, of a pseudonymised column the value as it was or the pseudonym. Says who reads, and
    why.
    """

    dataset: str
    why: str
    columns: tuple[str, ...] = ()
    where: dict[str, Any] = {}
    limit: int = 100
    by: str = "operator"


class Revealed(msgspec.Struct, frozen=True, kw_only=True):
    """Rows with their key and what was encrypted; a value is None where it was none, or is not readable any
    more: `n_shredded` have lost their key to an erasure, `n_foreign` are not of their place or were changed.
    """

    dataset: str
    version: int
    rows: list[dict[str, Any]]
    n_shredded: int
    n_foreign: int


@verb("dataset.reveal", needs=REVEAL)
def reveal(desk: VersionsDesk, request: RevealRequest) -> Revealed:
    """Read encrypted values again, which the ledger keeps on record with the reason.

    Raises
    ------
    InvalidInput
        If no reason is given, a column is not encrypted, or more rows are asked for than one answer holds.
    """
    reference = parse_reference(request.dataset)
    version, datasets = desk.version(reference), desk.datasets
    dataset = datasets.registered(reference.dataset)
    columns = _columns(dataset, request)
    rows = _chosen(datasets.read(dataset, version=version), dataset, datasets.purposes, request)
    event = ValuesRevealed(
        dataset=dataset.name,
        version=Version(version),
        columns=tuple(columns),
        by_columns=tuple(request.where),
        n_rows=rows.height,
        by=request.by,
        why=request.why.strip(),
    )
    # On record before anybody sees one.
    datasets.commit([Fact(stream_of(dataset.name), event)])
    opened = dict(_opened(rows, dataset, columns, datasets))
    shown = rows.select(dataset.key).with_columns(
        pl.Series(column, found.values, dtype=pl.String) for column, found in opened.items()
    )
    return Revealed(
        dataset=dataset.name,
        version=version,
        rows=in_json(shown),
        n_shredded=sum(found.n_shredded for found in opened.values()),
        n_foreign=sum(found.n_foreign for found in opened.values()),
    )


def _columns(dataset: Dataset, request: RevealRequest) -> dict[str, Encrypt]:
    encrypted = {name: how for name, how in dataset.pii.items() if isinstance(how, Encrypt)}
    if not request.why.strip():
        hint = "say why they are read; it stays in the ledger, so it must not name anybody"
        raise InvalidInput("request", "why", "is empty", hint=hint)
    if not 1 <= request.limit <= MOST_ROWS:
        raise InvalidInput("request", "limit", f"is not from 1 to {MOST_ROWS}", found=request.limit)
    for name in request.columns or encrypted or ("",):
        if name not in encrypted:
            hint = f"encrypted are {', '.join(encrypted) or 'none'}"
            raise InvalidInput("column", f"{dataset.name}.{name}"[:120], "is not encrypted", hint=hint)
    return {name: encrypted[name] for name in request.columns or encrypted}


def _chosen(rows: pl.DataFrame, dataset: Dataset, keys: PurposeKeys, request: RevealRequest) -> pl.DataFrame:
    for column, value in request.where.items():
        if column not in rows.columns:
            hint = f"the columns are {', '.join(rows.columns)}"
            raise NotFound("column", f"{dataset.name}.{column}"[:120], "does not exist", hint=hint)
        texts, treatment = {str(value), normalised(value)}, dataset.pii.get(column)
        if isinstance(treatment, Pseudonymise):
            texts.update(keys.pseudonyms(treatment.purpose, value))
        rows = rows.filter(pl.col(column).cast(pl.String).is_in(sorted(texts)))
    return rows.head(request.limit)


def _opened(
    rows: pl.DataFrame, dataset: Dataset, columns: Mapping[str, Encrypt], datasets: Datasets
) -> Iterator[tuple[str, Opened]]:
    encryptor = Encryptor(dataset.name, dataset.key, datasets.purposes.subjects)
    for column, how in columns.items():
        yield column, encryptor.opened(rows, column, how.whose)
