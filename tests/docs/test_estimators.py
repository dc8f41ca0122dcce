"""The training functions of the page on estimators are packaged and predict as what they return does."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.training.samples import given, opened, served

from varv.training import Packaged

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "estimators.md"
CODE = "\n\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL))
RUNTIMES = {"fit_boosted": "onnx", "fit_columns": "onnx", "fit_native": "lightgbm", "fit_rates": "python"}


@pytest.fixture
def page(tmp_path, monkeypatch):
    """The code of the page as a module in a file, since a class of one's own needs one."""
    (tmp_path / "estimators_page.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield importlib.import_module("estimators_page")
    import sys

    del sys.modules["estimators_page"]


def test_every_function_of_the_page_is_tried():
    assert set(re.findall(r"def (fit_\w+)", CODE)) == set(RUNTIMES)


@pytest.mark.parametrize("name", RUNTIMES)
def test_what_a_function_of_the_page_returns_is_served_as_the_page_says(page, name):
    rng = np.random.default_rng(0)
    rows = pl.DataFrame(
        {
            "distance": rng.uniform(100, 2000, 400),
            "carrier": rng.choice(["UA", "AA", "B6"], 400),
            "remark": rng.choice(["late crew", "no remark", "late aircraft"], 400),
        }
    )
    train = given(rows, (rng.random(400) < 0.3).astype(np.int64))
    estimator = getattr(page, name)(train, {})
    package = opened(estimator, train)
    assert package.runtime == RUNTIMES[name]
    assert package.signature.form == ("columns" if name in ("fit_columns", "fit_rates") else "matrix")
    fitted = estimator.estimator if isinstance(estimator, Packaged) else estimator
    if name == "fit_columns":
        expected = fitted.predict_proba(train.frame)[:, 1]
    elif name == "fit_rates":
        expected = fitted.predict({"carrier": rows["carrier"].to_numpy()})
    elif name == "fit_boosted":
        expected = fitted.predict_proba(train.X)[:, 1]
    else:
        expected = fitted.predict(train.X)
    np.testing.assert_allclose(served(package, rows)[:, 0], expected, atol=1e-5)
