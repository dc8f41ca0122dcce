"""The price of a training as a command line says it."""

from __future__ import annotations

import pytest

from varv.app.cli.running import _price
from varv.kernel.errors import InvalidDeclaration


def test_a_price_is_a_number_or_what_a_declaration_takes():
    assert _price("") is None
    assert _price("30").loss == 30.0
    assert _price("0.01 on 10000 requests").loss == 100.0
    assert _price("12 a year").a_year == 12.0
    for wrong in ("cheap", "-3", "nan"):
        with pytest.raises(InvalidDeclaration, match="cost"):
            _price(wrong)
