"""A class of the author's own is served from its source and its state, whatever else is in the process."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import polars as pl
import pytest
from tests.training.samples import RUNTIMES, built, flights, given, late, opened, served

import varv
from varv.kernel.errors import InvalidInput, UserCodeFailed
from varv.registry import open_package
from varv.tasks import TaskSpec, task_of

MODEL = '''
"""How often the flights of a carrier are late."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import rates.smoothing as smooth

from .columns import KEY


@dataclass
class CarrierRate:
    rates: dict[str, float]
    overall: float

    @classmethod
    def fit(cls, keys, y):
        overall = float(y.mean())
        rates = {key: smooth.towards(y[keys == key], overall) for key in sorted(set(keys))}
        return cls(rates, overall)

    def predict(self, rows):
        return np.array([self.rates.get(key, self.overall) for key in rows[KEY]])

    def save(self, folder):
        (folder / "deep").mkdir()
        (folder / "deep" / "rates.json").write_text(json.dumps([self.rates, self.overall]))

    @classmethod
    def load(cls, folder):
        from rates import columns
        assert columns.KEY == KEY
        return cls(*json.loads((folder / "deep" / "rates.json").read_text()))
'''
COLUMNS = "KEY = 'carrier'\n"
SMOOTHING = """
WEIGHT = 20


def towards(values, overall):
    return float((values.sum() + WEIGHT * overall) / (len(values) + WEIGHT))
"""
FILES = {
    "rates/__init__.py": "",
    "rates/model.py": MODEL,
    "rates/columns.py": COLUMNS,
    "rates/smoothing.py": SMOOTHING,
    "rates/unused.py": "raise RuntimeError('nobody imports this')",
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Return a function that writes a project and imports one of its modules."""

    def load(module: str, **files: str):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
        top = module.partition(".")[0]
        for name in [name for name in sys.modules if name.partition(".")[0] == top]:
            monkeypatch.delitem(sys.modules, name)
        importlib.invalidate_caches()
        return importlib.import_module(module)

    return load


def carriers(january) -> np.ndarray:
    return january["carrier"].to_numpy()


def test_every_row_of_a_month_is_predicted_as_the_object_does(january, project):
    train = flights(january, late(january))
    model = project("rates.model", **FILES).CarrierRate.fit(train.frame["carrier"].to_numpy(), train.y)
    package = opened(model, train)
    assert (package.runtime, package.not_onnx) == ("python", "has no ONNX form")
    assert package.estimator == "rates.model.CarrierRate"
    expected = model.predict({"carrier": carriers(january)}).astype(np.float32)
    np.testing.assert_array_equal(served(package, january)[:, 0], expected)


def test_the_package_holds_what_the_module_imports_and_nothing_else(january, project):
    train = flights(january.head(500), late(january.head(500)))
    model = project("rates.model", **FILES).CarrierRate.fit(train.frame["carrier"].to_numpy(), train.y)
    package = opened(model, train)
    assert set(package.folder("source")) == set(FILES) - {"rates/unused.py"}
    assert package.file("source/rates/model.py") == MODEL.encode()
    assert set(package.folder("state")) == {"deep/rates.json"}
    assert built(model, train) == built(model, train)


def test_two_versions_of_a_module_answer_side_by_side_and_leave_no_trace(january, project):
    train = flights(january.head(2000), late(january.head(2000)))
    keys = train.frame["carrier"].to_numpy()
    first = built(project("rates.model", **FILES).CarrierRate.fit(keys, train.y), train)
    turned = FILES | {"rates/columns.py": "KEY = 'origin'\n"}
    origins = train.frame["origin"].to_numpy()
    second = built(project("rates.model", **turned).CarrierRate.fit(origins, train.y), train)
    sys.modules.pop("rates.model")
    before = set(sys.modules)
    rows = train.frame.head(50)
    loaded = [RUNTIMES.load(open_package(data)) for data in (first, second)]
    assert len(set(sys.modules) - before) == 8
    said = [model.predict(train.signature.columns_of(train.columns).feed(rows)) for model in loaded]
    assert len(np.unique(said[0])) > len(np.unique(said[1])) > 1
    del loaded
    assert set(sys.modules) == before


def test_a_class_that_reads_the_matrix_is_fed_the_matrix(project):
    text = """
import numpy as np


class Sum:
    def predict_proba(self, rows):
        p = 1 / (1 + np.exp(-rows.sum(axis=1)))
        return np.stack([1 - p, p], axis=1)

    def predict(self, rows):
        raise RuntimeError("a task of classes asks for probabilities")

    def save(self, folder):
        pass

    @classmethod
    def load(cls, folder):
        return cls()
"""
    rows = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    train = given(rows, (rows.sum(axis=1) > 0).astype(np.int64))
    assert train.X.shape == (100, 3)
    package = opened(project("sums", **{"sums.py": text}).Sum(), train)
    assert package.signature.form == "matrix"
    expected = 1 / (1 + np.exp(-rows.sum(axis=1, dtype=np.float64)))
    np.testing.assert_allclose(served(package, train._rows)[:, 0], expected, atol=1e-6)


PLAIN = """
import json


class Model:
    def predict(self, rows):
        {predict}

    def save(self, folder):
        {save}

    @classmethod
    def load(cls, folder):
        {load}
"""
GOOD = {"predict": "return [0.5] * len(rows['a'])", "save": "pass", "load": "return cls()"}


@pytest.mark.parametrize(
    ("broken", "error", "problem"),
    [
        ({"predict": "return [0.5, 0.5]"}, InvalidInput, "returns an array of shape"),
        (
            {"predict": "return [2.0] * len(rows['a'])"},
            InvalidInput,
            r"predicts \[2.0\] of a row, which is no",
        ),
        (
            {"predict": "return [len(rows['a']) / 100] * len(rows['a'])"},
            InvalidInput,
            "predicts otherwise for a row that comes alone",
        ),
        ({"save": "(folder / 'a b').write_text('')"}, InvalidInput, "'state/a b' has a name"),
        ({"save": "(folder / 'x').symlink_to('/etc/passwd')"}, InvalidInput, "saves links"),
        ({"save": "1 / 0"}, UserCodeFailed, r"raised ZeroDivisionError.*plain.py:10 in save"),
        ({"load": "1 / 0"}, InvalidInput, "has no python form that runs: raised ZeroDivisionError"),
        (
            {"load": "return json.loads((folder / 'gone').read_text())"},
            InvalidInput,
            "no python form that runs",
        ),
    ],
)
def test_a_class_that_cannot_be_served_is_refused_with_a_reason(project, broken, error, problem):
    module = project("plain", **{"plain.py": PLAIN.format(**(GOOD | broken))})
    rows = pl.DataFrame({"a": np.linspace(0, 1, 50)})
    train = given(rows, np.arange(50) % 2)
    assert train.frame.columns == ["a"]
    with pytest.raises(error, match=problem):
        built(module.Model(), train)


def test_a_class_inside_a_function_has_no_source_to_keep():
    class Inner:
        def predict(self, rows):
            return np.full(len(rows), 0.5)

        def save(self, folder):
            pass

        @classmethod
        def load(cls, folder):
            return cls()

    with pytest.raises(InvalidInput, match="is defined inside a function; define the class at the top"):
        built(Inner(), given(np.zeros((9, 1)), np.arange(9) % 2))


def test_an_estimator_of_a_library_that_has_no_onnx_form_can_keep_itself(project, january):
    text = """
import json

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin


class Median(RegressorMixin, BaseEstimator):
    def fit(self, X, y):
        self.n_features_in_ = X.shape[1]
        self.value_ = float(np.median(y))
        return self

    def predict(self, X):
        return np.full(len(X), self.value_)

    def save(self, folder):
        (folder / "value").write_text(json.dumps(self.value_))

    @classmethod
    def load(cls, folder):
        made = cls()
        made.value_ = json.loads((folder / "value").read_text())
        return made
"""
    train = flights(january.head(500), january.head(500)["arr_delay"].cast(pl.Float64).to_numpy())
    model = project("median_model", **{"median_model.py": text}).Median().fit(train.X, train.y)
    package = opened(model, train, task=task_of(TaskSpec("regression")))
    assert package.runtime == "python"
    assert package.not_onnx.startswith("has no ONNX form: ")
    assert set(served(package, january.head(3)).ravel()) == {np.median(train.y)}


def test_the_form_can_be_chosen_where_it_does_not_show(project):
    module = project("plain", **{"plain.py": PLAIN.format(**GOOD)})
    train = given(pl.DataFrame({"a": np.linspace(0, 1, 50)}), np.arange(50) % 2)
    package = opened(varv.packaged(module.Model(), form="columns", runtime="python"), train)
    assert package.signature.form == "columns"
    assert package.not_onnx == "the training function asks for python"
