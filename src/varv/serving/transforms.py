"""Transformations of requests and answers as they are declared and as ledgers keep them: which columns each
reads and makes, how, and what becomes of a request that it fails for.

They are applied in `serving.transforming`; `project.transforms` declares them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from varv.kernel.codec import digest_of

Columns = Mapping[str, Sequence[Any]]
Value = str | float | bool | None
Kind = Literal["text", "number", "integer", "truth"]
"""What a column of a transformation holds."""
DTYPES: dict[Kind, str] = {"text": "String", "number": "Float64", "integer": "Int64", "truth": "Boolean"}
"""How a column of a request of each kind is typed."""
DATATYPES: dict[Kind, str] = {"text": "BYTES", "number": "FP64", "integer": "INT64", "truth": "BOOL"}
"""As what the Open Inference Protocol shows each kind."""


class Field(msgspec.Struct, frozen=True):
    """A column that a transformation reads or makes."""

    name: str
    kind: Kind


class Expressions(msgspec.Struct, frozen=True, tag="expressions"):
    """Expressions of polars, one for each column that is made; evaluated where requests are answered."""

    written: tuple[str, ...]
    """As polars writes them."""
    said: tuple[str, ...]
    """As they read."""

    @property
    def line(self) -> str:
        """What it is, in words."""
        return "; ".join(self.said)


class Function(msgspec.Struct, frozen=True, tag="function", omit_defaults=True):
    """A function of Python, with the source that defines it; called in a process of its own."""

    module: str
    name: str
    files: tuple[tuple[str, str], ...] = ()
    """Source by path below the project's folder; none for a function of an installed library."""

    @property
    def line(self) -> str:
        """What it is, in words."""
        # Its source is part of what it is: who changes it has to see so.
        return f"{self.module}.{self.name} ({digest_of([list(file) for file in self.files])[:8]})"


class Remote(msgspec.Struct, frozen=True, tag="remote", omit_defaults=True):
    """A model over the Open Inference Protocol whose inputs and outputs are the columns."""

    endpoint: str
    token_variable: str = ""
    """The variable of the environment that holds a bearer token."""

    @property
    def line(self) -> str:
        """What it is, in words."""
        return self.endpoint


How = Expressions | Function | Remote


class Transform(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A transformation of columns, row by row."""

    how: How
    reads: tuple[Field, ...] = ()
    """Columns that it reads: of a request, those that callers send for it and their kinds; of an answer
    nothing, since it reads all that is said."""
    makes: tuple[Field, ...]
    timeout_s: float = 1.0
    """How long one call may take, in seconds; expressions have no bound."""
    otherwise: Literal["reject", "pass", "default"] = "reject"
    default: tuple[Value, ...] = ()
    """What takes the place of the columns that it makes, in their order, if so declared."""

    @property
    def waits(self) -> bool:
        """Whether another process or machine is asked, so that a call may take long."""
        return not isinstance(self.how, Expressions)

    @property
    def line(self) -> str:
        """What it does, in words."""
        instead = f"default {', '.join(map(str, self.default))}" if self.default else self.otherwise
        if not self.waits:
            return f"{self.how.line}, else {instead}"
        made = ", ".join(field.name for field in self.makes)
        return f"{made} by {self.how.line} within {self.timeout_s:g} s, else {instead}"


class ColumnFunction(Protocol):
    """Makes columns of columns; whoever answers requests is handed one for what waits."""

    def call(self, columns: Columns) -> Columns:
        """Return the columns that are made, as many rows as there were.

        Raises
        ------
        VarvError
            If it fails, is too slow, or answers with something else.
        """
        ...


class Transforms(Protocol):
    """Brings transformations into being that another process or machine does."""

    def load(self, transform: Transform, reads: Sequence[Field]) -> ColumnFunction:
        """Return what is called for one; where it cannot be, the call says why.

        Parameters
        ----------
        reads
            The columns that it will be given.
        """
        ...
