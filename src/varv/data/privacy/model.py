"""What can happen to personal data of a dataset: treatments are declared, and rows of a subject go."""

from __future__ import annotations

import msgspec

from varv.kernel.codec import Digest, Event, event
from varv.kernel.ids import DatasetName, Version
from varv.kernel.wording import count


@event("data.pii_declared")
class PiiDeclared(Event, frozen=True, kw_only=True):
    """What is done to personal columns of a dataset from now on, before a row is written; all of it."""

    dataset: DatasetName
    treatments: dict[str, str]

    def line(self) -> str:
        """Return one line on what this event states."""
        said = ", ".join(f"{name}: {how}" for name, how in self.treatments.items())
        return f"{self.dataset}: {said or 'no column'} is treated as personal"


@event("data.values_revealed")
class ValuesRevealed(Event, frozen=True, kw_only=True):
    """Somebody read encrypted values of some rows again, for a reason. It does not say which rows, only by
    which columns they were chosen.
    """

    dataset: DatasetName
    version: Version
    columns: tuple[str, ...]
    by_columns: tuple[str, ...] = ()
    n_rows: int
    by: str
    why: str

    def line(self) -> str:
        """Return one line on what this event states."""
        what = f"{', '.join(self.columns)} of {count(self.n_rows)} rows of {self.dataset}@{self.version}"
        return f"{what} read by {self.by}: {self.why}"


@event("data.quarantine_erased")
class QuarantineErased(Event, frozen=True, kw_only=True):
    """Rows of a batch that was put aside were erased. They stay as rows without values, so the numbers of the
    others stay; all lie in the segment `into` now, with the keyed digest `digest`.
    """

    dataset: DatasetName
    part: str
    segment: str
    into: str
    rows: tuple[int, ...]
    n_rows: int
    digest: Digest
    erasure: str
    before: str = msgspec.field(default="")
    """The segment that they lay in until now; its file is removed."""

    def line(self) -> str:
        """Return one line on what this event states."""
        n = count(len(self.rows))
        return f"{self.dataset} {self.part} {self.segment}: {n} rows in quarantine erased ({self.erasure})"
