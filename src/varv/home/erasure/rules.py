"""What an erasure does next, by what the ledger says of it and whether its key is there."""

from __future__ import annotations

from typing import Literal

from varv.home.erasure.views import ErasureRecord

Step = Literal["find", "erase", "destroy", "prove", "lost", "done"]


def next_step(record: ErasureRecord, *, has_key: bool) -> Step:
    """Return what is to be done.

    Notes
    -----
    Finding is on record before the first row goes, since afterwards nobody could say what there was.
    Erasing is done from the start whenever a search found something, or none is on record: what has gone is
    passed over. The key is destroyed between a search that found nothing and the proof, so whoever is proven
    erased cannot be recognised any more, and a missing key says that the search was clean.
    """
    if record.proven is not None:
        return "done"
    if record.is_clean:
        return "destroy" if has_key else "prove"
    if not has_key:
        return "lost"
    return "find" if record.found is None else "erase"
