"""Schemas of Pandera, read from YAML or JSON in all three shapes that it has written.

Source: Pandera's documentation of its schema files, and what its versions up to 0.35 write.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from varv.data.contracts import expect
from varv.data.contracts.column_rules import kind_of
from varv.data.contracts.declaring import How
from varv.data.contracts.model import Expectation
from varv.data.moving.patterns import translated_pattern, whole
from varv.data.moving.translation import Collector, Shape, Translated

_FIELDS = frozenset(
    (
        *("title", "description", "dtype", "nullable", "checks", "name", "unique", "coerce", "required"),
        *("regex", "default", "report_duplicates", "drop_invalid_rows", "metadata", "schema_type", "version"),
    )
)
"""What a column has beside checks that are written as its own keys."""
_OPTIONS = frozenset(
    ("check_name", "ignore_na", "raise_warning", "n_failure_cases", "groupby", "groups", "error", "name")
)
_ONLY_TABLE = ("checks", "dtype", "index", "add_missing_columns", "metadata")
_SHAPE = ("strict", "ordered", "unique_column_names", "coerce")


def read_pandera(document: Mapping[str, Any], shape: Shape | None = None) -> Translated:
    """Return the rules of a schema.

    Parameters
    ----------
    shape
        Of the dataset; without it patterns for names of columns cannot be resolved, nor types compared.
    """
    found = Collector(shape)
    columns = document.get("columns")
    for name, said in columns.items() if isinstance(columns, dict) else ():
        for column in _columns(found, str(name), said or {}):
            _column(found, column, said or {})
    if together := document.get("unique"):
        names = [together] if isinstance(together, str) else together
        found.take(f"unique {names}", lambda: expect.unique(names, skip="never"))
    for field in _ONLY_TABLE:
        if document.get(field):
            found.leave(field, "it is about the table or its index, not about a column")
    found.held += [
        f"{field}: a dataset keeps its columns and their types" for field in _SHAPE if document.get(field)
    ]
    return found.translated("pandera")


def _columns(found: Collector, name: str, said: Mapping[str, Any]) -> list[str]:
    """Return the columns that an entry is about."""
    if not said.get("regex"):
        return [name]
    if found.shape is None:
        found.leave(f"columns like {name}", "which columns these are only a dataset says; name one")
        return []
    try:
        # Pandera's own meaning of it; names are few and short.
        return [column for column in found.shape.types if re.match(name, column)]
    except re.error as error:
        found.leave(f"columns like {name}", f"it is no pattern: {error}")
        return []


def _column(found: Collector, name: str, said: Mapping[str, Any]) -> None:
    nullable = bool(said.get("nullable"))
    if not nullable:
        found.take(f"{name}: nullable", lambda: expect.present(name))
    if said.get("unique"):
        found.take(f"{name}: unique", lambda: expect.unique(name, skip="never" if nullable else "any"))
    if dtype := said.get("dtype"):
        _type(found, name, str(dtype))
    for field in ("default", "metadata"):
        if said.get(field):
            found.leave(f"{name}: {field}", "values are kept as they come")
    if said.get("required") is False:
        found.leave(f"{name}: required", "a dataset has all of its columns")
    for check, given in _checks(found, name, said):
        _check(found, name, check, given)


def _type(found: Collector, name: str, dtype: str) -> None:
    kind = next((kind for pattern, kind in _KINDS if re.match(pattern, dtype, re.IGNORECASE)), None)
    if found.shape is None or name not in found.shape.types:
        found.held.append(f"{name}: {dtype}: a dataset keeps the types of its columns")
    elif kind == kind_of(found.shape.types[name]):
        found.held.append(f"{name}: {dtype}: it is kept as {found.shape.types[name]}")
    else:
        found.leave(f"{name}: dtype {dtype}", f"it is kept as {found.shape.types[name]}")


_KINDS: Sequence[tuple[str, str]] = (
    (r"u?int", "integer"),
    (r"float|double", "number"),
    (r"bool", "boolean"),
    (r"datetime|timestamp|date", "time"),
    (r"str|object|utf8|categor|large_string", "text"),
)


def _checks(found: Collector, column: str, said: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the arguments of each check, whichever shape they are written in."""
    checks = said.get("checks")
    if isinstance(checks, Mapping):
        yield from ((str(name), _arguments(given)) for name, given in checks.items())
    for one in checks if isinstance(checks, list) else ():
        options = one.get("options") if isinstance(one, dict) else None
        if not isinstance(options, dict) or "check_name" not in options:
            found.leave(f"{column}: a check", "it has no name")
            continue
        rest = {name: value for name, value in one.items() if name != "options"}
        yield str(options["check_name"]), {**options, **rest}
    yield from ((name, _arguments(given)) for name, given in said.items() if name not in _FIELDS)


def _arguments(given: Any) -> dict[str, Any]:
    """Return the arguments of a check; one that is written alone is ``value``."""
    if not isinstance(given, Mapping):
        return {} if given is None else {"value": given}
    options = given.get("options")
    rest = {str(name): value for name, value in given.items() if name != "options"}
    return {**(options if isinstance(options, Mapping) else {}), **rest}


def _check(found: Collector, column: str, check: str, given: Mapping[str, Any]) -> None:
    what = f"{column}: {check}"
    make = _CHECKS.get(check)
    if make is None:
        found.leave(what, "it is a check of the author's own, or about more than single values")
        return
    how = How(severity="warn" if given.get("raise_warning") else "error")
    if name := given.get("name"):
        how["name"] = str(name) if str(name) != check else ""
    if given.get("groupby"):
        found.leave(what, "it is about groups")
        return
    plain = {name: value for name, value in given.items() if name not in _OPTIONS and value is not None}
    found.take(what, lambda: make(column, plain, how))
    if given.get("ignore_na") is False:
        found.take(
            f"{what}: ignore_na", lambda: expect.present(column, severity=how.get("severity", "error"))
        )


def _one(given: Mapping[str, Any], *names: str) -> Any:
    """Return the only argument of a check."""
    for name in ("value", *names):
        if name in given:
            return given[name]
    raise KeyError(names[0] if names else "value")


def _in_range(column: str, given: Mapping[str, Any], how: How) -> Expectation:
    left, right = given.get("include_min", True), given.get("include_max", True)
    closed = "both" if left and right else "left" if left else "right" if right else "none"
    return expect.between(column, given["min_value"], given["max_value"], closed=closed, **how)


def _length(column: str, given: Mapping[str, Any], how: How) -> Expectation:
    # Of an exact length some versions write the number alone, others the least one so.
    if "value" in given:
        raise ValueError("a length that is written alone may be the least or the exact one; write which")
    if "exact_value" in given:
        return expect.length(column, given["exact_value"], given["exact_value"], **how)
    return expect.length(column, given.get("min_value"), given.get("max_value"), **how)


_CHECKS: Mapping[str, Callable[[str, Mapping[str, Any], How], Expectation]] = {
    "equal_to": lambda c, g, how: expect.one_of(c, [_one(g)], **how),
    "not_equal_to": lambda c, g, how: expect.none_of(c, [_one(g)], **how),
    "greater_than": lambda c, g, how: expect.between(c, _one(g, "min_value"), None, closed="none", **how),
    "greater_than_or_equal_to": lambda c, g, how: expect.between(
        c, _one(g, "min_value"), None, closed="both", **how
    ),
    "less_than": lambda c, g, how: expect.between(c, None, _one(g, "max_value"), closed="none", **how),
    "less_than_or_equal_to": lambda c, g, how: expect.between(
        c, None, _one(g, "max_value"), closed="both", **how
    ),
    "in_range": _in_range,
    "isin": lambda c, g, how: expect.one_of(c, _one(g, "allowed_values"), **how),
    "notin": lambda c, g, how: expect.none_of(c, _one(g, "forbidden_values"), **how),
    "str_matches": lambda c, g, how: expect.matches(c, whole(translated_pattern(_one(g, "pattern"))), **how),
    "str_contains": lambda c, g, how: expect.matches(c, translated_pattern(_one(g, "pattern")), **how),
    "str_startswith": lambda c, g, how: expect.matches(c, f"^{re.escape(_one(g, 'string'))}", **how),
    "str_endswith": lambda c, g, how: expect.matches(c, f"{re.escape(_one(g, 'string'))}$", **how),
    "str_length": _length,
    "unique_values_eq": lambda c, g, how: expect.contains(c, _one(g, "values"), exactly=True, **how),
}
