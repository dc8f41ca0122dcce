"""The use cases of erasures: erase somebody, go on with what was cut short, and see how far each is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from varv.home.erasure.carrying import Erasures
from varv.home.erasure.views import ErasureRecord, ErasuresView
from varv.kernel.clock import iso
from varv.kernel.verbs import OPERATE, READ, verb
from varv.kernel.views import Views


class EraseRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names somebody by a value in a column of a dataset; says who decides, and why, which stays in the
    ledger and must not name anybody.
    """

    dataset: str
    column: str
    subject: str
    by: str = "operator"
    why: str = ""


class GoOnRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Asks to carry on with all erasures that are not proven."""


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
    places: dict[str, str] = {}
    """By place where something was, what became of it."""


class ErasureList(msgspec.Struct, frozen=True, kw_only=True):
    """The erasures of a home, in the order in which they were asked for."""

    erasures: tuple[ErasureShown, ...]


@dataclass(frozen=True)
class ErasureDesk:
    """What carries erasures out.

    Parameters
    ----------
    erase
        Erases the rows of a dataset by a column and a value; takes who decides and why.
    go_on
        Carries on with those that are not proven.
    """

    erase: Callable[[str, str, str, str, str], ErasureRecord]
    go_on: Callable[[], list[ErasureRecord]]


def unserved(erasures: Callable[[], Erasures]) -> ErasureDesk:
    """Return what carries erasures out where nobody ingests, decides or answers.

    Parameters
    ----------
    erasures
        Returns those of the home, with nothing in memory that rows were read into.
    """
    one_at_a_time = threading.Lock()

    def erase_one(dataset: str, column: str, subject: str, by: str, why: str) -> ErasureRecord:
        with one_at_a_time:
            own = erasures()
            return own.carry(own.request(dataset, column, subject, by=by, why=why))

    def finish() -> list[ErasureRecord]:
        with one_at_a_time:
            return erasures().finish()

    return ErasureDesk(erase_one, finish)


@verb("erasure.erase", needs=OPERATE)
def erase(desk: ErasureDesk, request: EraseRequest) -> ErasureList:
    """Let all rows about somebody go, in every version and place of the home, and prove it.

    Raises
    ------
    NotFound
        If there is no such dataset or column.
    FailedPrecondition
        If the column identifies nobody, or a change of the declaration or another erasure is under way.
    """
    record = desk.erase(request.dataset, request.column, request.subject, request.by, request.why)
    return ErasureList(erasures=(shown(record),))


@verb("erasure.go_on", needs=OPERATE)
def go_on(desk: ErasureDesk, request: GoOnRequest) -> ErasureList:
    """Carry on with all erasures that are not proven."""
    return ErasureList(erasures=tuple(map(shown, desk.go_on())))


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
        places={} if record.proven is None else record.proven.places,
    )
