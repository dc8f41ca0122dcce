"""How well rows hide among others: k-anonymity and l-diversity of declared quasi-identifiers.

Sources: Sweeney (2002), k-anonymity; Machanavajjhala, Kifer, Gehrke and Venkitasubramaniam (2007),
l-diversity, here the distinct one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import polars as pl

from varv.data.privacy.minimising import Minimiser, Treatment, treatment_of
from varv.kernel.errors import InvalidInput, NotFound
from varv.kernel.purpose_keys import PurposeKeys

_MOST_STEPS = 40


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """Treatments of quasi-identifiers, and what rows would be like with them."""

    treatments: dict[str, str]
    min_k: int
    share_below: float


class Anonymity(msgspec.Struct, frozen=True, kw_only=True):
    """How rows fall into classes of equal quasi-identifiers.

    `min_k` rows are in the smallest class; `share_below` is the share of rows in classes of fewer than `k`.
    `splits_most` is the column without which that share would be least. `min_l` is the least number of
    different outcomes in a class, and `share_told` the share of rows in classes of one outcome, whose outcome
    is known to whoever knows the quasi-identifiers.
    """

    columns: tuple[str, ...]
    n_rows: int
    n_classes: int
    k: int
    min_k: int
    share_below: float
    splits_most: str
    without_it: float
    """The share below `k` without that column."""
    min_l: int | None = None
    share_told: float | None = None
    suggestion: Suggestion | None = None
    """Treatments that leave no row below `k`, or as few as they can; None if there is none as it is."""


def anonymity(rows: pl.DataFrame, columns: Sequence[str], *, outcome: str = "", k: int = 5) -> Anonymity:
    """Return how well rows hide behind their quasi-identifiers; what is missing is a value like any other.

    Parameters
    ----------
    columns
        The quasi-identifiers.
    outcome
        The sensitive column; its rows without a value do not count for diversity.
    k
        How many rows a class should have at least.

    Raises
    ------
    NotFound
        If there is no such column.
    InvalidInput
        If no column is named, or one twice, or `k` is below 2.

    Examples
    --------
    >>> rows = pl.DataFrame({"zip": ["10", "10", "11"], "age": [30, 30, 31], "ill": [True, False, True]})
    >>> found = anonymity(rows, ["zip", "age"], outcome="ill", k=2)
    >>> found.min_k, round(found.share_below, 2), found.min_l
    (1, 0.33, 1)
    """
    for name in (*columns, *filter(None, [outcome])):
        if name not in rows.columns:
            raise NotFound("column", name[:80], hint=f"the columns are {', '.join(rows.columns)}")
    if not columns or len(set(columns)) < len(columns) or k < 2:
        hint = "name each quasi-identifier once, and a k of 2 or more"
        raise InvalidInput("request", "", "does not say what to measure", hint=hint)
    sizes = _sizes(rows, columns)
    without = {name: _share_below(rows, [one for one in columns if one != name], k) for name in columns}
    splits_most = min(without, key=lambda name: without[name])
    below = _share_of(sizes, k)
    told = _diversity(rows, columns, outcome) if outcome else (None, None)
    return Anonymity(
        columns=tuple(columns),
        n_rows=rows.height,
        n_classes=len(sizes),
        k=k,
        min_k=_least(sizes),
        share_below=below,
        splits_most=splits_most,
        without_it=without[splits_most],
        min_l=told[0],
        share_told=told[1],
        suggestion=_suggestion(rows.select(columns), k) if below > 0 else None,
    )


def _sizes(rows: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    if not columns:
        return pl.Series([rows.height] if rows.height else [], dtype=pl.UInt32)
    return rows.group_by(columns).len()["len"]


def _share_below(rows: pl.DataFrame, columns: Sequence[str], k: int) -> float:
    return _share_of(_sizes(rows, columns), k)


def _share_of(sizes: pl.Series, k: int) -> float:
    n = int(sizes.sum())
    return int(sizes.filter(sizes < k).sum()) / n if n else 0.0


def _least(sizes: pl.Series) -> int:
    least = sizes.min()
    return least if isinstance(least, int) else 0


def _diversity(rows: pl.DataFrame, columns: Sequence[str], outcome: str) -> tuple[int, float]:
    known = rows.drop_nulls(outcome)
    classes = known.group_by(columns).agg(pl.len().alias("n"), pl.col(outcome).n_unique().alias("l"))
    told = int(classes.filter(pl.col("l") < 2)["n"].sum())
    return _least(classes["l"]), told / known.height if known.height else 0.0


def _suggestion(rows: pl.DataFrame, k: int) -> Suggestion | None:
    """Return treatments by a greedy search: always the next coarser one that leaves fewest rows below `k`,
    until none are, or nothing helps.
    """
    ladders = {name: _ladder(rows[name]) for name in rows.columns}
    at = dict.fromkeys(rows.columns, -1)
    treated, below = rows, _share_below(rows, rows.columns, k)
    for _ in range(_MOST_STEPS):
        if below == 0:
            break
        tries = []
        for name, ladder in ladders.items():
            if at[name] + 1 < len(ladder):
                one = _treated(treated, rows, name, ladder[at[name] + 1])
                tries.append((_share_below(one, one.columns, k), name, one))
        if not tries:
            break
        below, name, treated = min(tries, key=lambda one: one[:2])
        at[name] += 1
    taken = {name: str(ladders[name][step]) for name, step in at.items() if step >= 0}
    if not taken:
        return None
    sizes = _sizes(treated, treated.columns)
    return Suggestion(treatments=taken, min_k=_least(sizes), share_below=_share_of(sizes, k))


def _ladder(values: pl.Series) -> list[Treatment]:
    """Return the treatments of a column, each coarser than the one before, the last to drop it."""
    steps: list[str] = []
    if values.dtype.is_temporal():
        steps = ["generalise:day", "generalise:month", "generalise:year"]
    elif values.dtype == pl.String:
        longest = values.str.len_chars().max()
        steps = [
            f"generalise:{n}" for n in range(min(longest if isinstance(longest, int) else 0, 8) - 1, 0, -1)
        ]
    elif values.dtype.is_numeric():
        steps = [f"generalise:{n}" for n in (2, 5, 10, 20, 50, 100, 1000)]
    return [*map(treatment_of, steps), treatment_of("drop")]


def _treated(now: pl.DataFrame, given: pl.DataFrame, name: str, treatment: Treatment) -> pl.DataFrame:
    """Return rows with one column treated from what it was given as; a dropped one says nothing."""
    # Nothing here makes a pseudonym, so there is no key that is asked for.
    column = Minimiser({name: treatment}, PurposeKeys(Path())).frame(given.select(name))
    return now.with_columns(column[name] if column.width else pl.lit(0).alias(name))
