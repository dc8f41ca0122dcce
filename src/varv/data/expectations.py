"""What is expected of a batch: a contract, and its rule for each column."""

from __future__ import annotations

import msgspec

from varv.kernel.clock import Instant
from varv.kernel.codec import Digest


class ColumnRule(msgspec.Struct, frozen=True, kw_only=True):
    """What is expected of one column; None means that nothing is."""

    name: str
    kind: str
    """``"integer"``, ``"number"``, ``"boolean"``, ``"text"`` or ``"time"``."""
    null_share: float = 1.0
    """The share of rows that may be null, before the allowance for chance; 0 with no allowance for keys and
    times."""
    low: float | None = None
    high: float | None = None
    lowest: float | None = None
    """Below this, as above `highest`, a value is impossible."""
    highest: float | None = None
    values: tuple[str | float, ...] | None = None
    """The only values that there are, such as 0 and 1 of a binary outcome."""
    n_distinct: int | None = None
    """Texts that differ in the reference period."""
    domain: tuple[str, ...] | None = None
    """The texts that are known. Kept beside the ledger, which holds `domain_digest`, a keyed digest of them;
    ledgers of before hold them here.
    """
    domain_digest: Digest | None = None
    may_be_missing: bool = False
    """The dataset gained the column: whoever sends rows as before does not bring it."""


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch of one part of a dataset must look like."""

    key: tuple[str, ...]
    time: str
    columns: tuple[ColumnRule, ...]
    earliest: Instant | None = None
    n_reference: int = 0
    n_impossible: int = 0
    """Rows of the reference period that this contract would have put aside."""
