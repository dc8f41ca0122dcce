"""The door for rows that are sent to a running server: each is checked by itself, and durable before it is
said to be accepted.

What can be known here is refused here, with the row, the column and the reason: what was accepted must never
be taken out later because of the company that it came in. Requests come through inference instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import polars as pl

from varv.data.contracts.report import WHOLE
from varv.data.contracts.rules import Screen
from varv.data.dataset import Dataset, part_named
from varv.data.outcomes import OutcomeSpec
from varv.data.service import Datasets
from varv.data.values import ExpectedColumn, column_of, in_json, typed_frame
from varv.kernel.clock import Clock, Instant, iso
from varv.kernel.errors import FailedPrecondition, InvalidInput, NotFound
from varv.kernel.ids import ModelName

MOST_REFUSED = 100
"""Refused rows that are listed; all are counted."""


class RefusedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row that was not accepted: its number in the request, and why."""

    row: int
    column: str
    problem: str
    hint: str = ""


class Acceptance(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the rows of one request."""

    n_rows: int
    """Durable now."""
    n_unknown: int
    """Of these, outcomes of keys that no ingested request has; they join it when it appears."""
    n_refused: int
    refused: tuple[RefusedRow, ...]


class Inbox:
    """Checks rows that are sent to a running server and makes them durable before it says so.

    Parameters
    ----------
    datasets
        Where contracts and keys are known.
    declared
        The datasets that rows may be sent for.
    outcomes
        By model, what it predicts. Base rows of these requests come by predicting only.
    write
        Appends rows to a capture log and forces them to the disk.
    max_rows
        The most rows of one request.
    """

    def __init__(
        self,
        datasets: Datasets,
        declared: Iterable[Dataset],
        outcomes: Mapping[ModelName, OutcomeSpec],
        clock: Clock,
        write: Callable[[str, Sequence[Mapping[str, Any]]], None],
        *,
        max_rows: int,
    ) -> None:
        self._datasets = datasets
        self._declared = {dataset.name: dataset for dataset in declared}
        self._outcomes = outcomes
        self._clock = clock
        self._write = write
        self._max_rows = max_rows

    def accept(self, dataset_name: str, part: str, rows: Sequence[Mapping[str, Any]]) -> Acceptance:
        """Accept rows of one part, but for those that do not fit. A row without a time of knowledge is of
        now.

        Raises
        ------
        NotFound
            If there is no such dataset or part.
        InvalidInput
            If there are no rows or too many, or none of them fits.
        FailedPrecondition
            If the rows are requests, which come through inference.
        StorageFull
            If the disk has no room for them; nothing is accepted then.
        """
        dataset, part = part_named(self._declared, f"{dataset_name}/{part}" if part else dataset_name)
        if self._are_requests(dataset) and part == dataset.event_time:
            hint = "ask for a prediction, or name a later part of the dataset"
            raise FailedPrecondition("dataset", dataset.name, "takes requests by predicting only", hint=hint)
        if not 1 <= len(rows) <= self._max_rows:
            hint = f"send 1 to {self._max_rows} rows"
            raise InvalidInput("request", dataset.name, f"has {len(rows)} rows", hint=hint)
        # Before anything is looked at: what is refused is shown, and what is accepted is on the disk.
        checked, n_unknown = self._checked(dataset, part, self._datasets.minimised_rows(dataset, rows))
        if not checked.rows:
            raise _all_refused(checked.refused)
        self._write(f"{dataset.name}/{part}", list(checked.rows.values()))
        return Acceptance(
            n_rows=len(checked.rows),
            n_unknown=n_unknown,
            n_refused=len(checked.refused),
            refused=tuple(_in_order(checked.refused)[:MOST_REFUSED]),
        )

    def accept_outcomes(self, model: ModelName, rows: Sequence[Mapping[str, Any]]) -> Acceptance:
        """Accept outcomes of a model's requests, by the dataset's own column names; if no model is named, of
        the only one.

        Raises
        ------
        NotFound
            If the model is not served.
        FailedPrecondition
            If the model's task has no outcome.
        """
        if not model and len(self._outcomes) == 1:
            [model] = self._outcomes
        outcome = self._outcomes.get(model)
        if outcome is None:
            hint = f"the models are {', '.join(self._outcomes)}"
            raise NotFound("model", model[:80], "is not served", hint=hint)
        if not outcome.column:
            hint = "send nothing: its predictions are judged by no outcome"
            raise FailedPrecondition(
                "model", model, f"predicts a {outcome.task.name}, which has no outcome", hint=hint
            )
        return self.accept(outcome.requests.name, outcome.known_at, rows)

    def _are_requests(self, dataset: Dataset) -> bool:
        return any(one.requests.name == dataset.name for one in self._outcomes.values())

    def _checked(
        self, dataset: Dataset, part: str, rows: Sequence[Mapping[str, Any]]
    ) -> tuple[CheckedRows, int]:
        """Return the rows, checked, and of how many the request is not known (yet)."""
        types = dataset.part_types(part)
        is_base = part == dataset.event_time
        required = tuple(dict.fromkeys((*dataset.key, part) if is_base else dataset.key))
        nullable = frozenset(types) - set(required)
        # A key is stated once, so every model's outcome of this part has to come now.
        tasks = {one.column: one.task for one in self._outcomes.values() if one.is_in(dataset, part)}
        for column, task in sorted(tasks.items()):
            required, nullable = (*required, column), nullable - {column}
            dtype = types[column]
            rows = [
                {**row, column: task.stored(row[column], dtype)} if column in row else row for row in rows
            ]
        found = checked_rows(rows, types, required, nullable)
        existing = self._rows_at(dataset, part, found)
        now = self._clock.now()
        are_requests = self._are_requests(dataset)
        for number, row in list(found.rows.items()):
            asked = existing.get(number)
            if row[part] is None:
                # A clock that is set back must not put an outcome before its request.
                row[part] = now if asked is None else max(now, asked)
            elif asked is not None and row[part] < asked:
                thing = "request" if are_requests else "row"
                problem = f"is before its {thing}, which is of {iso(asked)}"
                found.refuse(number, part, problem, "send the time at which it became known, or leave it out")
        found.refuse_by(self._datasets.contracts.screen(dataset, part), types, now)
        return found, sum(number not in existing for number in found.rows) if are_requests else 0

    def _rows_at(self, dataset: Dataset, part: str, found: CheckedRows) -> dict[int, Instant]:
        """Return the event times of the rows that rows of a later part are about, of those that are there."""
        if part == dataset.event_time or not found.rows:
            return {}
        types = dataset.types()
        keys = typed_frame(list(found.rows.values()), {name: types[name] for name in dataset.key})
        at = self._datasets.keys.event_times(dataset, keys)
        return {number: time for number, time in zip(found.rows, at, strict=True) if time is not None}


def typed_rows(dataset: Dataset, part: str, given: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return rows out of JSON in the types of their part, all or none, without what nobody is to keep.

    Raises
    ------
    InvalidInput
        If one does not fit; row and column are named.
    """
    types, rows = dataset.part_types(part), dataset.minimiser().rows(given)
    required = tuple(dict.fromkeys((*dataset.key, part)))
    checked = checked_rows(rows, types, required, frozenset(types) - set(required))
    if checked.refused:
        first = checked.refused[min(checked.refused)]
        hint = first.hint or "nothing was changed; correct the row"
        raise InvalidInput("column", first.column, first.problem, row=first.row, hint=hint)
    return typed_frame(list(checked.rows.values()), types)


class CheckedRows:
    """Rows of one request, by their number: as they can be captured, times as microseconds, or refused."""

    def __init__(self, rows: dict[int, dict[str, Any]], refused: dict[int, RefusedRow]) -> None:
        self.rows = rows
        self.refused = refused

    def refuse(self, number: int, column: str, problem: str, hint: str = "") -> None:
        """Refuse a row."""
        self.rows.pop(number, None)
        self.refused[number] = RefusedRow(row=number, column=column, problem=problem, hint=hint)

    def refuse_by(self, screen: Screen, types: Mapping[str, pl.DataType], now: Instant) -> None:
        """Refuse what would be put aside: for what a row breaks itself, and, where too many rows of the
        request break a rule that tolerates a few, those.
        """
        if not self.rows:
            return
        found = screen.look(typed_frame(list(self.rows.values()), types), now=now, in_flight=True)
        broken = {one.reason: one for one in found.report.violations}
        for number, reason in zip(list(self.rows), found.reasons, strict=True):
            if reason is None or reason == WHOLE:
                continue
            rule = broken.get(reason)
            column = rule.column if rule else reason.rpartition(" of ")[2]
            expected = f"; expected is {rule.expected}" if rule else ""
            self.refuse(number, column, f"breaks the contract: {reason}{expected}", "send the right value")


def checked_rows(
    rows: Sequence[Mapping[str, Any]],
    types: Mapping[str, pl.DataType],
    required: Sequence[str],
    nullable: frozenset[str],
) -> CheckedRows:
    """Return rows of a dataset's part as they can be captured, every value checked, and those that cannot."""
    found = CheckedRows(dict(enumerate(dict(row) for row in rows)), {})
    for number, row in list(found.rows.items()):
        for name in row:
            if name not in types:
                hint = f"the columns are {', '.join(types)}"
                found.refuse(number, str(name)[:80], "does not exist", hint)
        for name in required:
            if name not in row:
                found.refuse(number, name, "is missing", f"send {', '.join(required)}")
    columns: dict[str, pl.Series] = {}
    for name, dtype in types.items():
        expected = ExpectedColumn(name, str(dtype), name in required, name in nullable)
        columns[name] = _column(found, name, dtype, expected)
    if found.refused and found.rows:
        # What was read before a later column refused its row is read again, without that row.
        return _again(found, types, required, nullable)
    plain = in_json(pl.DataFrame(list(columns.values()))) if found.rows else []
    found.rows = dict(zip(found.rows, plain, strict=True))
    return found


def _again(
    found: CheckedRows,
    types: Mapping[str, pl.DataType],
    required: Sequence[str],
    nullable: frozenset[str],
) -> CheckedRows:
    numbers = list(found.rows)
    sound = checked_rows(list(found.rows.values()), types, required, nullable)
    return CheckedRows(dict(zip(numbers, sound.rows.values(), strict=True)), found.refused)


def _column(found: CheckedRows, name: str, dtype: pl.DataType, expected: ExpectedColumn) -> pl.Series:
    """Return a column of the rows that are left, after refusing those whose value does not fit."""
    try:
        return column_of(name, [row.get(name) for row in found.rows.values()], dtype, expected)
    except InvalidInput:
        for number, row in list(found.rows.items()):
            try:
                column_of(name, [row.get(name)], dtype, expected)
            except InvalidInput as error:
                found.refuse(number, name, error.problem, error.hint)
        return column_of(name, [row.get(name) for row in found.rows.values()], dtype, expected)


def _all_refused(refused: Mapping[int, RefusedRow]) -> InvalidInput:
    listed = _in_order(refused)
    first, others = listed[0], [msgspec.to_builtins(one) for one in listed[:MOST_REFUSED]]
    more = {"n_refused": len(refused), "refused": others} if len(refused) > 1 else {}
    return InvalidInput("column", first.column, first.problem, hint=first.hint, row=first.row, **more)


def _in_order(refused: Mapping[int, RefusedRow]) -> list[RefusedRow]:
    return [refused[number] for number in sorted(refused)]
