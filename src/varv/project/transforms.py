"""Transformations of requests and answers, as they are declared: ``varv.transform(...)``.

What they become is in `serving.transforms`. A declaration knows neither the columns of requests nor the task;
so it is resolved, and refused if it does not fit, once a model has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from varv.data import Dataset
from varv.kernel.errors import InvalidDeclaration, InvalidInput
from varv.kernel.expressions import is_by_row, written_expression
from varv.registry.endpoint import checked_endpoint
from varv.serving.transforming import HELD, said_fields
from varv.serving.transforms import (
    DTYPES,
    Columns,
    Expressions,
    Field,
    Function,
    How,
    Kind,
    Remote,
    Transform,
    Value,
)
from varv.tasks import Task
from varv.training.sources import sources_of

Given = Mapping[str, pl.Expr] | Callable[[Columns], Columns] | str
_KINDS: dict[type, Kind] = {str: "text", float: "number", int: "integer", bool: "truth"}
_OTHERWISE = ("reject", "pass", "default")
_BESIDE = ("version", "arm", "key")
_LONGEST_S = 60.0


def transform(
    how: Given,
    *,
    inputs: Mapping[str, type] | None = None,
    outputs: Mapping[str, type] | Sequence[str] | None = None,
    timeout_s: float = 1.0,
    otherwise: str = "reject",
    default: Mapping[str, Value] | None = None,
    token_variable: str = "",
) -> Transformation:
    """Declare what is done to requests before a model reads them, or to answers before callers see them, row
    by row.

    Parameters
    ----------
    how
        Expressions of polars by the column that each makes; or a function that takes columns as lists and
        returns columns as lists, defined in a file of its own and called in a process of its own; or the
        address of a model over the Open Inference Protocol, ``https://host/v2/models/NAME``, whose inputs and
        outputs are the columns.
    inputs
        Columns that callers send for it, by their types: ``{"miles": float}``. Of expressions only those that
        are no columns of the request; of functions and endpoints all that they read. Not for answers, of
        which everything is read: the outputs of the task, ``version`` and ``arm``.
    outputs
        Columns that a function or an endpoint makes: of requests their names, of answers their types too.
    timeout_s
        How long a call of a function or an endpoint may take, in seconds.
    otherwise
        What becomes of a request for which it fails: ``"reject"`` refuses it, ``"pass"`` goes on without it,
        ``"default"`` with the values of `default`. The latter two are flagged in the answer and in the log.
    default
        A value for each column that it makes.
    token_variable
        The variable of the environment that holds a bearer token for the endpoint.

    Raises
    ------
    InvalidDeclaration
        If it cannot work, whatever the model.

    Examples
    --------
    >>> made = transform({"distance_km": pl.col("miles") * 1.609344}, inputs={"miles": float})
    """
    refuse = _refusing("how")
    if isinstance(how, Mapping):
        found: How = _expressions(how)
    elif isinstance(how, str):
        found = _remote(how, token_variable)
    elif callable(how):
        found = _function(how)
    else:
        raise refuse(f"is of type {type(how).__name__}", "give expressions, a function or an address")
    if token_variable and not isinstance(found, Remote):
        raise refuse("has a token, and is no endpoint", "leave token_variable out")
    is_apart = not isinstance(found, Expressions)
    if is_apart and not outputs:
        raise refuse("makes no columns", "name them: outputs=[...]")
    if not is_apart and outputs is not None:
        raise refuse("has outputs beside its expressions", "leave outputs out")
    if (
        isinstance(timeout_s, bool)
        or not isinstance(timeout_s, int | float)
        or not 0 < timeout_s <= _LONGEST_S
    ):
        raise _refusing("timeout_s")(f"is {timeout_s!r:.40}", f"give seconds above 0, up to {_LONGEST_S:g}")
    if otherwise not in _OTHERWISE:
        raise _refusing("otherwise")(f"is {otherwise!r:.40}", f"write one of {', '.join(_OTHERWISE)}")
    if (otherwise == "default") != bool(default):
        raise _refusing("default")("is missing, or of no use", 'give default={...} with otherwise="default"')
    names = list(how) if isinstance(how, Mapping) else list(outputs or ())
    if default and set(default) != set(names):
        raise _refusing("default")(f"names {', '.join(default)[:60]}", f"name {', '.join(names)[:200]}")
    policy = {"timeout_s": float(timeout_s), "otherwise": otherwise}
    return Transformation(how, found, dict(inputs or {}), outputs, dict(default or {}), policy)


class Transformation:
    """What is declared of one; `transform` makes it.

    Parameters
    ----------
    how, found
        As it is declared, and as ledgers keep it.
    inputs, outputs, default
        As they are declared.
    policy
        What it may take, and what becomes of a request for which it fails.
    """

    def __init__(
        self,
        how: Given,
        found: How,
        inputs: Mapping[str, type],
        outputs: Mapping[str, type] | Sequence[str] | None,
        default: Mapping[str, Value],
        policy: Mapping[str, Any],
    ) -> None:
        self._exprs = how if isinstance(how, Mapping) else {}
        self._found = found
        self._outputs = outputs
        self._default = default
        self._policy = policy
        self._inputs: dict[str, Kind] = {}
        for name, type_ in inputs.items():
            self._inputs[_named("inputs", name)] = _kind("inputs", name, type_)

    def of_requests(self, model: str, requests: Dataset) -> Transform:
        """Return it as one of requests.

        Raises
        ------
        InvalidDeclaration
            If it reads or makes what is no column, or of another type.
        """
        types = requests.part_types(requests.event_time)
        known = {name: kind for name, dtype in types.items() if (kind := _kind_of(dtype)) is not None}
        for name, kind in self._inputs.items():
            if name in types and known.get(name) != kind:
                problem = f"transforms {name!r} as {kind}, which is {types[name]}"
                raise InvalidDeclaration("model", model, problem, hint="give the type that it has")
        known |= self._inputs
        makes: list[Field] = []
        for name in self._exprs or self._outputs or ():
            if name not in types or name not in known or name == requests.event_time:
                hint = f"make columns of texts, numbers or truth values among {', '.join(list(types)[:30])}"
                problem = f"makes {name!r} of its requests, which is no such column"
                raise InvalidDeclaration("model", model, problem, hint=hint)
            makes.append(Field(name, known[name]))
        reads = self._inputs if not self._exprs else {name: known.get(name) for name in self._roots()}
        reads |= self._inputs
        for name, kind in reads.items():
            if kind is None:
                hint = f'declare what callers send: inputs={{"{name}": float}}'
                raise InvalidDeclaration(
                    "model", model, f"transforms {name!r}, which does not exist", hint=hint
                )
        fields = tuple(Field(name, kind) for name, kind in reads.items() if kind is not None)
        if not fields:
            hint = "name the columns that it reads: inputs={...}"
            raise InvalidDeclaration("model", model, "has a transformation that reads nothing", hint=hint)
        made = self._made(model, fields)
        for field in makes:
            if self._exprs and not _fits(made[field.name], field.kind):
                problem = f"makes {field.name!r} of type {made[field.name]}, which is {types[field.name]}"
                raise InvalidDeclaration("model", model, problem, hint="cast it")
        return self._transform(model, tuple(makes), reads=fields)

    def of_answers(self, model: str, task: Task) -> Transform:
        """Return it as one of answers.

        Raises
        ------
        InvalidDeclaration
            If it reads what no answer has, or makes what cannot be shown.
        """
        if self._inputs:
            problem = "names inputs of a transformation of answers, which reads all that is said"
            raise InvalidDeclaration("model", model, problem, hint="leave inputs out")
        said = said_fields(task)
        kinds = {field.name: field.kind for field in said}
        for name in self._roots():
            if name not in kinds:
                hint = f"answers have {', '.join(kinds)}"
                raise InvalidDeclaration("model", model, f"transforms {name!r} of its answers", hint=hint)
        made = self._made(model, said)
        if self._exprs:
            makes = tuple(Field(_named("how", name), _made_kind(name, made[name])) for name in self._exprs)
        elif isinstance(self._outputs, Mapping):
            pairs = self._outputs.items()
            makes = tuple(Field(_named("outputs", name), _kind("outputs", name, one)) for name, one in pairs)
        else:
            hint = 'give the type of each: outputs={"label": str}'
            raise InvalidDeclaration("model", model, "shows outputs without their types", hint=hint)
        whole = {tensor.name for tensor in task.tensors() if tensor.tail}
        for field in makes:
            if field.name in (*_BESIDE, *whole) or kinds.get(field.name, field.kind) != field.kind:
                problem = f"shows {field.name!r} in the place of what every answer says"
                hint = "call it otherwise, or make it of the same type"
                raise InvalidDeclaration("model", model, problem, hint=hint)
        return self._transform(model, makes)

    def _roots(self) -> list[str]:
        return list(dict.fromkeys(name for expr in self._exprs.values() for name in expr.meta.root_names()))

    def _made(self, model: str, reads: Sequence[Field]) -> Mapping[str, pl.DataType]:
        """Return the types of what expressions make."""
        schema = {field.name: getattr(pl, DTYPES[field.kind])() for field in reads}
        try:
            frame = pl.LazyFrame(schema=schema)
            return frame.select(expr.alias(name) for name, expr in self._exprs.items()).collect_schema()
        except pl.exceptions.PolarsError as error:
            why = str(error).partition("\n")[0][:200]
            problem = "has a transformation that does not fit its columns"
            raise InvalidDeclaration("model", model, problem, why=why, hint="see its expressions") from None

    def _transform(self, model: str, makes: tuple[Field, ...], reads: tuple[Field, ...] = ()) -> Transform:
        for field in makes if self._default else ():
            value = self._default[field.name]
            if value is not None and type(value) not in HELD[field.kind]:
                problem = f"has the default {value!r:.40} for {field.name!r}, which is {field.kind}"
                raise InvalidDeclaration("model", model, problem, hint="give a value of its type")
        default = tuple(self._default[field.name] for field in makes) if self._default else ()
        return Transform(how=self._found, reads=reads, makes=makes, default=default, **self._policy)


def _expressions(how: Mapping[str, pl.Expr]) -> Expressions:
    written: list[str] = []
    for name, expr in how.items():
        refuse = _refusing(name)
        if not isinstance(expr, pl.Expr):
            raise refuse(f"is of type {type(expr).__name__}", "write an expression of polars")
        try:
            by_row = is_by_row(expr) and not expr.meta.has_multiple_outputs()
        except pl.exceptions.PolarsError:
            by_row = False
        if not by_row:
            raise refuse("is not made of one row", "use only functions of single values")
        written.append(written_expression(expr))
        if not written[-1]:
            hint = "give a function instead of expressions: it runs in a process of its own"
            raise refuse("holds a function of Python", hint)
    if not written:
        raise _refusing("how")("makes nothing", "name the columns and their expressions")
    return Expressions(tuple(written), tuple(f"{name} = {expr}" for name, expr in how.items()))


def _function(how: Callable[..., object]) -> Function:
    if any(isinstance(value, Dataset) for value in getattr(how, "__globals__", {}).values()):
        # Its process would declare the project again, and look for the data where its source is not.
        hint = "define it in a file of its own beside the project's, and import it"
        raise _refusing("how")("is defined in a file that declares datasets", hint)
    try:
        found = sources_of(how)
        files = tuple((path, text.decode()) for path, text in sorted(found.files.items()))
    except (InvalidInput, UnicodeDecodeError) as error:
        raise _refusing("how")(
            "cannot be kept", "define the function at the top of a file", str(error)
        ) from None
    if found.name == "<lambda>":
        raise _refusing("how")("has no name", "define the function at the top of a file")
    return Function(found.module, found.name, files)


def _remote(url: str, token_variable: str) -> Remote:
    try:
        return Remote(checked_endpoint(url, "oip", has_token=bool(token_variable)), token_variable)
    except InvalidInput as error:
        raise _refusing(error.name)(error.problem, error.hint) from None


def _kind_of(dtype: pl.DataType) -> Kind | None:
    if dtype == pl.Boolean:
        return "truth"
    if dtype.is_integer():
        return "integer"
    return "number" if dtype.is_float() else "text" if dtype == pl.String else None


def _made_kind(name: str, dtype: pl.DataType) -> Kind:
    kind = _kind_of(dtype)
    if kind is None:
        raise _refusing(name)(f"is of type {dtype}", "make a text, a number or a truth value")
    return kind


def _fits(dtype: pl.DataType, kind: Kind) -> bool:
    made = _kind_of(dtype)
    return made == kind or (made == "integer" and kind == "number") or dtype == pl.Null


def _kind(argument: str, name: str, type_: object) -> Kind:
    if not isinstance(type_, type) or type_ not in _KINDS:
        raise _refusing(argument)(f"has {name!r} of {type_!r:.40}", "give str, float, int or bool")
    return _KINDS[type_]


def _named(argument: str, name: object) -> str:
    if not isinstance(name, str) or not name:
        raise _refusing(argument)(f"names {name!r:.40}", "give the name of a column")
    return name


def _refusing(name: str) -> Callable[..., InvalidDeclaration]:
    def refuse(problem: str, hint: str, why: str = "") -> InvalidDeclaration:
        facts = {"why": why} if why else {}
        return InvalidDeclaration("transform", name[:60], problem, hint=hint, **facts)

    return refuse
