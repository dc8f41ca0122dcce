from __future__ import annotations

import polars as pl
from msgspec.structs import replace

from varv.data.contracts.gained import LEAST_VALUES, with_gained
from varv.data.contracts.inference import contract_of_types, infer_contract
from varv.kernel.columns import TIME

N = 4 * LEAST_VALUES
ROWS = pl.DataFrame(
    {
        "id": [str(n) for n in range(N)],
        "at": pl.Series([n * 60_000_000 for n in range(1, N + 1)]).cast(TIME),
        "load": [float(n % 10) for n in range(N)],
        "weight": [float(n % 7) if n % 2 else None for n in range(N)],
        "colour": [("red", "blue")[n % 2] if n > N - 50 else None for n in range(N)],
    }
)


def _of(rows):
    return lambda names: rows.select(names).iter_slices(999)


def widened():
    before = infer_contract(ROWS.select("id", "at", "load"), key=["id"], time="at")
    types = {"weight": pl.Float64(), "colour": pl.String()}
    gained = contract_of_types(types, key=[], time="").columns
    more = (replace(rule, may_be_missing=True) for rule in gained)
    return replace(before, columns=(*before.columns, *more))


def test_a_gained_column_gets_a_range_once_enough_values_have_come():
    before = widened()
    learned = {rule.name: rule for rule in with_gained(before, _of(ROWS)).columns}
    weight = learned["weight"]
    assert (weight.low, weight.high) == (-6.0, 12.0)
    assert (weight.null_share, weight.may_be_missing) == (1.0, True)
    assert learned["colour"].n_distinct is None
    assert learned["load"] == before.columns[2]


def test_what_was_learned_once_stays():
    learned = with_gained(widened(), _of(ROWS))
    larger = ROWS.with_columns(pl.col("weight") * 100)
    assert with_gained(learned, _of(larger)) is learned
