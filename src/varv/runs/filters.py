"""Filters and orders as people write them, in the grammar of MLflow's searches. Pure: a text in, clauses out.

A filter is comparisons joined by AND: ``metrics.loss < 0.3 and tags.team = 'risk'``. What can be compared,
and how, is a `Grammar`; those of runs and experiments are in `runs.grammars`. Asked in our own words, and
not in MLflow's, a filter may have OR and parentheses too, and be about the least or the largest value of a
metric: ``min(metrics.loss) < 0.1 or params.kind = 'tree'``. Nothing here knows how an answer is found.

Source: the documentation of MLflow's search syntax, and what its server 3.18 accepts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from varv.kernel.errors import InvalidInput

Kind = Literal["number", "text", "any"]
Part = Literal["last", "min", "max"]
Value = float | str | tuple[str, ...] | None

LONGEST = 4096
"""Characters of a filter."""
MOST_CLAUSES = 32
DEEPEST = 16
"""Parentheses within each other."""
ATTRIBUTE = "attribute"
"""The entity of a name that stands alone."""

ORDERED = frozenset({"=", "!=", "<", "<=", ">", ">="})
PATTERNS = frozenset({"=", "!=", "LIKE", "ILIKE"})
LISTS = frozenset({"IN", "NOT IN"})
PRESENCE = frozenset({"IS NULL", "IS NOT NULL"})

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
    | (?P<text>'(?:[^']|'')*')
    | (?P<name>(?:[^\W\d]\w*|`[^`]*`|"[^"]*")(?:\.(?:\w+|`[^`]*`|"[^"]*"))*)
    | (?P<operator>[=<>!~]+)
    | (?P<mark>[(),])
    )""",
    re.VERBOSE,
)
_ORDER = re.compile(r"""\s*((?:[^\s`"]|`[^`]*`|"[^"]*")+)(?:\s+(\S+))?\s*""")
_PART = re.compile(r"(min|max)\((.*)\)", re.IGNORECASE | re.DOTALL)
_QUOTES = '`"'


@dataclass(frozen=True, slots=True)
class Named:
    """What can be compared under one name: its kind, the operators that it takes, and the entity and key that
    it stands for where it is another's.
    """

    name: str
    kind: Kind
    operators: frozenset[str]
    means: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Grammar:
    """What a filter may speak of.

    Attributes
    ----------
    keyed
        Entities whose keys are whatever was logged, with the kind and operators of their values.
    fixed
        Entities with a few names, each under all spellings; what stands alone is looked up in `ATTRIBUTE`.
    spelled
        How each entity may be written.
    orders
        Entities that can be ordered by.
    extended
        Whether OR, parentheses, min() and max() are understood.
    """

    keyed: Mapping[str, Named]
    fixed: Mapping[str, Mapping[str, Named]]
    spelled: Mapping[str, str]
    orders: frozenset[str]
    extended: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """Something that runs, say, have a value of."""

    entity: str
    key: str
    kind: Kind
    part: Part = "last"


@dataclass(frozen=True, slots=True)
class Clause:
    """One comparison. The value is a number, a text, texts for IN, or nothing where presence is asked for."""

    field: Field
    operator: str
    value: Value


@dataclass(frozen=True, slots=True)
class AllOf:
    """Holds where each part does; without parts, always."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Holds where one of its parts does."""

    parts: tuple[Node, ...]


Node = Clause | AllOf | AnyOf


@dataclass(frozen=True, slots=True)
class Order:
    """What to order by, and which way; what has no value comes last either way."""

    field: Field
    ascending: bool


def parsed_filter(text: str, grammar: Grammar) -> AllOf:
    """Return what a filter asks for.

    Raises
    ------
    InvalidInput
        If it is not understood, or is too long.

    Examples
    --------
    >>> from varv.runs.grammars import RUNS
    >>> [(one.field.key, one.operator, one.value) for one in parsed_filter("params.depth = '3'", RUNS).parts]
    [('depth', '=', '3')]
    """
    if not text:
        return AllOf(())
    if len(text) > LONGEST:
        raise InvalidInput("filter", text[:40], "is too long", longest=LONGEST, length=len(text))
    return _Parser(text, grammar).whole()


def parsed_orders(texts: Sequence[str], grammar: Grammar) -> tuple[Order, ...]:
    """Return what to order by: ``metrics.loss DESC`` and the like, the first before the second.

    Raises
    ------
    InvalidInput
        If one is not understood, or two are about the same.
    """
    if len(texts) > MOST_CLAUSES:
        raise InvalidInput("order", "", "has too many parts", most=MOST_CLAUSES, found=len(texts))
    orders: list[Order] = []
    for text in texts:
        order = _parsed_order(text, grammar)
        if any(order.field == before.field for before in orders):
            raise InvalidInput("order", text[:80], "is there twice", hint="name each field once")
        orders.append(order)
    return tuple(orders)


def _parsed_order(text: str, grammar: Grammar) -> Order:
    hint = "write a field, then ASC or DESC: metrics.loss DESC"
    found = _ORDER.fullmatch(text[:LONGEST])
    if found is None:
        raise InvalidInput("order", text[:80], "is not understood", hint=hint)
    name, way = found[1], (found[2] or "ASC").upper()
    if way not in ("ASC", "DESC"):
        raise InvalidInput("order", text[:80], "has a direction that does not exist", hint=hint)
    part = _PART.fullmatch(name) if grammar.extended else None
    field = _resolved(part[2] if part else name, grammar)[0]
    if field.entity not in grammar.orders:
        raise InvalidInput("order", text[:80], "is by something that nothing can be ordered by", hint=hint)
    return Order(_of_part(field, part[1]) if part else field, way == "ASC")


class _Parser:
    """Reads one filter from left to right."""

    def __init__(self, text: str, grammar: Grammar) -> None:
        self._text, self._grammar = text, grammar
        self._tokens = list(_tokens(text))
        self._at = 0
        self._n_clauses = 0

    def whole(self) -> AllOf:
        node = self._any(0) if self._grammar.extended else self._all(0)
        if self._at < len(self._tokens):
            raise self._unexpected()
        return node if isinstance(node, AllOf) else AllOf((node,))

    def _any(self, depth: int) -> Node:
        parts = [self._all(depth)]
        while self._takes_word("OR"):
            parts.append(self._all(depth))
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def _all(self, depth: int) -> Node:
        # MLflow's servers pass over an AND that joins nothing, as is left by clients that build filters.
        lenient = not self._grammar.extended
        while lenient and self._takes_word("AND"):
            pass
        parts = [self._unit(depth)]
        while self._takes_word("AND"):
            if not (lenient and self._at == len(self._tokens)):
                parts.append(self._unit(depth))
        return AllOf(tuple(parts))

    def _unit(self, depth: int) -> Node:
        if not self._grammar.extended or not self._takes("("):
            return self._clause()
        if depth == DEEPEST:
            raise InvalidInput("filter", self._text[:80], "has too many parentheses", deepest=DEEPEST)
        inner = self._any(depth + 1)
        self._require(")")
        return inner

    def _clause(self) -> Clause:
        self._n_clauses += 1
        if self._n_clauses > MOST_CLAUSES:
            raise InvalidInput("filter", self._text[:80], "has too many comparisons", most=MOST_CLAUSES)
        field, operators = self._field()
        operator = self._operator()
        if operator not in operators:
            raise InvalidInput(
                "operator", operator, f"cannot compare {field.key!r}", hint=f"use {_listed(operators)}"
            )
        return Clause(field, operator, self._value(field, operator))

    def _field(self) -> tuple[Field, frozenset[str]]:
        kind, text = self._next()
        if kind != "name":
            raise self._unexpected(back=1)
        part = text.lower()
        if self._grammar.extended and part in ("min", "max") and self._takes("("):
            field, operators = self._field()
            self._require(")")
            return _of_part(field, part), operators
        return _resolved(text, self._grammar)

    def _operator(self) -> str:
        kind, text = self._next()
        word = text.upper()
        if kind == "operator":
            return text
        if word == "IS":
            if not self._takes_word("NOT"):
                return self._word("NULL", "IS NULL")
            return self._word("NULL", "IS NOT NULL")
        if word == "NOT":
            return self._word("IN", "NOT IN")
        if word in ("LIKE", "ILIKE", "IN"):
            return word
        raise self._unexpected(back=1)

    def _word(self, word: str, meant: str) -> str:
        if not self._takes_word(word):
            raise self._unexpected()
        return meant

    def _value(self, field: Field, operator: str) -> Value:
        if operator in PRESENCE:
            return None
        if operator in LISTS:
            return self._list()
        kind, text = self._next()
        if field.kind == "number" or (field.kind == "any" and kind == "number"):
            if kind != "number":
                problem = "is compared with something that is no number"
                raise InvalidInput("field", field.key, problem, found=text[:80])
            return float(text)
        if (value := _quoted(kind, text)) is None:
            problem, hint = "is compared with a text without quotes", "write 'text'"
            raise InvalidInput("field", field.key, problem, found=text[:80], hint=hint)
        return value

    def _list(self) -> tuple[str, ...]:
        self._require("(")
        values = [self._item()]
        while self._takes(","):
            values.append(self._item())
        self._require(")")
        return tuple(values)

    def _item(self) -> str:
        value = _quoted(*self._next())
        if value is None:
            raise self._unexpected(back=1)
        return value

    # Tokens

    def _next(self) -> tuple[str, str]:
        if self._at == len(self._tokens):
            raise self._unexpected()
        self._at += 1
        return self._tokens[self._at - 1]

    def _takes(self, mark: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at] == ("mark", mark):
            self._at += 1
            return True
        return False

    def _takes_word(self, word: str) -> bool:
        if self._at < len(self._tokens):
            kind, text = self._tokens[self._at]
            if kind == "name" and text.upper() == word:
                self._at += 1
                return True
        return False

    def _require(self, mark: str) -> None:
        if not self._takes(mark):
            raise self._unexpected()

    def _unexpected(self, back: int = 0) -> InvalidInput:
        at = self._at - back
        if at >= len(self._tokens):
            problem = "ends in the middle of a comparison"
            return InvalidInput("filter", self._text[:80], problem, hint="write field, operator, value")
        joined = "AND, OR and parentheses" if self._grammar.extended else "AND only"
        hint = f"join comparisons by {joined}; quote keys with odd characters by `backticks`"
        found = self._tokens[at][1]
        return InvalidInput("filter", self._text[:80], "is not understood", at=found[:80], hint=hint)


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    at, end = 0, len(text.rstrip())
    while at < end or not tokens:
        found = _TOKEN.match(text, at, end)
        if found is None or found.lastgroup is None:
            problem, hint = "is not understood", "write comparisons such as metrics.loss < 0.3, joined by AND"
            raise InvalidInput("filter", text[:80], problem, at=text[at : at + 40].strip(), hint=hint)
        tokens.append((found.lastgroup, found[found.lastgroup]))
        at = found.end()
    return tokens


def _quoted(kind: str, text: str) -> str | None:
    if kind == "text":
        return text[1:-1].replace("''", "'")
    if kind == "name" and text[0] == '"' and text.count('"') == 2 and text[-1] == '"':
        return text[1:-1]
    return None


def _resolved(name: str, grammar: Grammar) -> tuple[Field, frozenset[str]]:
    """Return the field that a name means, and the operators that it takes."""
    entity, key = _split(name)
    if (known := grammar.spelled.get(entity)) is None:
        raise InvalidInput(
            "entity", entity[:80], "does not exist", hint=f"use {_listed(set(grammar.spelled.values()))}"
        )
    if not key:
        raise InvalidInput("filter", name[:80], "names no key", hint=f"write {entity}.key")
    if values := grammar.keyed.get(known):
        return Field(known, key, values.kind), values.operators
    names = grammar.fixed[known]
    if (found := names.get(key)) is None:
        hint = f"use {_listed({one.name for one in names.values()})}"
        raise InvalidInput(known, key[:80], "does not exist", hint=hint)
    meant, its_key = found.means
    return Field(meant or known, its_key or found.name, found.kind), found.operators


def _split(name: str) -> tuple[str, str]:
    """Return the entity and the key of a name as it was written.

    Examples
    --------
    >>> _split("tags.mlflow.user"), _split("metrics.`val/loss`"), _split("`run name`")
    (('tags', 'mlflow.user'), ('metrics', 'val/loss'), ('attribute', 'run name'))
    """
    if name[0] in _QUOTES:
        end = name.find(name[0], 1)
        if end in (-1, len(name) - 1):
            return ATTRIBUTE, name.strip(name[0])
        entity, key = name[1:end], name[end + 2 :]
    else:
        entity, dot, key = name.partition(".")
        if not dot:
            return ATTRIBUTE, entity
    if len(key) > 1 and key[0] in _QUOTES and key[-1] == key[0]:
        key = key[1:-1]
    return entity, key


def _of_part(field: Field, part: str) -> Field:
    if field.entity != "metric" or field.part != "last":
        raise InvalidInput("field", field.key, f"has no {part.lower()}", hint="ask it of a metric")
    return Field(field.entity, field.key, field.kind, "min" if part.lower() == "min" else "max")


def _listed(names: set[str] | frozenset[str]) -> str:
    return ", ".join(sorted(names))
