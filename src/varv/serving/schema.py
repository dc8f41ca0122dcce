"""What a request of a model is: its dataset, its features, and whose coin is tossed for it.

Compiled from a declaration by `project.plan`; the data plane, its log and its predictions read requests by
it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

from varv.data import Dataset
from varv.data.identity import keys_of
from varv.data.values import ExpectedColumn
from varv.features import FeatureSet
from varv.kernel.ids import ModelName
from varv.serving.policy import ServingPolicy
from varv.serving.scores import GROUP
from varv.tasks import Task


@dataclass(frozen=True)
class RequestSchema:
    """The requests of one model.

    Parameters
    ----------
    model
        Whose requests these are.
    requests
        The dataset whose base rows they are.
    features
        What the model reads.
    task
        What an answer is.
    unit
        The request column whose values keep their arm during a rollout; None for the request's key.
    optional
        Columns that features need and a request need not bring, since callers of before do not.
    serving
        What is checked, and what is answered when the model cannot.
    """

    model: ModelName
    requests: Dataset
    features: FeatureSet
    task: Task
    unit: str | None = None
    optional: frozenset[str] = frozenset()
    serving: ServingPolicy = field(default_factory=ServingPolicy)

    @cached_property
    def types(self) -> dict[str, pl.DataType]:
        """The columns of a request and their types, its time among them."""
        return dict(self.requests.part_types(self.requests.event_time))

    @cached_property
    def generated_key(self) -> str | None:
        """The key column that takes the request's id where the request brings none."""
        key = self.requests.key
        return key[0] if len(key) == 1 and self.types[key[0]] == pl.String else None

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """The columns that every request brings, in the order of `columns`."""
        return tuple(one.name for one in self.columns().values() if one.required)

    def keys(self, rows: pl.DataFrame) -> pl.Series:
        """Return the key of each request as one text, under the name ``key``."""
        return keys_of(self.requests.key, rows)

    def units(self, rows: pl.DataFrame, keys: pl.Series) -> list[str]:
        """Return what the coin is tossed for: the unit of randomisation of each request."""
        unit = keys if self.unit is None else rows[self.unit].cast(pl.String)
        return [text or "" for text in unit.to_list()]

    def grouped(self, rows: pl.DataFrame) -> list[pl.Series]:
        """Return the column ``group``, the list that each request belongs to, if the task has lists."""
        group = self.task.group
        return [] if group is None else [rows[group].cast(pl.String).fill_null("").alias(GROUP)]

    @cached_property
    def feature_types(self) -> dict[str, pl.DataType]:
        """The features and the types in which they are kept."""
        kinds = self.features.kinds
        return {name: pl.Float32() if kind == "numeric" else pl.String() for name, kind in kinds.items()}

    def columns(self, nullable: frozenset[str] = frozenset()) -> dict[str, ExpectedColumn]:
        """Return every column that a request may bring: first those that are features, in the declared order,
        then the others by name. A record of the model keeps no other order.

        Parameters
        ----------
        nullable
            Columns that were sometimes empty in the history, and so may be in a request.
        """
        data = self.requests
        needed = {*self.features.request_columns()} - self.optional
        needed |= {self.unit} if self.unit else set()
        needed |= set() if self.task.group is None else {self.task.group}
        needed |= set(data.key) if self.generated_key is None else set()
        first = [feature for feature in self.features.declared if isinstance(feature, str)]
        return {
            name: ExpectedColumn(
                name,
                str(self.types[name]),
                required=name in needed,
                may_be_null=name not in data.key and (name in nullable or name not in needed),
            )
            for name in dict.fromkeys([*first, *sorted(self.types)])
            if name != data.event_time
        }


def generated_keys(request_id: str, n: int) -> list[str]:
    """Return the keys of the rows of a request that brings none.

    Examples
    --------
    >>> generated_keys("r", 1), generated_keys("r", 2)
    (['r'], ['r-0', 'r-1'])
    """
    return [request_id] if n == 1 else [f"{request_id}-{number}" for number in range(n)]
