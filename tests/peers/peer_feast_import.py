"""What `varv import feast` writes gives the values that Feast itself gives, with both of its stores of files.

`make feast` runs it.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import polars as pl
import pytest

import varv
from varv.app.cli.parser import main
from varv.features.moving.comparing import AT, ROW, requests_for
from varv.kernel.author_files import run_file

CLIENTS = Path(__file__).parent / "clients"
ASK = """
import sys, pandas
from feast import FeatureStore
store = FeatureStore(sys.argv[1])
features = ["shifted:conv_plus", "shifted:conv_scaled"]
asked = store.get_historical_features(entity_df=pandas.read_parquet(sys.argv[2]), features=features)
asked.to_df().to_parquet(sys.argv[3])
"""


@pytest.fixture(scope="module")
def python():
    from tests.peers.conftest import PEERS

    found = PEERS / "feast" / "bin" / "python"
    if not found.exists():
        pytest.skip(f"feast is not installed in {PEERS.name}: make feast")
    return str(found)


@pytest.fixture(scope="module", params=[1, 2])
def repository(request, python, tmp_path_factory):
    folder = tmp_path_factory.mktemp("feast") / "repository"
    script = str(CLIENTS / "feast_repository.py")
    run([python, "-W", "ignore", script, str(folder), str(request.param)])
    return folder


def run(command, folder=None):
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(("store", "registry"), [("file", "file"), ("duckdb", "sql")])
def test_no_value_differs_without_a_reason(repository, python, store, registry, capsys):
    text = (repository / f"{registry}.yaml").read_text().replace("type: file", f"type: {store}")
    (repository / "feature_store.yaml").write_text(text)
    assert main(["import", "feast", str(repository), "--python", python, "--json"]) == 0
    views = {one["view"]: one for one in json.loads(capsys.readouterr().out)["compared"]}
    assert set(views) == {"driver_fresh", "driver_hourly_stats", "trips", "weather"}
    assert all(one["counts"]["different"] == 0 for one in views.values())
    assert all(one["counts"]["equal"] > 100 for one in views.values())
    assert views["driver_hourly_stats"]["counts"]["late"] > 100
    dropped = sum(one["counts"]["dropped"] for one in views.values())
    assert (dropped > 0) == (store == "file")


def test_derived_features_are_what_its_functions_compute(repository, python, tmp_path):
    (repository / "feature_store.yaml").write_text((repository / "file.yaml").read_text())
    assert main(["import", "feast", str(repository), "--into", str(tmp_path / "declared_of_feast.py")]) == 0
    declared = run_file(tmp_path / "declared_of_feast.py")
    stats = declared.driver_hourly_stats
    numbers = pl.int_range(pl.len(), dtype=pl.Int64)
    asked = requests_for(stats).with_columns(val_to_add=numbers % 7, factor=numbers / 8 - 20)
    asked.write_parquet(tmp_path / "asked.parquet")
    answers = tmp_path / "answers.parquet"
    run([python, "-W", "ignore", "-c", ASK, str(repository), str(tmp_path / "asked.parquet"), str(answers)])
    # Its `ratio` raises where a value is missing, and is null here.
    features = [stats, declared.conv_plus, declared.conv_scaled]
    ours = varv.training_set(asked, features, at=AT, mode="event")
    both = ours.join(pl.read_parquet(answers), on=ROW, suffix=" there")
    assert both.height > 1_000
    for name in ("conv_plus", "conv_scaled"):
        here, there = both[name], both[f"{name} there"].cast(pl.Float64).fill_nan(None)
        # Rows of one time are settled otherwise by its store of files; they are few.
        close = (here - there).abs() <= 1e-5 * (1 + there.abs())
        agree = close | (here.is_null() & there.is_null())
        assert agree.fill_null(value=False).mean() > 0.9
        assert (close.sum() or 0) > 500
