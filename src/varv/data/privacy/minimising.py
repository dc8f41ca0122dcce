"""Minimisation: what becomes of personal values before a row is written anywhere.

A dataset declares a treatment a column. Every door applies it: sources, rows that are sent, rewrites,
corrections, and requests before they are answered. A treatment that is applied once more changes nothing, so
a door behind another one does no harm.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from varv.data.privacy.encrypting import Encryptor
from varv.kernel.columns import TIME
from varv.kernel.errors import InvalidDeclaration
from varv.kernel.purpose_keys import PurposeKeys

PURPOSE = "pseudonyms"
"""The purpose of pseudonyms that name none; equal values of one purpose have equal pseudonyms."""
_UNITS = {"day": "1d", "month": "1mo", "year": "1y"}
_PURPOSE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")


@dataclass(frozen=True)
class Drop:
    """The column is not stored."""

    def __str__(self) -> str:
        return "drop"


@dataclass(frozen=True)
class Pseudonymise:
    """Each value becomes a text that only the holder of the purpose's key can make of it again; equal values
    stay equal, so they still are keys and entities.
    """

    purpose: str = PURPOSE

    def __post_init__(self) -> None:
        if not _PURPOSE_NAME.fullmatch(self.purpose):
            hint = "begin with a letter; use lower-case letters, digits, _ and -"
            raise InvalidDeclaration("purpose", self.purpose[:80], "is not a valid name", hint=hint)

    def __str__(self) -> str:
        return "pseudonymise" if self.purpose == PURPOSE else f"pseudonymise:{self.purpose}"


@dataclass(frozen=True)
class Generalise:
    """A text keeps its first characters, `to` of them; a number becomes the next lower multiple of `to`; a
    time becomes the begin of its ``"day"``, ``"month"`` or ``"year"``.
    """

    to: int | float | str

    def __post_init__(self) -> None:
        is_unit = self.to in _UNITS
        if not is_unit and (isinstance(self.to, str | bool) or not (math.isfinite(self.to) and self.to > 0)):
            hint = "give a number above 0, or day, month or year"
            raise InvalidDeclaration("treatment", str(self.to)[:40], "does not say how coarse", hint=hint)

    def __str__(self) -> str:
        return f"generalise:{self.to}"


@dataclass(frozen=True)
class Encrypt:
    """Each value becomes a text that can be read again, under a key of the subject that it is about: whom the
    column `whose` names, by default the key of the dataset. An erasure destroys the key, and with it every
    copy of the value, in backups too.
    """

    whose: str = ""

    def __str__(self) -> str:
        return f"encrypt:{self.whose}" if self.whose else "encrypt"


Treatment = Drop | Pseudonymise | Generalise | Encrypt


def treatment_of(given: object) -> Treatment:
    """Return a treatment, which may be given as people write it.

    Raises
    ------
    InvalidDeclaration
        If it is none.

    Examples
    --------
    >>> treatment_of("generalise:3"), treatment_of("pseudonymise"), treatment_of("drop")
    (Generalise(to=3), Pseudonymise(purpose='pseudonyms'), Drop())
    """
    if isinstance(given, Drop | Pseudonymise | Generalise | Encrypt):
        return given
    kind, _, how = str(given).partition(":")
    if kind == "drop" and not how:
        return Drop()
    if kind == "pseudonymise":
        return Pseudonymise(how or PURPOSE)
    if kind == "encrypt":
        return Encrypt(how)
    if kind == "generalise" and how in _UNITS:
        return Generalise(how)
    if kind == "generalise" and re.fullmatch(r"\d{1,15}(\.\d{1,9})?", how):
        return Generalise(float(how) if "." in how else int(how))
    hint = "use drop, pseudonymise, pseudonymise:PURPOSE, generalise:3, generalise:month or encrypt"
    raise InvalidDeclaration("treatment", str(given)[:80], "does not exist", hint=hint)


def treated_type(treatment: Treatment, column: str, dtype: pl.DataType) -> pl.DataType | None:
    """Return the type in which a treated column is kept; None if it is not.

    Raises
    ------
    InvalidDeclaration
        If values of this type cannot be treated so.
    """
    match treatment:
        case Drop():
            return None
        case Pseudonymise() | Encrypt():
            if dtype.is_float() or dtype in (pl.Boolean, TIME):
                what = "nothing is encrypted" if isinstance(treatment, Encrypt) else "no pseudonym is made"
                hint = "drop it or generalise it; texts and whole numbers can be pseudonymised or encrypted"
                problem = f"has the type {dtype}, of which {what}"
                raise InvalidDeclaration("column", column, problem, hint=hint)
            return pl.String()
        case Generalise(to):
            fits = dtype == TIME if to in _UNITS else dtype.is_numeric() or dtype == pl.String
            whole = isinstance(to, int) or dtype.is_float() or to in _UNITS
            if not fits or not whole:
                hint = "texts and numbers take a number, whole ones a whole number; times day, month or year"
                raise InvalidDeclaration("column", column, f"has the type {dtype}, not for {to}", hint=hint)
            return dtype


class Minimiser:
    """Applies the treatments of one dataset.

    Parameters
    ----------
    treatments
        By column.
    keys
        For its pseudonyms, and for what is encrypted.
    dataset, key
        Whose it is, for what is encrypted: the name, and the columns of its key.
    """

    def __init__(
        self,
        treatments: Mapping[str, Treatment],
        keys: PurposeKeys,
        dataset: str = "",
        key: Sequence[str] = (),
    ) -> None:
        # What is encrypted comes last: whose it is, is said by values as they are stored.
        self._treatments = dict(sorted(treatments.items(), key=lambda one: isinstance(one[1], Encrypt)))
        self._keys = keys
        self._encryptor = Encryptor(dataset, tuple(key), keys.subjects)

    @property
    def acts(self) -> bool:
        """Whether there is any treatment."""
        return bool(self._treatments)

    def frame(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return rows with their columns treated."""
        for column, treatment in self._treatments.items():
            if column not in rows.columns:
                continue
            if isinstance(treatment, Drop):
                rows = rows.drop(column)
            elif isinstance(treatment, Encrypt):
                rows = rows.with_columns(self._encryptor.series(rows, column, treatment.whose))
            else:
                rows = rows.with_columns(self._series(rows[column], treatment))
        return rows

    def columns(self, given: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
        """Return the columns of a request, treated; what does not fit stays, for whoever refuses it."""
        found = dict(given)
        for column, treatment in self._treatments.items():
            values = found.pop(column, None)
            if values is None or isinstance(treatment, Drop):
                continue
            if isinstance(treatment, Encrypt):
                found[column] = self._encryptor.values(values, column, treatment.whose, found)
            else:
                found[column] = [self._value(value, treatment) for value in values]
        return found

    def rows(self, given: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return rows as they came out of JSON, treated."""
        return [
            {name: values[0] for name, values in self.columns({k: [v] for k, v in row.items()}).items()}
            for row in given
        ]

    def _series(self, values: pl.Series, treatment: Pseudonymise | Generalise) -> pl.Series:
        if isinstance(treatment, Generalise):
            return _generalised(values, treatment.to)
        texts = values.cast(pl.String)
        before = texts.drop_nulls().unique()
        after = [self._keys.pseudonym(treatment.purpose, text) for text in before]
        return texts.replace_strict(before, after, default=None, return_dtype=pl.String)

    def _value(self, value: Any, treatment: Pseudonymise | Generalise) -> Any:
        if value is None:
            return None
        if isinstance(treatment, Pseudonymise):
            return self._keys.pseudonym(treatment.purpose, value)
        if isinstance(value, str) and isinstance(treatment.to, int):
            return value[: treatment.to]
        if isinstance(value, int | float) and not isinstance(value, bool) and treatment.to not in _UNITS:
            step = treatment.to
            assert not isinstance(step, str)
            return math.floor(value / step) * step if math.isfinite(value) else value
        return _time_generalised(value, treatment)


def _time_generalised(value: Any, treatment: Generalise) -> Any:
    """Return a time out of JSON, a text or microseconds, at the begin of its day, month or year."""
    if treatment.to not in _UNITS or isinstance(value, bool):
        return value
    try:
        time = pl.Series([value]).str.to_datetime("%+", time_unit="us") if isinstance(value, str) else None
        found = pl.Series([value], dtype=pl.Int64).cast(TIME) if time is None else time
        [begin] = found.dt.truncate(_UNITS[str(treatment.to)]).to_list()
    except (pl.exceptions.PolarsError, TypeError, OverflowError):
        return value
    return begin.isoformat() if isinstance(value, str) else int(begin.timestamp()) * 1_000_000


def _generalised(values: pl.Series, to: int | float | str) -> pl.Series:
    dtype = values.dtype
    if isinstance(to, str):
        return values.dt.truncate(_UNITS[to]) if dtype.is_temporal() else values
    if dtype == pl.String:
        return values.str.slice(0, int(to))
    if dtype.is_integer():
        return (values // int(to) * int(to)).cast(dtype)
    return (values / to).floor() * to if dtype.is_numeric() else values
