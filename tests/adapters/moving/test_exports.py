"""Folders that other trackers were exported to become experiments with runs, each time the same ones."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pytest

from varv.adapters.moving import open_folder
from varv.adapters.moving.exports import key
from varv.kernel.errors import Corrupt, NotFound

BEGUN = 1_700_000_000


def wandb(root):
    run = root / "late" / "3k2j1x9z"
    (run / "files" / "media").mkdir(parents=True)
    (run / "config.json").write_text(json.dumps({"lr": 0.1, "net": {"depth": 3}, "_wandb": {"cli": 1}}))
    (run / "summary.json").write_text(
        json.dumps({"loss": 0.25, "_step": 2, "_timestamp": BEGUN + 9.5, "best": {"loss": 0.2}})
    )
    about = {"name": "bold-sun-7", "state": "crashed", "created_at": "2023-11-14T22:13:20Z", "user": "ana"}
    (run / "run.json").write_text(json.dumps(about | {"tags": ["a", "b"], "commit": "abc"}))
    history = {
        "_step": [0, 1, 2],
        "_timestamp": [BEGUN + 0.5, BEGUN + 1.5, BEGUN + 2.5],
        "loss": [1.0, 0.5, 0.25],
        "val loss (mean)": [None, None, 0.3],
        "image": ["a.png", None, None],
    }
    pl.DataFrame(history).write_parquet(run / "3k2j1x9z-history.parquet")
    (run / "files" / "media" / "a.png").write_bytes(b"png")
    return root


def neptune(root):
    def row(path, kind, step=None, at=None, **value):
        return {"project_id": "team/late", "run_id": "LATE-7", "attribute_path": path, "attribute_type": kind,
                "step": step, "timestamp": at, **value}  # fmt: skip

    begun = datetime.fromtimestamp(BEGUN, UTC)
    losses = [
        row("loss", "float_series", Decimal(step) / 2, begun, float_value=1 / (step + 1)) for step in range(3)
    ]
    rows = [
        row("sys/name", "string", string_value="bold"),
        row("sys/owner", "string", string_value="ana"),
        row("sys/creation_time", "datetime", datetime_value=begun),
        row("sys/failed", "bool", bool_value=True),
        row("params/lr", "float", float_value=0.1),
        row("params/layers", "int", int_value=3),
        *losses,
        row("out", "string_series", Decimal(0), begun, string_value="hello"),
        row("model", "file", file_value={"path": "late/model.bin"}),
        row("key", "file", file_value={"path": "../../secret"}),
    ]
    schema = {
        "project_id": pl.String, "run_id": pl.String,
        "attribute_path": pl.String, "attribute_type": pl.String,
        "step": pl.Decimal(18, 6), "timestamp": pl.Datetime("ms", "UTC"), "int_value": pl.Int64,
        "float_value": pl.Float64, "string_value": pl.String, "bool_value": pl.Boolean,
        "datetime_value": pl.Datetime("ms", "UTC"), "string_set_value": pl.List(pl.String),
        "file_value": pl.Struct({"path": pl.String}),
        "histogram_value": pl.Struct({"type": pl.String, "edges": pl.List(pl.Float64)}),
    }  # fmt: skip
    (root / "data" / "team_late").mkdir(parents=True)
    pl.DataFrame(rows, schema=schema).write_parquet(root / "data" / "team_late" / "part_0.parquet")
    (root / "files" / "late").mkdir(parents=True)
    (root / "files" / "late" / "model.bin").write_bytes(b"weights")
    (root.parent / "secret").write_bytes(b"no")
    return root


def comet(root):
    run = root / "ana" / "late" / "9f8e7d6c5b4a"
    (run / "assets" / "model").mkdir(parents=True)
    (run / "run").mkdir()
    about = {
        "experimentKey": "9f8e7d6c5b4a",
        "experimentName": "bold",
        "projectName": "late",
        "workspaceName": "ana",
        "userName": "ana",
        "startTimeMillis": BEGUN * 1000,
        "endTimeMillis": BEGUN * 1000 + 5,
        "running": False,
        "archived": False,
        "tags": ["x"],
    }
    (run / "metadata.json").write_text(json.dumps(about))
    (run / "parameters.json").write_text(json.dumps([{"name": "lr", "valueCurrent": "0.1"}]))
    lines = [
        {
            "metricName": "loss",
            "metricValue": str(1 / (step + 1)),
            "timestamp": BEGUN * 1000 + step,
            "step": step,
        }
        for step in range(3)
    ]
    (run / "metrics.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    (run / "others.jsonl").write_text(json.dumps({"name": "seed", "valueCurrent": "7"}) + "\n")
    (run / "assets" / "model" / "model.bin").write_bytes(b"weights")
    (run / "run" / "script.py").write_text("print(1)")
    return root


WAYS = {"wandb": wandb, "neptune": neptune, "comet": comet}


@pytest.fixture(params=WAYS)
def export(request, tmp_path):
    return request.param, WAYS[request.param](tmp_path / "export")


def test_an_export_is_an_experiment_with_its_runs(home, export):
    kind, folder = export
    report = home.take(open_folder(kind, folder))
    assert (report.experiments.new, report.runs.new, report.differences.n, report.left_out.n) == (1, 1, 0, 0)
    [run] = home.runs().values()
    assert (run.user, run.started_ms) == ("ana", BEGUN * 1000)
    losses = [value for _, _, value in home.history(run.id, "loss")]
    assert losses == pytest.approx([1.0, 0.5, 0.25 if kind == "wandb" else 1 / 3])
    head = home.taken()
    assert home.take(open_folder(kind, folder)).runs.same == 1
    assert home.taken() == head


def test_a_run_of_wandb_keeps_config_state_and_files(home, tmp_path):
    home.take(open_folder("wandb", wandb(tmp_path / "export")))
    run = home.runs()["bold-sun-7"]
    assert (run.params, run.status, run.ended_ms) == (
        {"lr": "0.1", "net/depth": "3"},
        "FAILED",
        BEGUN * 1000 + 9500,
    )
    assert run.tags["wandb.id"] == "3k2j1x9z"
    assert (run.tags["wandb.tags"], run.tags["mlflow.source.git.commit"]) == ('["a","b"]', "abc")
    assert home.history(run.id, key("val loss (mean)")) == [(BEGUN * 1000 + 2500, 2, 0.3)]
    assert home.files(f"runs/{run.id}") == {"files/media/a.png": b"png"}
    assert list(home.experiments()) == ["Default", "late"]


def test_steps_of_neptune_become_whole(home, tmp_path):
    home.take(open_folder("neptune", neptune(tmp_path / "export")))
    run = home.runs()["bold"]
    assert [step for _, step, _ in home.history(run.id, "loss")] == [0, 5, 10]
    assert run.tags["neptune.step_multiplier"] == "10"
    assert (run.params, run.status) == ({"params/layers": "3", "params/lr": "0.1"}, "FAILED")
    files = home.files(f"runs/{run.id}")
    assert files["late/model.bin"] == b"weights"
    assert b"hello" in files["series/out.jsonl"]
    assert b"no" not in files.values()


def test_a_run_of_comet_keeps_parameters_and_assets(home, tmp_path):
    home.take(open_folder("comet", comet(tmp_path / "export")))
    run = home.runs()["bold"]
    assert (run.params, run.tags["comet.key"], run.tags["comet.seed"]) == ({"lr": "0.1"}, "9f8e7d6c5b4a", "7")
    assert (run.status, run.ended_ms) == ("FINISHED", BEGUN * 1000 + 5)
    assert set(home.files(f"runs/{run.id}")) == {"assets/model/model.bin", "run/script.py"}


def test_folders_that_hold_something_else_are_refused(tmp_path):
    for kind in WAYS:
        with pytest.raises(NotFound, match="holds no runs"):
            open_folder(kind, tmp_path)
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(Corrupt, match="Neptune"):
        open_folder("neptune", tmp_path)


def test_names_that_had_to_change_stay_apart():
    assert key("val/loss") == "val/loss"
    assert key("loss (a)") != key("loss [a]")
    assert key("/loss") not in ("loss", "/loss")
    assert len(key("x" * 400)) <= 250
