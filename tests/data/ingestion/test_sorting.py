"""What goes wrong with rows is said without them."""

from __future__ import annotations

import polars as pl
import pytest

from varv.data.ingestion.sorting import steps_of, without_values
from varv.data.sources import Asked, Csv
from varv.kernel.clock import Instant
from varv.kernel.errors import Unavailable

WHO = "ana@example.org"


@pytest.mark.parametrize(
    "fails",
    [
        lambda: pl.Series("age", [WHO]).cast(pl.Int64),
        lambda: pl.Series("age", [1]).to_frame().select(WHO),
        lambda: {}[WHO],
        lambda: int(WHO),
    ],
)
def test_an_error_is_told_without_what_it_quotes_of_rows(fails):
    with pytest.raises(Exception) as raised:
        fails()
    assert WHO in str(raised.value)
    assert WHO not in without_values(raised.value, ["age"])


def test_a_source_that_cannot_be_read_names_the_column_and_no_value(tmp_path):
    rows = "".join(f"k{n},{n}\n" for n in range(2000))
    (tmp_path / "a.csv").write_text(f"id,age\n{rows}k1,{WHO}\n")

    class Guessing(Csv):
        def steps(self, asked):
            pl.read_csv(tmp_path / "a.csv")
            yield from ()

    asked = Asked({}, {"id": pl.String(), "age": pl.Int64()}, Instant(0))
    with pytest.raises(Unavailable) as raised:
        list(steps_of(Guessing(str(tmp_path / "a.csv")), asked))
    assert "'age'" in str(raised.value)
    assert WHO not in str(raised.value)
