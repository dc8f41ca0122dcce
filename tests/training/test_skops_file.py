"""Files of skops: only types on a list are made, and trees are followed only where they stay within
themselves.
"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from varv.kernel.errors import Corrupt, InvalidInput
from varv.training.skops_file import estimator_of, is_skops, lightgbm_text

skops = pytest.importorskip("skops.io")
X = np.random.default_rng(0).normal(size=(60, 2))
Y = (X[:, 0] > 0).astype(int)
HIST = HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=2)


@pytest.mark.parametrize("kind", [DecisionTreeClassifier(), GradientBoostingClassifier(n_estimators=2), HIST])
def test_an_estimator_of_trees_comes_back_as_it_was(kind):
    made = kind.fit(X, Y)
    found = estimator_of(skops.dumps(made), "model.skops")
    np.testing.assert_array_equal(found.predict_proba(X), made.predict_proba(X))


@pytest.mark.parametrize(("field", "value"), [("left_child", 10**9), ("right_child", 0), ("feature", 7)])
def test_a_tree_that_leads_out_of_itself_is_refused(field, value):
    made = DecisionTreeClassifier().fit(X, Y)
    state = made.tree_.__getstate__()
    state["nodes"][field][0] = value
    made.tree_.__setstate__(state)
    with pytest.raises(Corrupt, match=r"file 'model.skops' holds a tree that leads out of itself"):
        estimator_of(skops.dumps(made), "model.skops")


@pytest.mark.parametrize(("field", "value"), [("left", 10**6), ("right", 0), ("feature_idx", 7)])
def test_a_tree_of_histogram_boosting_is_checked_as_well(field, value):
    made = HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=2).fit(X, Y)
    made._predictors[0][0].nodes[field][0] = value
    with pytest.raises(Corrupt, match="leads out of itself"):
        estimator_of(skops.dumps(made), "model.skops")


def test_a_type_that_is_on_no_list_is_not_made():
    made = KNeighborsClassifier().fit(X, Y)
    with pytest.raises(InvalidInput, match=r"holds a type that is not trusted .*; export it to ONNX"):
        estimator_of(skops.dumps(made), "model.skops")


def test_what_is_no_file_of_skops_is_told_from_one():
    made = skops.dumps(GradientBoostingClassifier(n_estimators=1).fit(X, Y))
    assert is_skops(made)
    assert not is_skops(b"PK\x03\x04 and no more")
    with pytest.raises(Corrupt, match="holds no booster of LightGBM"):
        lightgbm_text(made, "model.skops")
