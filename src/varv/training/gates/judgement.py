"""What gates judge: held-out rows, what was predicted of them, and the versions that would serve.

`loop.candidates` gathers it; gates read it. Arrays are as `varv.tasks.measures` describes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.features.slices import Slice
from varv.kernel.clock import DAY
from varv.registry import LoadedModel, Runtimes, Signature, open_package
from varv.tasks import Array, Task

Mask = npt.NDArray[np.bool_]


class Served:
    """A version as it would answer requests: its package, loaded when it is first asked.

    Parameters
    ----------
    package
        Reads the package's bytes.
    runtimes
        Bring it into memory.
    """

    def __init__(self, package: Callable[[], bytes], runtimes: Runtimes) -> None:
        self._package = package
        self._runtimes = runtimes

    @property
    def size_bytes(self) -> int:
        """The size of the package."""
        return len(self._bytes)

    def predict(self, rows: pl.DataFrame) -> Array:
        """Return what the version says of `rows`, float32 of shape (n, width).

        A column that its signature names and the rows lack counts as missing in every row: so a column that
        only the past had would arrive.
        """
        signature, model = self._loaded
        gone = [name for name in signature.names if name not in rows.columns]
        if gone:
            rows = rows.with_columns(pl.lit(None, pl.Float32).alias(name) for name in gone)
        return model.predict(signature.feed(rows))

    @cached_property
    def _bytes(self) -> bytes:
        return self._package()

    @cached_property
    def _loaded(self) -> tuple[Signature, LoadedModel]:
        package = open_package(self._bytes)
        return package.signature, self._runtimes.load(package)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The held-out rows of all stretches, in any order, and what was predicted of them.

    Parameters
    ----------
    task
        What outcomes and predictions are.
    outcome
        Shape (n,).
    candidate
        Predictions of the fits that were made before each stretch, shape (n, width).
    at
        When each row was requested, in microseconds, shape (n,): rows of a day share their weather, so
        intervals cluster by day.
    champion
        Predictions of the champion, shape (n, width); None where there is none yet.
    unseen
        Whether the champion was fitted before the row was requested, shape (n,); None where there is none.
    groups
        The list that each row belongs to, shape (n,); None where the task has no lists.
    rows
        ``key``, ``requested_at`` and the features of each row, in the same order.
    served
        The version that would serve, which may be a refit of what was judged.
    champion_served
        The champion.
    timer
        Reads seconds; None in a replay, whose ledger must not depend on the machine.
    """

    task: Task
    outcome: Array
    candidate: Array
    at: Array
    champion: Array | None = None
    unseen: Mask | None = None
    groups: Array | None = None
    rows: pl.DataFrame = field(default_factory=pl.DataFrame)
    served: Served | None = None
    champion_served: Served | None = None
    timer: Callable[[], float] | None = None

    def __len__(self) -> int:
        return len(self.outcome)

    @property
    def days(self) -> Array:
        """The number of the day of each row, shape (n,)."""
        return self.at // DAY

    @property
    def n_days(self) -> int:
        """How many days have rows."""
        return len(np.unique(self.days))

    def within(self, part: Slice | None) -> Judgement:
        """Return the rows of a slice, or all where there is none.

        A list that has a row in the slice is taken as a whole: part of it would be another list.
        """
        if part is None:
            return self
        inside = part.of(self.rows).to_numpy()
        if self.groups is not None:
            inside = np.isin(self.groups, self.groups[inside])
        return self.only(inside)

    def comparable(self) -> Judgement:
        """Return the rows that the champion was not fitted on: it knows the others by heart."""
        return self if self.unseen is None else self.only(self.unseen)

    def only(self, kept: Mask) -> Judgement:
        """Return the rows of a mask of shape (n,)."""
        return replace(
            self,
            outcome=self.outcome[kept],
            candidate=self.candidate[kept],
            at=self.at[kept],
            champion=None if self.champion is None else self.champion[kept],
            unseen=None if self.unseen is None else self.unseen[kept],
            groups=None if self.groups is None else self.groups[kept],
            rows=self.rows.filter(pl.Series(kept, dtype=pl.Boolean)) if self.rows.width else self.rows,
        )

    def frame(self) -> pl.DataFrame:
        """Return `rows` with ``outcome`` and the predictions beside them.

        Predictions are named ``score`` and ``champion_score``, or ``score.B`` and so on for each output of a
        task that has several, as everywhere.
        """
        found = self.rows.with_columns(pl.Series("outcome", self.outcome))
        for role, predicted in (("score", self.candidate), ("champion_score", self.champion)):
            if predicted is not None:
                outputs = self.task.outputs
                names = [role] if len(outputs) == 1 else [f"{role}.{output}" for output in outputs]
                found = found.with_columns(
                    pl.Series(name, predicted[:, number]) for number, name in enumerate(names)
                )
        return found
