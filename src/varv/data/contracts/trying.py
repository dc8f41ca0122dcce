"""Whether declared rules can be asked at all, tried on no rows when they are declared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import polars as pl

from varv.data.contracts.batch_rules import Batch, look_at_batch
from varv.data.contracts.model import Expectation
from varv.data.contracts.row_rules import ColumnsOf, is_of_rows, row_rule
from varv.data.contracts.words import in_words, rule_reason
from varv.kernel.clock import Instant
from varv.kernel.errors import InvalidDeclaration, VarvError

MOST_RULES = 1000


def require_expectations(dataset: str, declared: Sequence[Expectation]) -> None:
    """Raise unless these are rules, each of a name of its own.

    Raises
    ------
    InvalidDeclaration
        If one is none, or two would be told apart by nobody who reads a report.
    """
    for one in declared:
        if not isinstance(one, Expectation):
            hint = "use the functions of varv.expect"
            raise InvalidDeclaration("dataset", dataset, f"expects a {type(one).__name__}", hint=hint)
    if len(declared) > MOST_RULES:
        raise InvalidDeclaration(
            "dataset", dataset, f"expects {len(declared)} things", hint=f"{MOST_RULES} at most"
        )
    for reason, n in Counter(map(rule_reason, declared)).items():
        if n > 1:
            hint = 'give one of them a name="..."'
            raise InvalidDeclaration("dataset", dataset, f"expects {reason!r} twice", hint=hint)


def require_askable(dataset: str, one: Expectation, types: Mapping[str, pl.DataType]) -> None:
    """Raise unless a rule can be asked of columns of these types.

    Raises
    ------
    InvalidDeclaration
        If a value or a pattern is of another kind than its column, or an expression makes no truth values.
    """
    frame, columns = pl.DataFrame(schema=types), ColumnsOf(types, types)
    try:
        if is_of_rows(one):
            found = frame.select(row_rule(one, columns).broken.alias("broken"))
            if found.schema["broken"] != pl.Boolean:
                raise _cannot(dataset, one, "is true or false of no row")
        else:
            look_at_batch(one, Batch(frame, columns, Instant(0), None))
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError) as error:
        why = str(error).strip().split("\n")[0][:200]
        raise _cannot(dataset, one, "does not fit the types of its columns", why=why) from None
    except InvalidDeclaration:
        raise
    except VarvError as error:
        raise _cannot(dataset, one, f"names {error.subject}, which {error.problem}") from None


def _cannot(dataset: str, one: Expectation, problem: str, **facts: object) -> InvalidDeclaration:
    hint = f"it expects {in_words(one)}; give values of the columns' own kind"
    return InvalidDeclaration(
        "dataset", dataset, f"expects {rule_reason(one)!r}, which {problem}", hint=hint, **facts
    )
