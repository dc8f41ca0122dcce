"""Applies what a declaration says is done to a request before its model and to an answer after it.

What a version says is captured as it was said: a transformed answer is another way to show it, and no
statistic knows of it. Where a transformation fails, its request is refused, goes on as it is, or with
declared values; the latter two are flagged under `BEFORE` and `AFTER`, as values are that break a check.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from varv.data.values import ExpectedColumn, column_of
from varv.kernel.errors import (
    Corrupt,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidInput,
    Unavailable,
    UserCodeFailed,
    VarvError,
)
from varv.kernel.expressions import read_expression
from varv.kernel.ids import ModelName
from varv.kernel.observe import log
from varv.serving.schema import RequestSchema
from varv.serving.scored import NOTHING, Flagged
from varv.serving.scores import Scores
from varv.serving.transforms import (
    DTYPES,
    ColumnFunction,
    Columns,
    Expressions,
    Field,
    Kind,
    Transform,
    Transforms,
)
from varv.tasks import Task

BEFORE, AFTER = "transformer.before", "transformer.after"
"""Under which names a transformation is flagged that failed; no column can be called so."""
_FAILURES = (Corrupt, DeadlineExceeded, FailedPrecondition, InvalidInput, Unavailable, UserCodeFailed)
_TENSOR_KINDS: dict[str, Kind] = {
    "FP32": "number",
    "FP64": "number",
    "INT32": "integer",
    "INT64": "integer",
    "BYTES": "text",
}
HELD: dict[Kind, tuple[type, ...]] = {
    "text": (str,),
    "number": (int, float),
    "integer": (int,),
    "truth": (bool,),
}
_LOG = logging.getLogger(__name__)


class Transformed(NamedTuple):
    """Columns after a transformation."""

    columns: Columns
    flagged: Flagged


class Transformer:
    """What is done to requests and answers of one model.

    Parameters
    ----------
    schema
        What a request is, and what is declared.
    transforms
        Loads what another process or machine does; None where nothing may be asked elsewhere.

    Raises
    ------
    FailedPrecondition
        If something has to be asked elsewhere, and may not.
    """

    def __init__(self, schema: RequestSchema, transforms: Transforms | None) -> None:
        policy = schema.serving
        self._schema = schema
        self._before = None if policy.before is None else _Stage(schema.model, BEFORE, policy.before)
        self._after = None if policy.after is None else _Stage(schema.model, AFTER, policy.after)
        self._said = said_fields(schema.task)
        if self._before is not None:
            self._before.load(transforms, self._before.transform.reads)
        if self._after is not None:
            self._after.load(transforms, self._said)
        before = () if policy.before is None else policy.before.reads
        self._extra = tuple(field for field in before if field.name not in schema.types)

    @property
    def waits(self) -> bool:
        """Whether another process or machine is asked."""
        return self.waits_before or (self._after is not None and self._after.transform.waits)

    @property
    def waits_before(self) -> bool:
        """Whether another process or machine is asked before a request is understood."""
        return self._before is not None and self._before.transform.waits

    @property
    def has_fallback(self) -> bool:
        """Whether a request may be answered though a transformation fails."""
        stages = [stage for stage in (self._before, self._after) if stage is not None]
        return any(stage.transform.otherwise != "reject" for stage in stages)

    @property
    def reads_requests(self) -> bool:
        """Whether requests are transformed."""
        return self._before is not None

    @property
    def shows(self) -> bool:
        """Whether answers are transformed."""
        return self._after is not None

    @property
    def fields(self) -> tuple[Field, ...]:
        """What an answer shows beside, or in the place of, what the model says."""
        return () if self._after is None else self._after.transform.makes

    def columns(self, of_model: Mapping[str, ExpectedColumn]) -> dict[str, ExpectedColumn]:
        """Return what callers send, given what the model is asked with."""
        if self._before is None:
            return dict(of_model)
        reads = {field.name for field in self._before.transform.reads}
        made = {field.name for field in self._before.transform.makes} - reads
        found = {name: one for name, one in of_model.items() if name not in made}
        for name, dtype in ((field.name, DTYPES[field.kind]) for field in self._extra):
            found[name] = ExpectedColumn(name, dtype, required=True, may_be_null=True)
        return found

    def asked(self, columns: Columns) -> Transformed:
        """Return the columns that a model is asked with, of those that a caller sent.

        Raises
        ------
        InvalidInput
            If the caller did not send what the transformation reads, or its rows are of several lengths.
        VarvError
            Why it failed, if its request is refused then.
        """
        if self._before is None:
            return Transformed(columns, NOTHING)
        stage = self._before
        read = self._read(stage.transform, columns)
        extra = {field.name for field in self._extra}
        kept = {name: values for name, values in columns.items() if name not in extra}
        n = len(next(iter(columns.values()), ()))
        made, flagged = stage.made(read, n)
        return Transformed({**kept, **made}, flagged)

    def told(
        self, scores: Scores, versions: Sequence[int], arms: Sequence[str], *, is_strict: bool = False
    ) -> Transformed:
        """Return what answers show of what versions said, by the names of fields; null in answers that go on
        as they are, but nothing in the place of what the model says.

        Parameters
        ----------
        is_strict
            Whether a failure is raised whatever is declared.

        Raises
        ------
        VarvError
            Why it failed, if its request is refused then.
        """
        assert self._after is not None, "only then is there anything to show"
        given, n = said_columns(self._schema.task, scores, versions, arms), len(versions)
        made, flagged = self._after.made(given, n, is_strict=is_strict)
        if not made:
            none = [None] * n
            made = {field.name: given.get(field.name, none) for field in self.fields}
        return Transformed(made, flagged)

    def _read(self, transform: Transform, columns: Columns) -> dict[str, list[Any]]:
        """Return what a caller sent for a transformation, as what it reads."""
        found: dict[str, list[Any]] = {}
        for field in transform.reads:
            if field.name not in columns:
                hint = f"send {', '.join(one.name for one in transform.reads)}"
                raise InvalidInput("column", field.name, "is missing", hint=hint, reason="missing")
            expected = ExpectedColumn(field.name, DTYPES[field.kind], required=True, may_be_null=True)
            dtype = _dtype(field.kind)
            found[field.name] = column_of(field.name, columns[field.name], dtype, expected).to_list()
        return found


class _Stage:
    """One of the two transformations of a model."""

    def __init__(self, model: ModelName, name: str, transform: Transform) -> None:
        self._model = model
        self._name = name
        self.transform = transform
        self._function: ColumnFunction | None = None
        self._is_sound = True

    def load(self, transforms: Transforms | None, reads: Sequence[Field]) -> None:
        """Bring it into being."""
        if isinstance(self.transform.how, Expressions):
            self._function = ExpressionFunction(self.transform.how, reads, self.transform.makes)
        elif transforms is None:
            hint = "ask a server, which has processes for it"
            raise FailedPrecondition(
                "model", self._model, f"has a {self._name} that runs elsewhere", hint=hint
            )
        else:
            self._function = transforms.load(self.transform, reads)

    def made(self, columns: Columns, n: int, *, is_strict: bool = False) -> Transformed:
        """Return what is made of n rows, and whether that is not what was declared."""
        assert self._function is not None, "it was loaded"
        try:
            made = require_fields(self._function.call(columns), self.transform.makes, n, self._name)
        except _FAILURES as error:
            self._note(error)
            if is_strict or self.transform.otherwise == "reject":
                raise
            flagged = {self._name: list(range(n))}
            if self.transform.otherwise == "pass":
                return Transformed({}, flagged)
            names = [field.name for field in self.transform.makes]
            pairs = zip(names, self.transform.default, strict=True)
            return Transformed({name: [value] * n for name, value in pairs}, flagged)
        self._is_sound = True
        return Transformed(made, NOTHING)

    def _note(self, error: VarvError) -> None:
        # Once, not with each request: an endpoint that is down fails thousands of times.
        if self._is_sound:
            # What is said of a value is its caller's to know, and no log's.
            why = error.problem if isinstance(error, InvalidInput) else str(error)
            facts = {"stage": self._name, "why": why, "otherwise": self.transform.otherwise}
            log(_LOG, logging.WARNING, "transform.failed", model=self._model, **facts)
        self._is_sound = False


class ExpressionFunction:
    """Makes columns by expressions.

    Parameters
    ----------
    expressions
        One for each of `makes`.
    reads, makes
        The columns that are given, and those that are made.

    Raises
    ------
    FailedPrecondition
        If this polars does not read one of them.
    """

    def __init__(self, expressions: Expressions, reads: Sequence[Field], makes: Sequence[Field]) -> None:
        self._dtypes = {field.name: _dtype(field.kind) for field in reads}
        self._names = [field.name for field in makes]
        self._made: list[pl.Expr] = []
        for field, written in zip(makes, expressions.written, strict=True):
            try:
                expr = read_expression(written)
            except ValueError as error:
                hint = "declare it again"
                problem = "cannot be built again"
                raise FailedPrecondition(
                    "transform", field.name, problem, why=str(error), hint=hint
                ) from None
            self._made.append(expr.cast(_dtype(field.kind)).alias(field.name))

    def call(self, columns: Columns) -> Columns:
        """Return the columns that are made.

        Raises
        ------
        InvalidInput
            If there is a value of which nothing can be made.
        """
        try:
            given = [pl.Series(name, columns[name], dtype=dtype) for name, dtype in self._dtypes.items()]
            # A literal is as long as the frame only beside its columns.
            made = pl.DataFrame(given).with_columns(self._made)
        except (TypeError, OverflowError, pl.exceptions.PolarsError) as error:
            why = str(error).partition("\n")[0][:200]
            hint = "send values that it is declared for"
            raise InvalidInput("request", "", "cannot be transformed", why=why, hint=hint) from None
        return {name: made[name].to_list() for name in self._names}


def require_fields(made: Columns, makes: Sequence[Field], n: int, name: str) -> Columns:
    """Return the columns that a transformation makes, as they may be sent: no number is infinite, and what is
    no number is null.

    Raises
    ------
    Corrupt
        If a column is not there, has another number of rows, or a value of another kind.
    """
    if made.keys() != {field.name for field in makes}:
        names = f"has the columns {', '.join(made)[:80]}, not {', '.join(field.name for field in makes)[:80]}"
        raise Corrupt("transform", name, "answers with other columns", why=names, hint="see what it returns")
    found: dict[str, list[Any]] = {}
    for field in makes:
        values = list(made[field.name])
        kinds = set(map(type, values)) - {type(None)}
        if len(values) != n or not kinds <= set(HELD[field.kind]):
            why = (
                f"{field.name} has {len(values)} values of {', '.join(sorted(one.__name__ for one in kinds))}"
            )
            problem = f"does not answer with {n} values of the kind {field.kind!r}"
            raise Corrupt("transform", name, problem, why=why, hint="see what it returns")
        if float in kinds:
            values = [None if value is None or not math.isfinite(value) else value for value in values]
        found[field.name] = values
    return found


def said_fields(task: Task) -> tuple[Field, ...]:
    """Return the columns that a transformation of answers reads: each output of the task, with a point
    between its name and that of a number where a row has several, the version and the arm.
    """
    found: list[Field] = []
    for tensor in task.tensors():
        kind = _TENSOR_KINDS[tensor.datatype]
        names = [f"{tensor.name}.{name}" for name in task.outputs] if tensor.tail else [tensor.name]
        found += [Field(name, kind) for name in names]
    return (*found, Field("version", "integer"), Field("arm", "text"))


def said_columns(
    task: Task, scores: Scores, versions: Sequence[int], arms: Sequence[str]
) -> dict[str, list[Any]]:
    """Return these columns of what was said; a number that is held back is null."""
    n = len(versions)
    found: dict[str, list[Any]] = {}
    for tensor in task.tensors():
        values = [None if value != value else value for value in tensor.values(scores)]
        if tensor.tail:
            width = len(values) // n
            found |= {f"{tensor.name}.{name}": values[at::width] for at, name in enumerate(task.outputs)}
        else:
            found[tensor.name] = values
    return {**found, "version": list(map(int, versions)), "arm": list(arms)}


def _dtype(kind: Kind) -> pl.DataType:
    types: dict[Kind, pl.DataType] = {
        "text": pl.String(),
        "number": pl.Float64(),
        "integer": pl.Int64(),
        "truth": pl.Boolean(),
    }
    return types[kind]
