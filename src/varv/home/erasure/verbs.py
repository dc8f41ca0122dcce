"""The use case of erasures that a running server has: how far each is. They are carried out where no server
runs, since whoever answers holds rows in memory.
"""

from __future__ import annotations

import msgspec

from varv.home.erasure.views import ErasureRecord, ErasuresView
from varv.kernel.clock import iso
from varv.kernel.verbs import READ, verb
from varv.kernel.views import Views


class ErasuresRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for the erasures of a home."""


class ErasureShown(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure: who asked for it, how many rows it concerns by table, the models trained on some, what is
    left and where, and whether it is proven.
    """

    erasure: str
    dataset: str
    column: str
    by: str
    why: str
    at: str
    n_rows: dict[str, int]
    models: tuple[str, ...]
    left: dict[str, int]
    n_files: int
    """Files that were searched last."""
    by_value: bool
    proven: bool


class ErasureList(msgspec.Struct, frozen=True, kw_only=True):
    """The erasures of a home, in the order in which they were asked for."""

    erasures: tuple[ErasureShown, ...]


@verb("erasure.list", needs=READ)
def list_erasures(views: Views, request: ErasuresRequest) -> ErasureList:
    """List the erasures of a home, and what each has done."""
    with views.reading(ErasuresView) as view:
        return ErasureList(erasures=tuple(map(shown, view.of.values())))


def shown(record: ErasureRecord) -> ErasureShown:
    """Return what is shown of an erasure."""
    asked, found, searched = record.requested, record.found, record.searched
    return ErasureShown(
        erasure=asked.erasure,
        dataset=asked.dataset,
        column=asked.column,
        by=asked.by,
        why=asked.why,
        at=iso(record.at),
        n_rows={} if found is None else found.n_rows,
        models=() if found is None else found.models,
        left={} if searched is None else searched.left,
        n_files=0 if searched is None else searched.n_files,
        by_value=searched is not None and searched.by_value,
        proven=record.proven is not None,
    )
