"""The history behind one feature view: what it takes of each row, and what requests find in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from varv.data.dataset import Dataset
from varv.features.feature_view import FeatureView
from varv.features.history import History, HistoryState
from varv.features.last_row import LastRow
from varv.features.run import Ints
from varv.features.windowed import WindowRows
from varv.kernel.clock import Duration, Instant
from varv.kernel.mapped import MappedFile


class Entities(Protocol):
    """Whoever gives the entities of a dataset their codes."""

    dataset: Dataset

    def codes(self, entity: tuple[str, ...], frame: pl.DataFrame) -> Ints:
        """Return the code of each row's entity, -1 if it has none or an unknown one."""
        ...

    def code(self, entity: tuple[str, ...], values: Sequence[Any]) -> int:
        """Return the code of one entity, from the values of its columns."""
        ...


class Progress(msgspec.Struct, frozen=True):
    """How far the rows of a view have come."""

    newest: int | None = None
    """The latest instant of any row."""
    watermark: int | None = None
    """Rows up to it were to have come by now: the latest instant less the declared lateness."""
    n_rows: int = 0
    n_late: int = 0
    """Rows that came although they lay before the watermark; they count like all others."""
    n_beyond: int = 0
    """Rows that came too late for every window (`observed.PATIENCE`), and so count nowhere."""

    def after(self, times: Ints, lateness: Duration) -> Progress:
        """Return it after rows that came together."""
        if not len(times):
            return self
        n_late = 0 if self.watermark is None else int((times < self.watermark).sum())
        newest = max(int(times.max()), int(times.max()) if self.newest is None else self.newest)
        return msgspec.structs.replace(
            self,
            newest=newest,
            watermark=newest - lateness,
            n_rows=self.n_rows + len(times),
            n_late=self.n_late + n_late,
        )


class ViewState(msgspec.Struct, frozen=True):
    """What is behind a view, for another process."""

    history: HistoryState
    progress: Progress


class ViewHistory:
    """The history behind one feature view, of all entities.

    Parameters
    ----------
    own_outcomes
        Whether requests of the view's own dataset read it; see `FeatureSet.own_outcome_views`.
    """

    def __init__(self, view: FeatureView, of: Entities, *, own_outcomes: bool = False) -> None:
        self.view = view
        self.own_outcomes = own_outcomes
        self.key = key_of(view, own_outcomes=own_outcomes)
        self._of = of
        kinds = view.kinds()
        self._text_names = [name for name, kind in kinds.items() if kind == "categorical"]
        self.n_numbers = len(kinds) - len(self._text_names)
        """How many numeric features it has."""
        self.rows = rows_of(view)
        self._history = History(self.rows.columns)
        self.progress = Progress()

    @property
    def newest(self) -> int | None:
        """When the newest row became known that it holds; None if it holds none."""
        return self.progress.newest

    def code(self, entity: Sequence[Any]) -> int:
        """Return the code of one entity from the values that name it, -1 if there is none."""
        return self._of.code(self.view.entity, entity)

    def codes(self, requests: pl.DataFrame) -> Ints:
        """Return the code of each request's entity, shape (n,); -1 where it has none or an unknown one."""
        return self._of.codes(self.view.entity, requests)

    def add(self, codes: Ints, times: Ints, ties: npt.NDArray[np.uint64], rows: pl.DataFrame) -> None:
        """Take in rows in any order; `ties` decide between rows of one entity and instant."""
        self.progress = self.progress.after(times, self.view.lateness)
        counts, columns = self.rows.taken(rows)
        if counts is not None:
            codes, times, ties = codes[counts], times[counts], ties[counts]
        self._history.add(codes, times, ties, columns)

    def pass_over(self, n_rows: int) -> None:
        """Note rows that came too late for every window."""
        self.progress = msgspec.structs.replace(self.progress, n_beyond=self.progress.n_beyond + n_rows)

    def lookup(
        self, codes: Ints, instants: Ints, numbers: npt.NDArray[np.float32], *, strictly: bool = False
    ) -> dict[str, pl.Series]:
        """Write the numeric features into `numbers`, a row a feature, and return the categorical ones.

        Parameters
        ----------
        strictly
            Whether rows count that lie before an instant only, not those of that very instant; see
            `FeatureSet.own_views`.
        """
        texts = self.rows.lookup(self._history, codes, instants, numbers, strictly=strictly)
        return {
            name: pl.Series(name, values, dtype=pl.String)
            for name, values in zip(self._text_names, texts, strict=True)
        }

    def lookup_one(
        self, entity: Sequence[Any], instant: Instant, numbers: list[float], *, strictly: bool = False
    ) -> list[str | None]:
        """Append the numeric features of one entity to `numbers`, NaN where there is none, and return the
        categorical ones: what `lookup` finds, to the last bit.

        Parameters
        ----------
        entity
            The value of each of the columns that name it.
        strictly
            See `lookup`.
        """
        code = self._of.code(self.view.entity, entity)
        return self.rows.lookup_one(self._history, code, instant, numbers, strictly=strictly)

    def become(self, other: ViewHistory) -> None:
        """Hold what the history of the same view in another state of its dataset holds."""
        self._of, self._history, self.progress = other._of, other._history, other.progress

    def trim(self, before: Instant) -> None:
        """Forget what no request at or after `before` can see."""
        self._history.trim(before, self.rows.span)

    def let_go(self) -> None:
        """Let the system have the memory of what was looked into in files."""
        self._history.let_go()

    def as_state(self) -> ViewState:
        """Return what it holds."""
        return ViewState(self._history.as_state(), self.progress)

    def restore(self, state: ViewState, lies_in: MappedFile) -> None:
        """Hold what another one held."""
        self._history.restore(state.history, lies_in)
        self.progress = state.progress


def rows_of(view: FeatureView) -> LastRow | WindowRows:
    """Return what a view keeps of rows, and finds in them."""
    texts = {column: kind == "categorical" for column, kind in view.column_kinds.items()}
    if view.windows is None:
        return LastRow(texts, view.ttl)
    return WindowRows(view.windows, is_text=texts[view.windows.column])


def key_of(view: FeatureView, *, own_outcomes: bool = False) -> str:
    """Return what tells a view from every other: views of one key have one history."""
    return "\x1f".join([*view.definition(), *(["own outcomes"] if own_outcomes else [])])
