"""The use cases of data: rows and outcomes that arrive, and rows in quarantine.

The functions of the quarantine serve a running server, where rows that come out reach features and labels at
once, and a home that nobody serves, where they do so at the next `varv up`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from varv.data import Correction, Datasets, Quarantine, Selection
from varv.data.inbox import Acceptance, Inbox, RefusedRow, typed_rows
from varv.data.quarantine import ROW
from varv.data.quarantined import REASON, Quarantined
from varv.data.values import in_json
from varv.data.views import DatasetsView
from varv.kernel.clock import Clock, iso
from varv.kernel.errors import InvalidInput
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ids import ModelName
from varv.kernel.ledger import Ledger
from varv.kernel.secret import SECRET_FILE, Secret
from varv.kernel.verbs import OPERATE, READ, WRITE, verb
from varv.kernel.views import Views

MOST_LISTED = 500
"""Batches of one answer."""
MOST_SHOWN = 1000
"""Rows of one answer."""


class OutcomeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Outcomes of requests: rows with the key and the outcome, by the dataset's own column names."""

    model: str
    rows: list[dict[str, Any]]


class AppendRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a dataset, or of one of its later parts."""

    dataset: str
    rows: list[dict[str, Any]]
    part: str = ""


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """So many rows are durable, and will be in the ledger within seconds; the others are named."""

    n_rows: int
    n_unknown: int = 0
    """Of these, outcomes of keys that no request has so far; they join it when it appears."""
    n_refused: int = 0
    refused: tuple[RefusedRow, ...] = ()
    """The first hundred of them."""


class ListRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a dataset and a part; all if they are left out."""

    dataset: str = ""
    part: str = ""


class ShowRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Chooses rows in quarantine, and says how many to show."""

    dataset: str
    part: str = ""
    segment: str = ""
    reason: str = ""
    rows: tuple[int, ...] = ()
    limit: int = 20


class HeldRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Chooses rows in quarantine: of a dataset, part or segment, of a reason, or by number within a segment;
    and says who acts and why.
    """

    dataset: str
    part: str = ""
    segment: str = ""
    reason: str = ""
    rows: tuple[int, ...] = ()
    by: str = "operator"
    why: str = ""


class ReplaceRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Chooses rows of one batch in quarantine, and gives the corrected ones; says who acts and why."""

    dataset: str
    part: str = ""
    segment: str = ""
    reason: str = ""
    rows: tuple[int, ...] = ()
    corrected: list[dict[str, Any]]
    by: str = "operator"
    why: str = ""


class HeldBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch with rows in quarantine: how many, of how many that came, and why they were put aside."""

    dataset: str
    part: str
    segment: str
    n_rows: int
    n_batch: int
    whole: bool
    reasons: dict[str, int]
    since: str
    seq: int


class HeldList(msgspec.Struct, frozen=True, kw_only=True):
    """What is in quarantine; the newest batches are listed, all are counted."""

    n_rows: int
    n_batches: int
    batches: tuple[HeldBatch, ...]


class HeldRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row: its number in the segment, why it is there, and its values, times in ISO 8601."""

    segment: str
    row: int
    reason: str
    values: dict[str, Any]


class HeldRows(msgspec.Struct, frozen=True, kw_only=True):
    """Rows in quarantine: as many as were asked for, and how many there are."""

    n_rows: int
    rows: tuple[HeldRow, ...]


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What became of rows in quarantine: how many were taken out, and how many the dataset gained; those that
    repeat a key that stands are dropped.
    """

    n_rows: int
    n_batches: int
    n_gained: int
    n_repeated: int
    flows: bool
    """Whether features and labels hold them now; if not, they do at the next start of the server."""


class QuarantineDesk:
    """What the use cases work on.

    Parameters
    ----------
    views, quarantine
        Of one home.
    settle
        Commits what a function prepares, and returns it.
    flows
        Whether what comes out is known to those that answer at once.
    """

    def __init__(
        self,
        views: Views,
        quarantine: Quarantine,
        settle: Callable[[Callable[[], Correction]], Correction],
        *,
        flows: bool,
    ) -> None:
        self.views = views
        self.quarantine = quarantine
        self.settle = settle
        self.flows = flows


def offline_desk(home: Path, ledger: Ledger, views: Views, clock: Clock) -> QuarantineDesk:
    """Return what acts on the quarantine of a home that nobody serves."""
    columns = FolderColumns(home / "columns")
    datasets = Datasets(ledger, columns, clock, views, Secret(home / SECRET_FILE))

    def settle(decide: Callable[[], Correction]) -> Correction:
        corrected = decide()
        datasets.commit(corrected.facts)
        return corrected

    return QuarantineDesk(views, Quarantine(datasets, views, clock), settle, flows=False)


@verb("outcome.record", needs=WRITE)
def record_outcomes(inbox: Inbox, request: OutcomeRequest) -> Accepted:
    """Make outcomes durable, but for those that do not fit; they are in the ledger within seconds."""
    return _accepted(inbox.accept_outcomes(ModelName(request.model), request.rows))


@verb("dataset.append", needs=WRITE)
def append_rows(inbox: Inbox, request: AppendRequest) -> Accepted:
    """Make rows of a dataset durable, but for those that do not fit; features hold them within seconds."""
    return _accepted(inbox.accept(request.dataset, request.part, request.rows))


def _accepted(found: Acceptance) -> Accepted:
    return Accepted(
        n_rows=found.n_rows, n_unknown=found.n_unknown, n_refused=found.n_refused, refused=found.refused
    )


@verb("quarantine.list", needs=READ)
def list_held(desk: QuarantineDesk, request: ListRequest) -> HeldList:
    """List the batches that have rows in quarantine, with the reasons."""
    with desk.views.reading(DatasetsView) as view:
        found = view.arrivals.quarantine(request.dataset or None, request.part or None)
    return HeldList(
        n_rows=sum(held.n_rows for held in found),
        n_batches=len(found),
        batches=tuple(_batch(held) for held in found[: -MOST_LISTED - 1 : -1]),
    )


def _batch(held: Quarantined) -> HeldBatch:
    return HeldBatch(
        dataset=held.dataset,
        part=held.part,
        segment=held.segment,
        n_rows=held.n_rows,
        n_batch=held.n_batch,
        whole=held.whole,
        reasons={broken.reason: broken.n_rows for broken in held.report.violations},
        since=iso(held.at),
        seq=held.seq,
    )


@verb("quarantine.show", needs=READ)
def show_held(desk: QuarantineDesk, request: ShowRequest) -> HeldRows:
    """Show rows in quarantine with their values, numbers and reasons."""
    if not 0 <= request.limit <= MOST_SHOWN:
        hint = f"ask for {MOST_SHOWN} at most"
        raise InvalidInput("limit", request.limit, "is not a number of rows", hint=hint)
    chosen = _selection(request)
    rows: list[HeldRow] = []
    n_rows = 0
    for held in desk.quarantine.batches(chosen):
        left = request.limit - len(rows)
        whole = not chosen.reason and not chosen.rows
        if left <= 0 and whole:
            n_rows += held.n_rows
            continue
        found = desk.quarantine.rows(held, chosen)
        n_rows += found.height
        rows += _shown(held, found.head(max(left, 0)))
    return HeldRows(n_rows=n_rows, rows=tuple(rows))


def _shown(held: Quarantined, found: pl.DataFrame) -> list[HeldRow]:
    times = [name for name, dtype in found.schema.items() if isinstance(dtype, pl.Datetime)]
    shown = []
    for row in in_json(found):
        number, reason = row.pop(ROW), row.pop(REASON)
        values = {
            name: iso(value) if name in times and value is not None else value for name, value in row.items()
        }
        shown.append(HeldRow(segment=held.segment, row=number, reason=reason, values=values))
    return shown


@verb("quarantine.release", needs=OPERATE)
def release(desk: QuarantineDesk, request: HeldRequest) -> Settled:
    """Let rows out of quarantine as they are."""
    chosen = _selection(request)
    return _settled(desk, lambda: desk.quarantine.release(chosen, by=request.by, why=request.why))


@verb("quarantine.replace", needs=OPERATE)
def replace(desk: QuarantineDesk, request: ReplaceRequest) -> Settled:
    """Put corrected rows in the place of rows in quarantine."""
    chosen = _selection(request)

    def decide() -> Correction:
        part = desk.quarantine.batches(chosen)[0].part
        given = typed_rows(desk.quarantine.dataset(chosen.dataset), part, request.corrected)
        return desk.quarantine.replace(chosen, given, by=request.by, why=request.why)

    return _settled(desk, decide)


@verb("quarantine.drop", needs=OPERATE)
def drop(desk: QuarantineDesk, request: HeldRequest) -> Settled:
    """Give rows in quarantine up for good."""
    chosen = _selection(request)
    return _settled(desk, lambda: desk.quarantine.drop(chosen, by=request.by, why=request.why))


def _settled(desk: QuarantineDesk, decide: Callable[[], Correction]) -> Settled:
    corrected = desk.settle(decide)
    n_gained = sum(prepared.rows.height for *_, prepared in corrected.made if prepared.accepted)
    return Settled(
        n_rows=corrected.n_rows,
        n_batches=corrected.n_batches,
        n_gained=n_gained,
        n_repeated=sum(prepared.report.n_rows for *_, prepared in corrected.made) - n_gained,
        flows=desk.flows,
    )


def _selection(request: ShowRequest | HeldRequest | ReplaceRequest) -> Selection:
    return Selection(
        dataset=request.dataset,
        part=request.part,
        segment=request.segment,
        reason=request.reason,
        rows=request.rows,
    )
