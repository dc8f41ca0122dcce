"""Quarantine: rows that broke a contract, until a person lets them out, gives corrected ones, or gives them
up.

Nothing leaves by itself. Rows that come out become a version of their dataset like any other batch, so they
reach features and labels on the same path; who did it and why is in the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import polars as pl

from varv.data.appending import Prepared
from varv.data.dataset import Dataset
from varv.data.model import BatchDropped, BatchReleased, BatchReplaced
from varv.data.quarantined import REASON, Quarantined
from varv.data.service import Datasets
from varv.data.shape import conformed
from varv.data.versions import stream_of
from varv.data.views import DatasetsView
from varv.kernel.clock import Clock
from varv.kernel.codec import digest
from varv.kernel.errors import FailedPrecondition, InvalidInput, NotFound
from varv.kernel.sagas import Fact
from varv.kernel.views import Views

ROW = "@row"
"""The column that numbers the rows of a batch in quarantine, from 0."""
_LONGEST = 100
MOST_BATCHES = 2000
"""Batches that one act may concern."""


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows in quarantine: of a dataset, a part or a batch, those of one reason, or some by number."""

    dataset: str
    part: str = ""
    segment: str = ""
    reason: str = ""
    """The reason, or how it begins: ``"impossible value"``."""
    rows: tuple[int, ...] = ()
    """Their numbers; only with a segment."""


class Correction(msgspec.Struct, frozen=True, kw_only=True):
    """What a person decided: the facts to commit, and the batches that they make count."""

    n_rows: int
    n_batches: int
    facts: tuple[Fact, ...]
    made: tuple[tuple[Dataset, str, Prepared], ...] = ()


class Quarantine:
    """The rows in quarantine of one store.

    Parameters
    ----------
    datasets, views, clock
        Of the same store.
    """

    def __init__(self, datasets: Datasets, views: Views, clock: Clock) -> None:
        self._datasets = datasets
        self._views = views
        self._clock = clock

    def dataset(self, name: str) -> Dataset:
        """Return a registered dataset.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        return self._datasets.registered(name)

    def batches(self, chosen: Selection) -> list[Quarantined]:
        """Return the batches that a selection names, in the order in which they came.

        Raises
        ------
        NotFound
            If there is no such dataset, or nothing of it is in quarantine.
        InvalidInput
            If rows are chosen by number without a segment, or too many batches are chosen at once.
        """
        self.dataset(chosen.dataset)
        if chosen.rows and not chosen.segment:
            hint = "name the segment too; rows are numbered within it"
            raise InvalidInput("selection", chosen.dataset, "chooses rows of no segment", hint=hint)
        with self._views.reading(DatasetsView) as view:
            found = view.arrivals.quarantine(chosen.dataset, chosen.part or None)
        found = [one for one in found if chosen.segment in ("", one.segment)]
        found = [one for one in found if one.whole or _has_reason(one, chosen.reason)]
        if not found:
            name = "/".join(filter(None, (chosen.dataset, chosen.part, chosen.segment)))
            raise NotFound("batch", name[:160], "is not in quarantine", hint="see varv quarantine list")
        if len(found) > MOST_BATCHES:
            hint = "choose a part or a segment"
            raise InvalidInput("selection", chosen.dataset, f"concerns {len(found)} batches", hint=hint)
        return found

    def rows(self, held: Quarantined, chosen: Selection | None = None) -> pl.DataFrame:
        """Return rows of a batch that are in quarantine, with their numbers and reasons.

        Raises
        ------
        InvalidInput
            If one of the chosen numbers is none of them.
        """
        stored = self._datasets.rows_put_aside(held)
        if REASON not in stored.columns:
            # As earlier versions kept it: a whole batch, and the reasons in the report only.
            whole = "; ".join(broken.reason for broken in held.report.violations)
            stored = stored.with_columns(pl.lit(whole).alias(REASON))
        rows = stored.with_row_index(ROW).filter(~pl.col(ROW).is_in(sorted(held.gone)))
        if chosen is None:
            return rows
        if strange := sorted(set(chosen.rows) - set(rows[ROW].to_list())):
            problem = f"has no row {strange[0]} in quarantine"
            raise InvalidInput("batch", held.segment, problem, hint="see varv quarantine show")
        if chosen.rows:
            rows = rows.filter(pl.col(ROW).is_in(chosen.rows))
        return rows.filter(pl.col(REASON).str.starts_with(chosen.reason)) if chosen.reason else rows

    def release(self, chosen: Selection, *, by: str, why: str = "") -> Correction:
        """Let rows out as they are.

        Raises
        ------
        NotFound
            If nothing such is in quarantine.
        FailedPrecondition
            If a row cannot be a row of the dataset: without a key or a time, of another type, or from before
            the row that it is about existed.
        """
        dataset = self.dataset(chosen.dataset)
        taken = [(held, rows) for held in self.batches(chosen) if len(rows := self.rows(held, chosen))]
        # All are looked at before any is stored.
        sound = [self._releasable(dataset, held, rows) for held, rows in taken]
        facts: list[Fact] = []
        made = []
        for (held, rows), stored in zip(taken, sound, strict=True):
            into = _segment(held, "released")
            event = BatchReleased(
                dataset=held.dataset,
                part=held.part,
                segment=held.segment,
                by=by,
                why=why,
                rows=_numbers(held, rows),
                into=into,
            )
            prepared = self._datasets.prepare_correction(dataset, held.part, stored, segment=into)
            facts += [Fact(stream_of(dataset.name), event), *prepared.facts]
            made.append((dataset, held.part, prepared))
        return _corrected(taken, facts, made)

    def replace(self, chosen: Selection, given: pl.DataFrame, *, by: str, why: str = "") -> Correction:
        """Put corrected rows in the place of rows of one batch.

        Parameters
        ----------
        given
            The columns of the part; as many rows as are right.

        Raises
        ------
        NotFound
            If nothing such is in quarantine.
        InvalidInput
            If it is of several batches, or a corrected row breaks the contract too.
        """
        dataset = self.dataset(chosen.dataset)
        given = self._datasets.minimised(dataset, given)
        several = self.batches(chosen)
        if len(several) > 1:
            hint = "name the segment whose rows these replace; see varv quarantine list"
            raise InvalidInput("selection", chosen.dataset, f"concerns {len(several)} batches", hint=hint)
        [held] = several
        rows = self.rows(held, chosen)
        self._require_sound(dataset, held.part, given)
        into = _segment(held, "replaced")
        event = BatchReplaced(
            dataset=held.dataset,
            part=held.part,
            segment=held.segment,
            by=by,
            why=why,
            rows=_numbers(held, rows),
            into=into,
            n_given=given.height,
        )
        stored = conformed(given, dataset, held.part)
        prepared = self._datasets.prepare_correction(dataset, held.part, stored, segment=into)
        facts = [Fact(stream_of(dataset.name), event), *prepared.facts]
        return _corrected([(held, rows)], facts, [(dataset, held.part, prepared)])

    def drop(self, chosen: Selection, *, by: str, why: str = "") -> Correction:
        """Give rows up; they stay where they are stored, and never count.

        Raises
        ------
        NotFound
            If nothing such is in quarantine.
        """
        dataset = self.dataset(chosen.dataset)
        taken = [(held, rows) for held in self.batches(chosen) if len(rows := self.rows(held, chosen))]
        facts = [
            Fact(
                stream_of(dataset.name),
                BatchDropped(
                    dataset=held.dataset,
                    part=held.part,
                    segment=held.segment,
                    by=by,
                    why=why,
                    rows=_numbers(held, rows),
                ),
            )
            for held, rows in taken
        ]
        return _corrected(taken, facts, [])

    def _releasable(self, dataset: Dataset, held: Quarantined, rows: pl.DataFrame) -> pl.DataFrame:
        name = f"{held.dataset}/{held.part}/{held.segment}"
        hint = "give corrected rows with varv quarantine replace, or choose others"
        try:
            stored = conformed(rows.drop(ROW, REASON), dataset, held.part)
        except pl.exceptions.PolarsError as error:
            why = str(error).split("\n")[0][:200]
            raise FailedPrecondition(
                "batch", name, "does not have the dataset's types", why=why, hint=hint
            ) from None
        for column in dict.fromkeys((*dataset.key, held.part)):
            if n_missing := stored[column].null_count():
                problem = f"has {n_missing} rows without {column!r}"
                raise FailedPrecondition("batch", name, problem, hint=hint)
        if n_early := int(self._datasets.keys.before_its_row(dataset, held.part, stored).sum()):
            problem = f"has {n_early} rows from before the row that they are about"
            raise FailedPrecondition("batch", name, problem, hint=hint)
        return stored

    def _require_sound(self, dataset: Dataset, part: str, given: pl.DataFrame) -> None:
        if given.is_empty():
            hint = "give at least one, or use varv quarantine drop"
            raise InvalidInput("rows", f"{dataset.name}/{part}", "are none", hint=hint)
        found = self._datasets.contracts.screen(dataset, part).look(
            given, now=self._clock.now(), acknowledged=True
        )
        if not found.report.ok:
            broken = found.report.violations[0]
            row = next(i for i, reason in enumerate(found.reasons) if reason is not None)
            n = found.reasons.count()
            problem = f"still break the contract: {broken.reason}, expected {broken.expected}"
            hint = "correct them, or let the rows out as they are with varv quarantine release"
            raise InvalidInput("rows", f"{dataset.name}/{part}", problem, row=row, n_rows=n, hint=hint)
        if self._datasets.keys.before_its_row(dataset, part, conformed(given, dataset, part)).any():
            problem = "are from before the row that they are about"
            hint = f"give {part} a time not before {dataset.event_time}"
            raise InvalidInput("rows", f"{dataset.name}/{part}", problem, hint=hint)


def counted(n_rows: int, n_batches: int) -> str:
    """Return how many rows of how many batches, in words.

    Examples
    --------
    >>> counted(1, 1), counted(1200, 2)
    ('1 row of 1 batch', '1,200 rows of 2 batches')
    """
    rows, batches = "row" if n_rows == 1 else "rows", "batch" if n_batches == 1 else "batches"
    return f"{n_rows:,} {rows} of {n_batches:,} {batches}"


def _has_reason(held: Quarantined, reason: str) -> bool:
    return not reason or any(broken.reason.startswith(reason) for broken in held.report.violations)


def _numbers(held: Quarantined, rows: pl.DataFrame) -> tuple[int, ...]:
    """Return the numbers of rows as a fact states them: none if they are all that were put aside."""
    return () if rows.height == held.n_put_aside else tuple(rows[ROW].to_list())


def _segment(held: Quarantined, act: str) -> str:
    name = held.segment
    if len(name) > _LONGEST:
        name = f"{name[: _LONGEST - 9]}-{digest(name.encode())[:8]}"
    return f"{name}.{act}-{held.n_acts + 1}"


def _corrected(
    taken: Sequence[tuple[Quarantined, pl.DataFrame]],
    facts: Sequence[Fact],
    made: Sequence[tuple[Dataset, str, Prepared]],
) -> Correction:
    n_rows = sum(rows.height for _, rows in taken)
    if not n_rows:
        raise NotFound("rows", "", "are not in quarantine", hint="see varv quarantine show")
    return Correction(n_rows=n_rows, n_batches=len(taken), facts=tuple(facts), made=tuple(made))
