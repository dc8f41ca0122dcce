"""What is expected of a batch: a contract, with its rule for each column, and what an author declares beside
it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from varv.kernel.clock import Instant
from varv.kernel.codec import Digest, canonical

Severity = Literal["warn", "error"]
Skip = Literal["any", "all", "never"]
"""Whether a rule of several columns passes over a row in which any, or all, of its values are null."""


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """One declared rule, as the ledger keeps it; `data.contracts.expect` makes them."""

    kind: str
    """A function of `data.contracts.expect`: ``"between"``."""
    columns: tuple[str, ...]
    given: dict[str, Any] = {}
    """Its other arguments, in plain values; times are ISO 8601."""
    severity: Severity = "error"
    share: float = 0.0
    """Of the rows that the rule is about, as many may break it."""
    when: str = ""
    """How the condition reads under which the rule holds; empty if it always does."""
    when_written: str = ""
    """The condition as polars writes it."""
    name: str = ""
    """What the author calls it; empty for what its kind and columns are called."""

    def is_same(self, other: Expectation) -> bool:
        """Return whether both expect the same; how a library writes an expression does not matter."""
        return canonical(self._plain()) == canonical(other._plain())

    def _plain(self) -> Expectation:
        given = {name: value for name, value in self.given.items() if name != "written"}
        return msgspec.structs.replace(self, when_written="", given=given)

    def n_allowed(self, n_rows: int) -> int:
        """Return how many of `n_rows` that the rule is about may break it.

        Examples
        --------
        >>> Expectation(kind="between", columns=("x",), share=0.29).n_allowed(100)
        29
        """
        # A share such as .29 of 100 rows is 28.999… as doubles multiply.
        return math.floor(self.share * n_rows + 1e-9)


def is_as_before(before: Sequence[Expectation], after: Sequence[Expectation]) -> bool:
    """Return whether the same is expected, in the same order."""
    return len(before) == len(after) and all(map(Expectation.is_same, before, after))


class HourlyRows(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows come in an hour of the week: learned where a rule on volume is declared."""

    level: tuple[float, ...]
    """Mean of √(rows + 3/8) by hour of the week, from Monday 00:00 UTC."""
    spread: float
    """By which share the rate of rows varies from week to week, beyond chance in a count."""


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
    hourly: HourlyRows | None = None
