"""What a declaration of a dataset is checked for: names, personal columns, and the types of its source."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import polars as pl

from varv.data.privacy.minimising import Drop, Encrypt, Generalise, Pseudonymise, Treatment, treated_type
from varv.data.sources import Types, kept_type
from varv.kernel.columns import TIME
from varv.kernel.errors import InvalidDeclaration

MAX_COLUMNS = 2000
_PART = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


def require_names(
    dataset: str, key: Sequence[str], event_time: str, known_at: Mapping[str, Sequence[str]]
) -> None:
    """Raise `InvalidDeclaration` if a name is no name, cannot name a part, or is given twice."""
    for where, names in (("key", key), ("event_time", (event_time,)), *known_at.items()):
        if not names or not all(isinstance(name, str) and name for name in names):
            raise InvalidDeclaration(
                "dataset", dataset, f"names no column in {where!r}", hint="give its name"
            )
    for time in (event_time, *known_at):
        if not _PART.fullmatch(time):
            hint = "rename it to letters, digits and _, 63 at most"
            problem = f"has a time column {time[:80]!r} that cannot name a part"
            raise InvalidDeclaration("dataset", dataset, problem, hint=hint)
    stated: dict[str, str] = {}
    named = [(event_time, "event_time"), *((time, "known_at") for time in known_at)]
    named += [(column, time) for time, columns in known_at.items() for column in columns]
    named += [(column, "key") for column in key if column != event_time]
    for column, place in named:
        if column in stated:
            places = f"as {stated[column]!r} and as {place!r}"
            raise InvalidDeclaration(
                "dataset", dataset, f"names {column!r} twice, {places}", hint="keep one of them"
            )
        stated[column] = place


def require_treatable(
    dataset: str,
    key: Sequence[str],
    known_at: Mapping[str, Sequence[str]],
    parts: Sequence[str],
    pii: Mapping[str, Treatment],
) -> None:
    """Raise `InvalidDeclaration` if a personal column is treated such that the dataset could not be kept."""
    stated = {*key, *parts, *(column for names in known_at.values() for column in names)}
    for column, treatment in pii.items():
        is_bad = column in parts or (isinstance(treatment, Drop) and column in stated)
        if is_bad or (column in key and isinstance(treatment, Generalise | Encrypt)):
            problem = f"cannot {treatment} {column!r}, which it is declared by"
            hint = "pseudonymise a key, leave times, and name what is dropped nowhere else"
            raise InvalidDeclaration("dataset", dataset, problem, hint=hint)
        if isinstance(treatment, Encrypt):
            _require_owned(dataset, column, treatment, key, known_at, parts, pii)


def _require_owned(
    dataset: str,
    column: str,
    treatment: Encrypt,
    key: Sequence[str],
    known_at: Mapping[str, Sequence[str]],
    parts: Sequence[str],
    pii: Mapping[str, Treatment],
) -> None:
    """Raise `InvalidDeclaration` if nobody could say whose an encrypted value is."""
    where = [time for time, names in known_at.items() if column in names]
    for whose in (treatment.whose,) if treatment.whose else key:
        there = whose in key or where == [time for time, names in known_at.items() if whose in names]
        is_time = whose in parts
        if (
            column in (*key, whose)
            or is_time
            or not there
            or not isinstance(pii.get(whose), Pseudonymise | None)
        ):
            problem = f"encrypts {column!r} for {whose!r}, which does not name its subject beside it"
            hint = "name the key, or a column of the same rows that is kept as it is or pseudonymised"
            raise InvalidDeclaration("dataset", dataset, problem, hint=hint)


def kept_types(
    dataset: str, found: Mapping[str, pl.DataType], times: Collection[str], pii: Mapping[str, Treatment]
) -> Types:
    """Return the columns of a source that are kept, and the types in which they are.

    Raises
    ------
    InvalidDeclaration
        If a time column holds no times, a column has a type that is not kept, or there are too many.
    """
    types: Types = {}
    for column, dtype in found.items():
        kept = kept_type(dtype)
        if column in times and kept != TIME:
            hint = "name it in times= of a database, or parse it with .str.to_datetime(time_zone='UTC')"
            raise InvalidDeclaration(
                "dataset", dataset, f"has times of type {dtype} in {column!r}", hint=hint
            )
        if kept is None:
            hint = "drop the column, or turn it into numbers or texts"
            raise InvalidDeclaration(
                "dataset", dataset, f"has the type {dtype} in {column!r}, which is not kept", hint=hint
            )
        treatment = pii.get(column)
        if isinstance(treatment, Encrypt) and treatment.whose:
            whose = kept_type(found.get(treatment.whose, pl.Null()))
            if whose is None or not (whose == pl.String or whose.is_integer()):
                hint = "name a column of texts or whole numbers"
                problem = f"encrypts {column!r} for {treatment.whose!r}, which names nobody"
                raise InvalidDeclaration("dataset", dataset, problem, hint=hint)
        treated = kept if treatment is None else treated_type(treatment, column, kept)
        if treated is not None:
            types[column] = treated
    if len(types) > MAX_COLUMNS:
        raise InvalidDeclaration(
            "dataset", dataset, f"has {len(types)} columns", hint=f"{MAX_COLUMNS} at most"
        )
    return types
