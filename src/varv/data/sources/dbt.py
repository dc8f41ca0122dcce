"""What dbt builds as a source: a relation that its manifest knows, read when a run has built it anew.

Only the JSON files in dbt's ``target`` folder are read (`sources.dbt_artifacts`); dbt itself is not needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import polars as pl
from msgspec.structs import replace

from varv.data.moving.translation import Translated
from varv.data.sources.databases import Sql
from varv.data.sources.dbt_artifacts import DbtModel, dbt_model, invocation_of, upstreams_of
from varv.data.sources.dbt_tests import rules_of
from varv.data.sources.steps import Asked, Step, Upstream
from varv.kernel.errors import InvalidDeclaration

LateIf = Literal["", "warn", "error"]
INVOCATION = "invocation"
"""The place of the cursor that holds the run of dbt whose rows were read."""


@dataclass(frozen=True)
class Dbt:
    """A model that dbt builds.

    Parameters
    ----------
    target
        The folder that dbt writes its artifacts to.
    model
        The model, by its name or its unique id.
    url, watermark, lag, times
        Of the database, as `Sql` takes them.
    late_if
        What ``dbt source freshness`` must have found of a source of the model for the dataset to be late,
        which is an alarm: ``"error"`` by default, ``"warn"`` for that too, or nothing for never.

    Raises
    ------
    InvalidDeclaration
        If one of these is not valid.

    Notes
    -----
    A pull reads nothing unless the last run of dbt built the model well, and is another run than
    the one whose rows were read; a run that failed is an error.
    """

    target: str
    model: str
    url: str
    watermark: str = ""
    lag: str = ""
    times: Sequence[str] = ()
    late_if: LateIf = "error"

    def __post_init__(self) -> None:
        if self.late_if not in get_args(LateIf):
            hint = "write late_if='warn' or late_if='error', or an empty text for never"
            raise InvalidDeclaration("source", "Dbt", f"is late if {self.late_if!r}", hint=hint)
        Sql(self.model, self.url, self.watermark, self.lag, self.times)

    @property
    def identity(self) -> str:
        """What the source is."""
        by = f" by {self.watermark}" if self.watermark else ""
        return f"dbt {self.target} {self.model}{by}"

    @property
    def guesses(self) -> bool:
        """Whether types are what rows suggest."""
        return Sql(self.model, self.url).guesses

    @property
    def technical(self) -> tuple[str, ...]:
        """Columns that say nothing of what a row is about."""
        return (self.watermark,) if self.watermark else ()

    def types(self) -> Mapping[str, pl.DataType]:
        """Return the columns of the relation and their types."""
        return self._sql.types()

    def load(self) -> pl.DataFrame:
        """Return all rows."""
        return self._sql.load()

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Yield all rows, some hundred thousand at a time."""
        return self._sql.batches(columns)

    def keys(self, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        """Yield the columns of the key of all rows that there are."""
        return self._sql.keys(columns)

    def steps(self, asked: Asked) -> Iterator[Step]:
        """Yield what is new, if dbt has built the model since."""
        built = invocation_of(Path(self.target), self.described.unique_id)
        if built == asked.cursor.get(INVOCATION):
            return
        yield from self._sql.steps(asked)
        # Last of all: a pull that ends before goes on reading.
        yield Step(pl.DataFrame(), {INVOCATION: built})

    def upstreams(self) -> tuple[Upstream, ...]:
        """Return how fresh ``dbt source freshness`` found the sources that the model is made of."""
        found = upstreams_of(Path(self.target), self.described.unique_id)
        sound = {"": (), "warn": ("pass",), "error": ("pass", "warn")}[self.late_if]
        return tuple(replace(one, is_late=bool(self.late_if) and one.status not in sound) for one in found)

    @property
    def described(self) -> DbtModel:
        """What the manifest says of the model."""
        return dbt_model(Path(self.target), self.model)

    def rules(self) -> Translated:
        """Return the rules that dbt's tests of the model stand for, to be declared with the dataset, and what
        is left out of them.
        """
        return rules_of(self.described.tests)

    @cached_property
    def _sql(self) -> Sql:
        query = f"SELECT * FROM {self.described.relation}"
        return Sql(query, self.url, self.watermark, self.lag, self.times)
