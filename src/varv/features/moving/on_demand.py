"""Views on demand of Feast whose function is plain arithmetic of columns, as expressions of polars.

The function is parsed, never run. What is more than ``+``, ``-``, ``*`` and ``/`` of columns and numbers is
not translated, and the reason is named.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Callable, Mapping

import msgspec

_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div)
_LARGEST = 100_000
"""Characters of a function."""
Column = Callable[[str], str]
"""Returns what a column of the inputs is called here; raises `ValueError` for one that is not there."""


def translated(text: str, column: Column) -> dict[str, str]:
    r"""Return the expression of each feature that a function computes, as Python.

    Parameters
    ----------
    text
        The function's source, with its decorators.

    Raises
    ------
    ValueError
        If it does more than arithmetic; the text says what.

    Examples
    --------
    >>> body = 'def f(inputs):\n    df = pd.DataFrame()\n    df["x"] = inputs["a"] * 2\n    return df'
    >>> translated(body, lambda name: name)
    {'x': 'pl.col("a") * 2'}
    """
    function = _function(text)
    if len(function.args.args) != 1:
        raise ValueError("it takes more than its inputs")
    reader = _Reader(function.args.args[0].arg, column)
    for statement in function.body:
        reader.read(statement)
    if not reader.found:
        raise ValueError("it computes no column")
    return reader.found


def _function(text: str) -> ast.FunctionDef:
    if len(text) > _LARGEST:
        raise ValueError("its text is too long")
    try:
        body = ast.parse(textwrap.dedent(text)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError("its text is not Python") from None
    if len(body) != 1 or not isinstance(body[0], ast.FunctionDef):
        raise ValueError("its text is no function")
    return body[0]


class _Reader:
    """Reads statements of one function."""

    def __init__(self, inputs: str, column: Column) -> None:
        self._inputs = inputs
        self._column = column
        self._frame = ""
        self.found: dict[str, str] = {}

    def read(self, statement: ast.stmt) -> None:
        """Read one statement."""
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            return  # a docstring
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            if len(targets) == 1:
                self._assigned(targets[0], statement.value)
                return
        if isinstance(statement, ast.Return) and statement.value is not None:
            self._returned(statement.value)
            return
        raise ValueError(f"it has `{_shown(statement)}`")

    def _assigned(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name) and _is_empty_frame(value):
            self._frame = target.id
            return
        name = _subscript(target, self._frame) if self._frame else None
        if name is None:
            raise ValueError(f"it has `{_shown(target)} = ...`")
        self.found[name] = self._expression(value)

    def _returned(self, value: ast.expr) -> None:
        if isinstance(value, ast.Name) and value.id == self._frame:
            return
        given = value
        if isinstance(value, ast.Call) and _is_frame(value.func) and len(value.args) == 1:
            given = value.args[0]
        if not isinstance(given, ast.Dict):
            raise ValueError(f"it returns `{_shown(value)}`")
        for key, one in zip(given.keys, given.values, strict=True):
            if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
                raise ValueError(f"it returns `{_shown(value)}`")
            self.found[key.value] = self._expression(one)

    def _expression(self, value: ast.expr) -> str:
        if isinstance(value, ast.ListComp):
            return ast.unparse(self._plain(value.elt, self._looped(value)))
        return ast.unparse(self._plain(value, {}))

    def _looped(self, value: ast.ListComp) -> Mapping[str, str]:
        """Return the column that each name of a loop over columns stands for."""
        loop = value.generators[0]
        names = loop.target.elts if isinstance(loop.target, ast.Tuple) else [loop.target]
        lists = [loop.iter]
        if isinstance(loop.iter, ast.Call) and isinstance(loop.iter.func, ast.Name):
            is_zip = loop.iter.func.id == "zip" and all(one.arg == "strict" for one in loop.iter.keywords)
            lists = loop.iter.args if is_zip else []
        columns = [_subscript(one, self._inputs) for one in lists]
        is_plain = len(value.generators) == 1 and not loop.ifs and len(names) == len(columns)
        found = {
            name.id: column
            for name, column in zip(names, columns, strict=is_plain)
            if isinstance(name, ast.Name) and column is not None
        }
        if not is_plain or len(found) < len(names):
            raise ValueError(f"it has `{_shown(value)}`")
        return found

    def _plain(self, value: ast.expr, loop: Mapping[str, str]) -> ast.expr:
        """Return arithmetic with its columns as polars has them."""
        column = _subscript(value, self._inputs)
        if column is None and isinstance(value, ast.Name):
            column = loop.get(value.id)
        if column is not None:
            # A name that reads as the call: it is only ever written down.
            return ast.Name(f"pl.col({msgspec.json.encode(self._column(column)).decode()})")
        if isinstance(value, ast.Constant) and type(value.value) in (int, float):
            return value
        if isinstance(value, ast.BinOp) and isinstance(value.op, _OPERATORS):
            return ast.BinOp(self._plain(value.left, loop), value.op, self._plain(value.right, loop))
        if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.USub):
            return ast.UnaryOp(value.op, self._plain(value.operand, loop))
        raise ValueError(f"it has `{_shown(value)}`")


def _subscript(value: ast.expr, of: str) -> str | None:
    """Return the text in ``of["text"]``; None of anything else."""
    if (
        isinstance(value, ast.Subscript)
        and isinstance(value.value, ast.Name)
        and value.value.id == of
        and isinstance(value.slice, ast.Constant)
        and isinstance(value.slice.value, str)
    ):
        return value.slice.value
    return None


def _is_empty_frame(value: ast.expr) -> bool:
    is_call = isinstance(value, ast.Call) and not value.args and not value.keywords
    return (isinstance(value, ast.Call) and is_call and _is_frame(value.func)) or (
        isinstance(value, ast.Dict) and not value.keys
    )


def _is_frame(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute) and function.attr == "DataFrame"


def _shown(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())[:80]
