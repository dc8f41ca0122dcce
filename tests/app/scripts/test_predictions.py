"""Predictions as scripts write them, read as columns."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest

from varv.app.scripts.predictions import predictions_in
from varv.kernel.errors import InvalidInput


def saved(array, **more):
    out = io.BytesIO()
    np.save(out, array, **more)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "columns"),
    [
        ("p.csv", b"id,p\na,0.5\nb,\n", {"id": ["a", "b"], "p": [0.5, np.nan]}),
        (
            "p.jsonl",
            b'{"p": 1, "late": true}\n{"p": 2, "late": false}\n',
            {"p": [1, 2], "late": ["true", "false"]},
        ),
        ("p.npy", saved(np.array([0.5, 0.25])), {"prediction": [0.5, 0.25]}),
        ("p.npy", saved(np.eye(2)), {"prediction_0": [1.0, 0.0], "prediction_1": [0.0, 1.0]}),
    ],
)
def test_each_format_becomes_columns(name, data, columns):
    found = predictions_in(data, name)
    assert list(found) == list(columns)
    for column, values in columns.items():
        np.testing.assert_array_equal(found[column], values)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("p.npy", saved(np.array([{}], dtype=object), allow_pickle=True)),
        ("p.npy", pickle.dumps([1])),
        ("p.npy", saved(np.zeros((1, 1, 1)))),
        ("p.npy", b""),
        ("p.csv", b""),
        ("p.jsonl", b"[1"),
        ("p.pickle", pickle.dumps([1])),
    ],
)
def test_what_is_no_table_of_values_is_refused_and_never_unpickled(name, data):
    with pytest.raises(InvalidInput, match="predictions"):
        predictions_in(data, name)
