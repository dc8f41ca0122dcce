"""Conditions on rows: expressions of polars, the objects and texts of Great Expectations, and Python.

Only comparisons of a column with a value, tests for null, and their conjunctions are translated.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import polars as pl

from varv.data.contracts.row_rules import COMPARISONS
from varv.kernel.expressions import read_expression

LONGEST = 2000
_SIGNS = {"Eq": "==", "NotEq": "!=", "Lt": "<", "LtEq": "<=", "Gt": ">", "GtEq": ">="}
_OF_PYTHON: Mapping[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "IN",
    ast.NotIn: "NOT_IN",
}
Tree = dict[str, Any]
"""A condition as Great Expectations writes it as an object."""


def expression(tree: Mapping[str, Any]) -> pl.Expr:
    """Return a condition as an expression.

    Raises
    ------
    ValueError
        If it is none of those that are translated.
    """
    kind = tree.get("type")
    if kind in ("and", "or"):
        parts = [expression(one) for one in tree.get("conditions", ())]
        if not parts:
            raise ValueError("its condition is empty")
        return reduce(lambda a, b: a & b if kind == "and" else a | b, parts)
    if kind == "pass_through":
        return expression(parsed(str(tree.get("pass_through_filter", ""))))
    column = pl.col(tree["column"]["name"])
    if kind == "nullity":
        return column.is_null() if tree.get("is_null") else column.is_not_null()
    if kind != "comparison":
        raise ValueError(f"its condition is of the type {str(kind)[:40]}")
    value, sign = tree["parameter"], tree["operator"]
    if sign in ("IN", "NOT_IN"):
        return column.is_in(list(value)) if sign == "IN" else ~column.is_in(list(value))
    if sign not in COMPARISONS:
        raise ValueError(f"its condition has the sign {str(sign)[:20]}")
    return COMPARISONS[sign](column, pl.lit(value))


def parsed(text: str) -> Tree:
    """Return a condition that is written as pandas' `query` or as ``col("x") > 3``.

    Raises
    ------
    ValueError
        If it is none of those that are translated.
    """
    if len(text) > LONGEST:
        raise ValueError("its condition is too long")
    try:
        return _tree(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError(f"its condition is not read: {text[:80]}") from None


def _tree(node: ast.expr) -> Tree:
    match node:
        case ast.BoolOp(op=op, values=values):
            return _joined("and" if isinstance(op, ast.And) else "or", [_tree(one) for one in values])
        case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr() as op, right=right):
            return _joined("and" if isinstance(op, ast.BitAnd) else "or", [_tree(left), _tree(right)])
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OF_PYTHON:
            value = ast.literal_eval(right)
            return _comparison(_column(left), _OF_PYTHON[type(op)], value)
        case ast.Call(func=ast.Attribute(value=of, attr=attr), args=[]) if attr in _TESTS:
            return {"type": "nullity", "column": {"name": _column(of)}, "is_null": _TESTS[attr]}
        case _:
            raise ValueError(f"its condition is not read: {ast.unparse(node)[:80]}")


_TESTS = {"isnull": True, "isna": True, "is_null": True, "notnull": False, "notna": False, "notNull": False}


def _column(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Call(func=ast.Name(id="col"), args=[ast.Constant(value=str(name))]):
            return name
        case _:
            raise ValueError(f"its condition compares {ast.unparse(node)[:40]}, which is no column")


def _joined(kind: str, parts: Sequence[Tree]) -> Tree:
    flat = [inner for one in parts for inner in (one["conditions"] if one["type"] == kind else [one])]
    return {"type": kind, "conditions": flat}


def _comparison(column: str, sign: str, value: object) -> Tree:
    return {"type": "comparison", "column": {"name": column}, "operator": sign, "parameter": value}


def tree_of(written: str) -> Tree:
    """Return an expression that polars wrote as a condition.

    Raises
    ------
    ValueError
        If it is none of those that are translated.
    """
    read_expression(written)
    return _of_polars(json.loads(written))


def _of_polars(node: Any) -> Tree:
    match node:
        case {"BinaryExpr": {"left": left, "op": "And" | "LogicalAnd", "right": right}}:
            return _joined("and", [_of_polars(left), _of_polars(right)])
        case {"BinaryExpr": {"left": left, "op": "Or" | "LogicalOr", "right": right}}:
            return _joined("or", [_of_polars(left), _of_polars(right)])
        case {"BinaryExpr": {"left": {"Column": str(name)}, "op": str(op), "right": {"Literal": literal}}}:
            if op in _SIGNS:
                return _comparison(name, _SIGNS[op], _literal(literal))
        case {"Function": {"input": [{"Column": str(name)}], "function": {"Boolean": "IsNull"}}}:
            return {"type": "nullity", "column": {"name": name}, "is_null": True}
        case {"Function": {"input": [{"Column": str(name)}], "function": {"Boolean": "IsNotNull"}}}:
            return {"type": "nullity", "column": {"name": name}, "is_null": False}
        case _:
            pass
    raise ValueError("its condition is more than comparisons of columns with values")


def _literal(node: Any) -> Any:
    match node:
        case {"Dyn": {"Int": int(value)}} | {"Dyn": {"Float": float(value)}}:
            return value
        case {"Scalar": {"String": str(value)}} | {"Scalar": {"Boolean": bool(value)}}:
            return value
        case {"Scalar": dict(typed)} if isinstance(found := next(iter(typed.values()), None), int | float):
            return found
        case _:
            raise ValueError("its condition compares with a value that is no number and no text")


def in_python(tree: Mapping[str, Any]) -> str:
    """Return a condition as an author writes it.

    Examples
    --------
    >>> in_python(parsed("x > 3 and y == 'a'"))
    "(pl.col('x') > 3) & (pl.col('y') == 'a')"
    """
    if tree["type"] in ("and", "or"):
        sign = " & " if tree["type"] == "and" else " | "
        return sign.join(f"({in_python(one)})" for one in tree["conditions"])
    column = f"pl.col({tree['column']['name']!r})"
    if tree["type"] == "nullity":
        return f"{column}.is_null()" if tree["is_null"] else f"{column}.is_not_null()"
    if tree["operator"] in ("IN", "NOT_IN"):
        text = f"{column}.is_in({list(tree['parameter'])!r})"
        return text if tree["operator"] == "IN" else f"~{text}"
    return f"{column} {tree['operator']} {tree['parameter']!r}"
