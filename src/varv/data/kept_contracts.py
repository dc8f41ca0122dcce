"""Where contracts are kept: in the ledger, but for the texts that a column may hold, which are beside it.

The ledger never forgets, so it only holds how to recognise those texts; they can be deleted, and a column
without them is checked for all else.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import polars as pl

from varv.data.contracts.model import ColumnRule, Contract
from varv.data.views import DatasetsView
from varv.kernel.codec import Digest, canonical
from varv.kernel.columns import Columns
from varv.kernel.errors import Corrupt, NotFound
from varv.kernel.secret import Secret
from varv.kernel.segment_files import RESTORE
from varv.kernel.views import Views


class Contracts:
    """The contracts of one store.

    Parameters
    ----------
    columns, views, secret
        Where texts are kept, the views of the ledger, and the key of their digests.
    """

    def __init__(self, columns: Columns, views: Views, secret: Secret) -> None:
        self._columns = columns
        self._views = views
        self._secret = secret
        self._read: dict[tuple[str, str], tuple[Contract, Contract]] = {}

    def keep(self, dataset: str, part: str, contract: Contract) -> Contract:
        """Store the texts of a contract, and return it as the ledger may hold it."""
        columns = []
        for rule in contract.columns:
            if rule.domain is None:
                columns.append(rule)
                continue
            name = texts_digest(self._secret, dataset, part, rule.name, rule.domain)
            texts = pl.DataFrame({"value": rule.domain}, schema={"value": pl.String})
            self._columns.append(texts_table(dataset, part), name, texts)
            columns.append(msgspec.structs.replace(rule, domain=None, domain_digest=name))
        return msgspec.structs.replace(contract, columns=tuple(columns))

    def latest(self, dataset: str, part: str) -> Contract | None:
        """Return the contract inferred last for a part, its texts filled in; None if there is none."""
        with self._views.reading(DatasetsView) as view:
            held = view.contract(dataset, part)
        if held is None:
            return None
        read = self._read.get((dataset, part))
        if read is None or read[0] is not held:
            rules = tuple(self._with_texts(dataset, part, rule) for rule in held.columns)
            read = (held, msgspec.structs.replace(held, columns=rules))
            self._read[dataset, part] = read
        return read[1]

    def _with_texts(self, dataset: str, part: str, rule: ColumnRule) -> ColumnRule:
        texts = texts_of(self._columns, dataset, part, rule.domain_digest)
        if texts is None:
            return rule
        if texts_digest(self._secret, dataset, part, rule.name, texts) != rule.domain_digest:
            name = f"columns/{texts_table(dataset, part)}/{rule.domain_digest}"
            problem = f"does not hold the texts that column {rule.name} may have"
            raise Corrupt("file", name, problem, hint=RESTORE)
        return msgspec.structs.replace(rule, domain=texts)


def texts_of(columns: Columns, dataset: str, part: str, name: Digest | None) -> tuple[str, ...] | None:
    """Return the texts of a contract by the digest that the ledger holds; None if they were deleted."""
    if name is None:
        return None
    try:
        return tuple(columns.scan(texts_table(dataset, part), [name]).collect()["value"].to_list())
    except NotFound:
        return None


def texts_digest(secret: Secret, dataset: str, part: str, column: str, texts: Sequence[str]) -> Digest:
    """Return the keyed digest by which the ledger knows the texts that a column may hold."""
    return secret.digest(canonical([dataset, part, column, texts]))


def texts_table(dataset: str, part: str) -> str:
    """Return the table of the texts that the columns of a part may hold."""
    return f"contracts/{dataset}/{part}"
