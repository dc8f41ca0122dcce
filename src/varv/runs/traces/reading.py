"""What can be asked about traces, of the file as it is committed."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from varv.kernel.errors import FailedPrecondition, InvalidInput, NotFound
from varv.runs.traces.assessing import restored
from varv.runs.traces.model import (
    ARTIFACTS_AT,
    HERE,
    SIZES,
    SPANS_AT,
    STATES,
    TRACES_FOLDER,
    Assessment,
    Span,
    TraceId,
    TraceInfo,
)
from varv.runs.traces.rules import MOST_ASKED
from varv.runs.traces.spans import read

_AT_ONCE = 500
_FROM = "FROM trace JOIN experiment ON experiment.no = trace.experiment"
_OF_TRACE = "trace.no, trace.id, experiment.id, at_ms, took_ms, state, client_request, request, response"
_COLUMNS = f"{_OF_TRACE}, artifacts, size"


@dataclass(slots=True)
class Trace:
    """A trace as it is now, without its spans."""

    no: int
    info: TraceInfo
    size: int
    """Bytes of its spans, before they were compressed."""
    assessments: list[Assessment] = field(default_factory=list)

    @property
    def has_spans(self) -> bool:
        """Whether spans have come; else they are in a file among its artifacts, if anywhere."""
        return self.info.tags.get(SPANS_AT) == HERE

    @property
    def n_expected(self) -> int:
        """The number of spans that a client said there are; 0 if it said nothing."""
        try:
            said = msgspec.json.decode(self.info.metadata.get(SIZES, "{}"), type=_Sizes)
        except msgspec.MsgspecError:
            return 0
        return said.num_spans


class _Sizes(msgspec.Struct):
    num_spans: int = 0


def trace(db: sqlite3.Connection, id: str) -> Trace:
    """Return a trace by its id.

    Raises
    ------
    NotFound
        If there is none.
    """
    found = by_ids(db, [id])
    if not found:
        raise NotFound("trace", id[:80])
    return found[0]


def by_ids(db: sqlite3.Connection, ids: Sequence[str]) -> list[Trace]:
    """Return those of several traces that exist, in the order in which they were asked for.

    Raises
    ------
    InvalidInput
        If they are more than `MOST_ASKED`.
    """
    asked = list(dict.fromkeys(ids))
    if len(asked) > MOST_ASKED:
        raise InvalidInput("traces", "", "are too many", most=MOST_ASKED, found=len(asked))
    listed = msgspec.json.encode(asked).decode()
    query = "SELECT no, id FROM trace WHERE id IN (SELECT value FROM json_each(?))"
    known = {id: no for no, id in db.execute(query, (listed,))}
    return traces(db, [known[id] for id in asked if id in known])


def traces(db: sqlite3.Connection, numbers: Sequence[int]) -> list[Trace]:
    """Return traces by their numbers in the file, in that order."""
    found: dict[int, Trace] = {}
    for start in range(0, len(numbers), _AT_ONCE):
        some = numbers[start : start + _AT_ONCE]
        marks = ",".join("?" * len(some))
        for row in db.execute(f"SELECT {_COLUMNS} {_FROM} WHERE trace.no IN ({marks})", some):
            found[row[0]] = _trace(*row)
        query = f"SELECT trace, name, value FROM trace_metadata WHERE trace IN ({marks})"
        for no, name, value in db.execute(query, some):
            found[no].info.metadata[name] = value
        _add_said(db, {found[no].info.id: found[no] for no in some})
    return [found[no] for no in numbers]


def spans(db: sqlite3.Connection, one: Trace, *, partial: bool) -> list[Span]:
    """Return the spans of a trace, as they began.

    Parameters
    ----------
    partial
        Whether to return those that are there where more are to come.

    Raises
    ------
    FailedPrecondition
        If it has none here.
    NotFound
        If more are to come.
    """
    if not one.has_spans:
        problem = "has no spans here: Trace data not stored in tracking store"
        raise FailedPrecondition("trace", one.info.id, problem, hint="read the file among its artifacts")
    query = "SELECT body FROM span WHERE trace = ? ORDER BY no"
    found = [read(body) for (body,) in db.execute(query, (one.no,))]
    if len(found) < one.n_expected and not partial:
        problem, hint = "is not fully exported yet", "please try again later"
        raise NotFound(
            "spans of trace", one.info.id, problem, here=len(found), expected=one.n_expected, hint=hint
        )
    return sorted(found, key=lambda span: (span.started_ns, span.parent != ""))


def root_of(db: sqlite3.Connection, trace: str) -> str | None:
    """Return where the artifacts of a trace are; None if there is no such trace."""
    row = db.execute(f"SELECT artifacts {_FROM} WHERE trace.id = ?", (trace,)).fetchone()
    return None if row is None else _artifacts(row[0], trace)


def _artifacts(experiment: str, trace: str) -> str:
    return f"{experiment}/{TRACES_FOLDER}/{trace}/artifacts"


def _trace(
    no: int,
    id: TraceId,
    experiment: str,
    at_ms: int,
    took_ms: int | None,
    state: int,
    client_request: str | None,
    request: str | None,
    response: str | None,
    artifacts: str,
    size: int,
) -> Trace:
    info = TraceInfo(
        id=id,
        experiment=experiment,
        at_ms=at_ms,
        took_ms=took_ms,
        state=STATES[state],
        client_request=client_request,
        request=request,
        response=response,
        tags={ARTIFACTS_AT: _artifacts(artifacts, id)},
    )
    return Trace(no, info, size)


def _add_said(db: sqlite3.Connection, some: dict[TraceId, Trace]) -> None:
    listed = msgspec.json.encode(list(some)).decode()
    asked = "trace IN (SELECT value FROM json_each(?))"
    for id, name, value in db.execute(f"SELECT trace, name, value FROM trace_tag WHERE {asked}", (listed,)):
        some[id].info.tags[name] = value
    query = f"SELECT trace, body, valid FROM assessment WHERE {asked} ORDER BY no"
    for id, body, valid in db.execute(query, (listed,)):
        some[id].assessments.append(restored(body, valid))
