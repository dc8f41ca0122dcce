"""What is in quarantine of a batch, and in which table it lies.

People take rows out with `data.quarantine`; `data.arrivals` knows all that are there.
"""

from __future__ import annotations

import msgspec

from varv.data.contracts.report import WHOLE, Report
from varv.kernel.clock import Instant
from varv.kernel.codec import Digest
from varv.kernel.ids import DatasetName, Seq

REASON = "@reason"
"""The column beside the rows in quarantine that says why each is there."""


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a batch that are in quarantine: `n_rows` of them now, `n_put_aside` of `n_batch` at first."""

    dataset: DatasetName
    part: str
    segment: str
    n_rows: int
    n_put_aside: int
    n_batch: int
    whole: bool
    report: Report
    digest: Digest
    kept: Digest
    """Keyed digest of the rows as they are stored; empty if an earlier version put them aside."""
    at: Instant
    seq: Seq
    gone: frozenset[int] = frozenset()
    """The numbers of the rows that were released, replaced or dropped."""
    n_acts: int = 0
    stored: str = ""
    """The segment that they lie in, if it is not that of the batch."""

    @property
    def by_reason(self) -> dict[str, int]:
        """How many rows were put aside for each reason; those of a whole batch have its first one."""
        violations = self.report.violations
        if self.whole and violations:
            return {f"{WHOLE}: {violations[0].reason}": self.n_put_aside}
        return {broken.reason: broken.n_rows for broken in violations}

    @property
    def rows(self) -> list[int]:
        """The numbers of the rows that are in quarantine."""
        return [number for number in range(self.n_put_aside) if number not in self.gone]


def quarantine_of(dataset: str, part: str) -> str:
    """Return the table of a part's rows in quarantine."""
    return f"quarantine/{dataset}/{part}"
