"""The last row known of each entity, as a view's features."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.features.history import History
from varv.features.run import Ints, Values
from varv.kernel.clock import Duration, Instant

Taken = tuple[npt.NDArray[np.bool_] | None, dict[str, Values]]
"""Which rows count, None for all, and what is kept of these."""
Texts = list[list[str | None]]


class LastRow:
    """The values of the last row of each entity that is at most `ttl` old.

    Parameters
    ----------
    columns
        Which values, and whether each is a text.
    """

    needs_ties = True
    reach = 0

    def __init__(self, columns: dict[str, bool], ttl: Duration | None) -> None:
        self._texts, self._ttl = columns, ttl
        self.columns: dict[str, npt.DTypeLike] = {
            column: object if is_text else np.float64 for column, is_text in columns.items()
        }
        # Whoever is as old as the ttl still counts.
        self.span = None if ttl is None else Duration(ttl + 1)

    def taken(self, rows: pl.DataFrame) -> Taken:
        """Return what it keeps of rows."""
        return None, {column: self._values(rows[column]) for column in self._texts}

    def lookup(
        self,
        history: History,
        codes: Ints,
        instants: Ints,
        numbers: npt.NDArray[np.float32],
        *,
        strictly: bool = False,
    ) -> Texts:
        """Write the numeric features into `numbers`, a row a feature, and return the others; `strictly`, of
        rows of before the instants.
        """
        known, values = history.latest(codes, instants, self._ttl, strictly=strictly)
        texts, row = Texts(), 0
        for column, array in values.items():
            if self._texts[column]:
                texts.append([text if has else None for text, has in zip(array, known.tolist(), strict=True)])
            else:
                numbers[row] = np.where(known, array, np.nan)
                row += 1
        return texts

    def lookup_one(
        self, history: History, code: int, instant: Instant, numbers: list[float], *, strictly: bool = False
    ) -> list[str | None]:
        """Append the numeric features of one entity to `numbers`, and return the others."""
        row = history.latest_at(code, instant, self._ttl, strictly=strictly)
        texts: list[str | None] = []
        for place, is_text in enumerate(self._texts.values()):
            if is_text:
                texts.append(None if row is None else row[place])
            else:
                numbers.append(math.nan if row is None else row[place])
        return texts

    def _values(self, column: pl.Series) -> npt.NDArray[Any]:
        if not self._texts[column.name]:
            return column.cast(pl.Float64).to_numpy()
        values = np.empty(len(column), object)
        values[:] = column.to_list()
        return values
