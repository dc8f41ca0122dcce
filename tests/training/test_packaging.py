"""A package predicts as its estimator does, on the meanest inputs, and holds nothing that runs."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from varv.adapters.onnx_runtime import OnnxRuntime
from varv.kernel.errors import Corrupt, InvalidInput
from varv.registry import Column, Signature, environment, open_package, package
from varv.training import build_package

SIGNATURE = Signature(tuple(Column(name, "number") for name in ("a", "b", "c")))


def rows(n: int = 600, *, missing: bool = True, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    x[:, 2] = np.round(x[:, 2] * 3)
    y = (x[:, 0] + 0.5 * x[:, 2] + rng.normal(size=n) > 0).astype(np.int64)
    if missing:
        x[rng.random((n, 3)) < 0.1] = np.nan
    return x, y


def boosted(x: np.ndarray, y: np.ndarray, **options) -> HistGradientBoostingClassifier:
    settings = {"max_iter": 12, "max_leaf_nodes": 8, "early_stopping": False, "random_state": 0} | options
    return HistGradientBoostingClassifier(**settings).fit(x, y)


def packaged(estimator, probe: np.ndarray, signature: Signature = SIGNATURE) -> bytes:
    return build_package(
        estimator, signature, probe, environment=environment(), params={"p": 1}, seed=3, n_rows=len(probe)
    )


def served(package: bytes, matrix: np.ndarray) -> np.ndarray:
    return OnnxRuntime().load(open_package(package)).predict(matrix.astype(np.float32))


def at_the_thresholds(model: HistGradientBoostingClassifier) -> np.ndarray:
    """Return rows of every threshold of the trees, its neighbours in float32, and the ends of the line."""
    values = [np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, -1e-45, 3.4e38, -3.4e38], np.float32)]
    for (tree,) in model._predictors:
        split = tree.nodes["num_threshold"][~tree.nodes["is_leaf"].astype(bool)].astype(np.float32)
        values += [split, np.nextafter(split, np.float32(np.inf)), np.nextafter(split, np.float32(-np.inf))]
    pool = np.unique(np.concatenate(values))
    rng = np.random.default_rng(1)
    one_by_one = [np.where(np.arange(3) == column, value, 0) for column in range(3) for value in pool]
    return np.concatenate([np.array(one_by_one, np.float32), rng.choice(pool, (3000, 3))])


def test_boosted_trees_agree_at_their_thresholds_and_at_the_ends_of_the_line():
    x, y = rows()
    model = boosted(x, y, max_iter=40)
    probe = at_the_thresholds(model)
    got = served(packaged(model, x), probe)
    np.testing.assert_allclose(got, model.predict_proba(probe)[:, 1], atol=2e-6, rtol=0)


def test_a_threshold_between_two_float32_sends_every_float32_the_same_way():
    low = np.float32(0.1)
    high = np.nextafter(low, np.float32(1))
    x = np.array([[low]] * 50 + [[high]] * 50, np.float32)
    y = np.array([0] * 50 + [1] * 50)
    model = boosted(x, y, min_samples_leaf=5)
    got = served(packaged(model, x, Signature((Column("a", "number"),))), x)
    np.testing.assert_allclose(got, model.predict_proba(x)[:, 1], atol=2e-6, rtol=0)
    assert got[0] < 0.2 < 0.8 < got[-1]


def test_missing_values_that_training_never_saw_go_the_same_way():
    x, y = rows(missing=False)
    model = boosted(x, y)
    probe = at_the_thresholds(model)
    np.testing.assert_allclose(served(packaged(model, x), probe), model.predict_proba(probe)[:, 1], atol=2e-6)


def test_a_pipeline_with_logistic_regression_agrees():
    x, y = rows(missing=False)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
    probe = rows(seed=9, missing=False)[0]
    np.testing.assert_allclose(served(packaged(model, x), probe), model.predict_proba(probe)[:, 1], atol=1e-5)


def test_probe_rows_with_an_infinity_are_compared_but_not_kept():
    x, y = rows()
    probe = x.copy()
    probe[0, 0], probe[5, 1] = np.inf, -np.inf
    package = open_package(packaged(boosted(x, y), probe))
    kept = package.probe_matrix()
    assert len(kept) == 32
    assert not np.isinf(kept).any()
    again = OnnxRuntime().load(package).predict(kept)
    np.testing.assert_allclose(again, package.probe_scores, atol=1e-6)


def test_equal_training_gives_equal_bytes():
    x, y = rows()
    assert packaged(boosted(x, y), x) == packaged(boosted(x, y), x)
    assert packaged(boosted(x, y, max_iter=13), x) != packaged(boosted(x, y), x)


def three_classes():
    x, _ = rows()
    return boosted(x, np.arange(len(x)) % 3)


def one_class():
    x, _ = rows(missing=False)
    model = LogisticRegression().fit(x, np.arange(len(x)) % 2)
    model.classes_ = np.array([0])
    return model


def native_categories():
    x, y = rows(missing=False)
    x[:, 2] = np.abs(x[:, 2])
    return boosted(x, y, categorical_features=[2])


class Alien:
    classes_ = (0, 1)

    def predict_proba(self, x):
        return np.full((len(x), 2), 0.5)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (three_classes, r"'HistGradientBoostingClassifier' is not binary \(classes=3\); train on rows"),
        (one_class, r"is not binary \(classes=1\)"),
        (native_categories, "splits on native categories.*categories arrive as codes"),
        (
            lambda: RidgeClassifier().fit(*rows(missing=False)),
            "'RidgeClassifier' has no predict_proba; return",
        ),
        (lambda: "model", "'str' has no predict_proba"),
        (Alien, "'Alien' has no ONNX form.*use a scikit-learn estimator"),
    ],
)
def test_what_cannot_be_packaged_is_refused_with_a_reason(make, problem):
    with pytest.raises(InvalidInput, match=problem):
        packaged(make(), rows(missing=False)[0])


def test_an_estimator_that_differs_from_its_onnx_form_is_refused():
    x, y = rows(missing=False)
    model = KNeighborsClassifier(3).fit(x[:100], y[:100])
    honest = model.predict_proba
    model.predict_proba = lambda given: np.clip(honest(given) + 0.01, 0, 1)
    with pytest.raises(InvalidInput, match="differs from its ONNX form"):
        packaged(model, x)


def test_an_estimator_whose_onnx_form_does_not_run_is_refused():
    x, y = rows(missing=False)
    model = KNeighborsClassifier(3).fit(x[:100], y[:100].astype(np.int8))
    with pytest.raises(InvalidInput, match="'KNeighborsClassifier' has no ONNX form that runs"):
        packaged(model, x)


@pytest.mark.parametrize("spoil", [b"", b"{}", b"\x80\x04\x95", b"[1]", b'{"format":1}'])
def test_bytes_that_are_no_package_are_refused(spoil):
    with pytest.raises(Corrupt, match="does not decode"):
        open_package(spoil)


def test_a_cut_package_is_refused():
    x, y = rows()
    data = packaged(boosted(x, y), x)
    with pytest.raises(Corrupt, match="does not decode"):
        open_package(data[:-10])


def test_a_huge_package_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.setattr(package, "_LARGEST_BYTES", 10)
    with pytest.raises(Corrupt, match="is too large"):
        open_package(b"x" * 11)


@pytest.mark.parametrize("onnx", [b"", b"not a model", b"\x00" * 100, b"cos\nsystem\n(S'true'\ntR."])
def test_a_model_that_the_runtime_refuses_is_corrupt(onnx):
    x, y = rows()
    package = msgspec.structs.replace(open_package(packaged(boosted(x, y), x)), onnx=onnx)
    with pytest.raises(Corrupt, match="is refused by the runtime"):
        OnnxRuntime().load(package)


def test_a_package_is_json_and_onnx_without_any_pickle():
    x, y = rows()
    data = packaged(boosted(x, y), x)
    plain = msgspec.json.decode(data)
    assert set(plain) == {field.name for field in msgspec.structs.fields(package.Package)}
    assert b"sklearn" not in open_package(data).onnx
