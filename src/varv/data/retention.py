"""Retention: which versions of a dataset are kept though nothing names them."""

from __future__ import annotations

import msgspec

from varv.kernel.clock import Duration, duration, spoken
from varv.kernel.errors import InvalidInput
from varv.kernel.wording import count


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """Which versions of a dataset are kept though nothing names them: those of the last `span`, or the last
    `n_versions`; all if it says neither.
    """

    span: Duration | None = None
    n_versions: int | None = None

    @property
    def keeps_all(self) -> bool:
        """Whether no version is ever given up."""
        return self.span is None and self.n_versions is None

    def __str__(self) -> str:
        if self.span is not None:
            return f"those of the last {spoken(self.span)}"
        if self.n_versions is None:
            return "all versions"
        return "the last version" if self.n_versions == 1 else f"the last {count(self.n_versions)} versions"


def retention_of(keep: str | int | None) -> Retention:
    """Return what is kept, as people write it: ``"90d"``, or a number of versions; all for None.

    Raises
    ------
    InvalidInput
        If it is neither, or no version would be left.
    """
    if keep is None:
        return Retention()
    if isinstance(keep, int) or keep.isdecimal():
        if int(keep) < 1:
            raise InvalidInput("retention", keep, "keeps no version", hint="keep 1 at least")
        return Retention(n_versions=int(keep))
    return Retention(span=duration(keep))
