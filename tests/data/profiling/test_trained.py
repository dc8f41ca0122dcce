"""Profiles of what versions were trained on."""

from __future__ import annotations

import logging

import polars as pl

from varv.data.profiling.trained import keep_training, trained_versions, training_profile

MODEL = "late"
ROWS = pl.DataFrame({"load": [1.0, 2.0, None], "outcome": [0, 1, 1]})


def test_the_profile_of_training_data_is_kept_for_the_last_versions(tmp_path):
    for version in range(1, 19):
        keep_training(tmp_path, MODEL, version, [ROWS, ROWS.head(1)])
    assert trained_versions(tmp_path, MODEL) == list(range(3, 19))
    found = training_profile(tmp_path, MODEL, 18)
    assert (found.n_rows, found.column("load")[1].tally.null) == (4, 1)
    assert training_profile(tmp_path, MODEL, 1) is None
    assert trained_versions(tmp_path, "other") == []


def test_a_version_is_not_given_up_for_its_profile(tmp_path, caplog):
    (tmp_path / "profiles").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        keep_training(tmp_path, MODEL, 1, [ROWS])
    assert "model.profile_not_kept" in caplog.text
