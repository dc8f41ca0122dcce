"""The contract of columns that a dataset gained: what follows from their types at first, and what is learned
of them once enough values have come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec
import polars as pl

from varv.data.contracts.inference import infer_contract
from varv.data.contracts.model import ColumnRule, Contract

LEAST_VALUES = 1000
"""Values from which a range or the texts of a column are learned."""


RowsOf = Callable[[Sequence[str]], Iterable[pl.DataFrame]]
"""Yields some columns of rows, frame by frame."""


def with_gained(contract: Contract, rows: RowsOf) -> Contract:
    """Return `contract` with what `rows` teach of gained columns that it knows nothing but the type of; the
    same contract if that is nothing.

    Whoever sends rows as before does not bring such a column, so nulls are never out of place in it.

    Parameters
    ----------
    rows
        Yields all rows of the part, some columns of them, in kept types.
    """
    rules = tuple(_learned(rule, contract, rows) if _is_unknown(rule) else rule for rule in contract.columns)
    return contract if rules == contract.columns else msgspec.structs.replace(contract, columns=rules)


def _is_unknown(rule: ColumnRule) -> bool:
    known = (rule.low, rule.lowest, rule.values, rule.n_distinct, rule.domain, rule.domain_digest)
    return rule.may_be_missing and all(one is None for one in known)


def _learned(rule: ColumnRule, contract: Contract, rows: RowsOf) -> ColumnRule:
    if sum(len(frame) - frame[rule.name].null_count() for frame in rows([rule.name])) < LEAST_VALUES:
        return rule
    names = list(dict.fromkeys((*contract.key, contract.time, rule.name)))
    present = (frame.filter(pl.col(rule.name).is_not_null()) for frame in rows(names))
    found = infer_contract(present, key=contract.key, time=contract.time)
    [learned] = [one for one in found.columns if one.name == rule.name]
    return msgspec.structs.replace(learned, null_share=1.0, may_be_missing=True)
