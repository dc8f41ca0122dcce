"""Where personal data may be that nobody declared: columns whose names say so, and columns whose values pass
the checks of an identifier. It proposes; a person decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec
import polars as pl

from varv.data.privacy.identifiers import IDENTIFIERS
from varv.stats.intervals import wilson

MOST_ROWS = 10_000
"""Rows that are looked at."""
FEWEST = 0.05
"""A share of identifiers beyond chance from which on one is proposed."""

_NAMES: tuple[tuple[str, str, str], ...] = (
    (r"e?mail(address)?", "e-mail address", "pseudonymise"),
    (r"(tele)?phone(number)?|mobile|msisdn|fax", "telephone number", "pseudonymise"),
    (r"iban|account(no|number)|bic", "account number", "pseudonymise"),
    (r"card(no|number)|pan|creditcard", "card number", "drop"),
    (r"ip(v4|v6|address)?|remoteaddr", "internet address", "pseudonymise"),
    (r"ssn|nino|pesel|bsn|dni|nie|insee|taxid|nationalid|passport(no|number)?", "national number", "drop"),
    (r"(first|last|full|middle|sur|given|family|user|customer|nick)name|surname", "name", "drop"),
    (r"(dateof)?birth(day|date)?|dob", "date of birth", "generalise:year"),
    (r"(street)?address|street|housenumber", "address", "drop"),
    (r"zip(code)?|post(al)?code|plz", "postal code", "generalise:3"),
    (
        r"(customer|user|client|patient|member|person|subject|device|cookie|session)id",
        "person",
        "pseudonymise",
    ),
    (r"gender|sex|ethnicity|religion|nationality", "sensitive attribute", "drop"),
)


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A column that may hold personal data: of which kind, why that is thought, and what could be done.

    `share` of `n_values` values that are not empty, with its 95 % interval, pass the checks of the kind; None
    where only the name of the column says so.
    """

    column: str
    kind: str
    by: str
    treatment: str
    n_values: int
    share: float | None = None
    low: float | None = None
    high: float | None = None


def proposals(rows: pl.DataFrame, declared: Iterable[str] = ()) -> list[Proposal]:
    """Return which columns of rows may hold personal data, one proposal a column, the surest.

    Parameters
    ----------
    declared
        Columns that are treated already, and are left out.
    """
    known = set(declared)
    found = [_proposal(rows[name]) for name in rows.columns if name not in known]
    return [one for one in found if one is not None]


def _proposal(values: pl.Series) -> Proposal | None:
    is_searched = values.dtype == pl.String or values.dtype.is_integer()
    texts = values.drop_nulls().cast(pl.String).str.strip_chars() if is_searched else values.clear()
    named = _by_name(values)
    for one in IDENTIFIERS if len(texts) else ():
        counts = texts.value_counts()
        passing = [one.is_one(text) for text in counts[values.name]]
        hits = int(counts["count"].filter(pl.Series(passing, dtype=pl.Boolean)).sum())
        share = wilson(hits, len(texts))
        if share.low > FEWEST + 2 * one.chance:
            return Proposal(
                column=values.name,
                kind=one.kind,
                by="values",
                treatment=one.treatment,
                n_values=len(texts),
                share=share.value,
                low=share.low,
                high=share.high,
            )
    return named


def _by_name(values: pl.Series) -> Proposal | None:
    name = re.sub(r"[^a-z0-9]", "", values.name.lower())
    for pattern, kind, treatment in _NAMES:
        if not re.fullmatch(pattern, name):
            continue
        if treatment == "generalise:year" and not values.dtype.is_temporal():
            treatment = "drop"
        n = len(values) - values.null_count()
        return Proposal(column=values.name, kind=kind, by="name", treatment=treatment, n_values=n)
    return None
