"""Workflows of tracking: runs by the fluent functions and by the client, their files, inputs and curves."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from seeing import UNIQUE, Seen, experiment, history, refused, rows, seen, shown


def fluent() -> Seen:
    experiment_id = experiment("fluent")
    with mlflow.start_run(run_name="parent", tags={"team": "risk"}, description="what was tried") as parent:
        log_a_run()
        with mlflow.start_run(run_name="child", nested=True) as child:
            mlflow.log_metric("loss", 0.25)
    failed = a_run_that_fails()
    with mlflow.start_run(run_id=parent.info.run_id):
        mlflow.log_param("late", "yes")
    found = mlflow.search_runs([experiment_id], order_by=["attributes.run_name ASC"])
    few = "metrics.loss < 0.3 and tags.team = 'risk'"
    better = mlflow.search_runs([experiment_id], few, output_format="list")
    MlflowClient().delete_run(child.info.run_id)
    n_left = len(mlflow.search_runs([experiment_id]))
    MlflowClient().restore_run(child.info.run_id)
    return {
        "parent": seen(parent.info.run_id),
        "child": seen(child.info.run_id),
        "broken": seen(failed),
        "loss": history(parent.info.run_id, "loss"),
        "names": found["tags.mlflow.runName"].tolist(),
        "losses": [shown(value) for value in found["metrics.loss"]],
        "columns": [name for name in sorted(found.columns) if "source" not in name and "user" not in name],
        "better": [run.info.run_name for run in better],
        "n_left": n_left,
    }


def log_a_run() -> None:
    mlflow.log_param("depth", 3)
    mlflow.log_params({"rate": 0.1, "kind": "tree"})
    mlflow.log_metric("loss", 0.5)
    for step in range(5):
        mlflow.log_metrics({"loss": 1 / (step + 1), "auc": step / 5}, step=step)
    mlflow.log_metric("nan", float("nan"))
    mlflow.set_tags({"a": "1", "b": "2"})
    mlflow.set_tag("note", "two\nlines")
    mlflow.delete_tag("a")


def a_run_that_fails() -> str:
    run_id = ""
    try:
        with mlflow.start_run(run_name="broken") as broken:
            run_id = broken.info.run_id
            raise ValueError("on purpose")
    except ValueError:
        return run_id


def artifacts() -> Seen:
    experiment("artifacts")
    with tempfile.TemporaryDirectory() as folder, mlflow.start_run() as run:
        log_files(Path(folder))
        got = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="all"))
        paths = [path for path in sorted(got.rglob("*")) if path.is_file()]
        downloaded = {str(path.relative_to(got)): path.stat().st_size for path in paths}
        table = mlflow.load_table("table.json", run_ids=[run.info.run_id])
        text = mlflow.artifacts.load_text(mlflow.get_artifact_uri("texts/a.txt"))
        document = mlflow.artifacts.load_dict(f"runs:/{run.info.run_id}/b.json")
        missing = refused(mlflow.artifacts.load_text, f"runs:/{run.info.run_id}/none.txt")
    entries = MlflowClient().list_artifacts(run.info.run_id, "all")
    return {
        "run": seen(run.info.run_id),
        "downloaded": downloaded,
        "text": text,
        "document": document,
        "table": table.to_dict("list"),
        "listed": [[entry.path, entry.is_dir, entry.file_size] for entry in entries],
        "missing": missing[0],
    }


def in_parts() -> Seen:
    experiment("in_parts")
    content = bytes(range(256)) * 4096
    os.environ["MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD"] = "true"
    os.environ["MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE"] = "1000"
    os.environ["MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE"] = "100000"
    with tempfile.TemporaryDirectory() as folder, mlflow.start_run() as run:
        place = Path(folder, "large.bin")
        place.write_bytes(content)
        mlflow.log_artifact(str(place), "folder")
        got = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="folder/large.bin")
        return {"run": seen(run.info.run_id), "is_equal": Path(got).read_bytes() == content}


def log_files(folder: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    axes.plot([1, 2, 3])
    (folder / "sub").mkdir()
    (folder / "one.txt").write_text("one")
    (folder / "sub" / "two words.bin").write_bytes(bytes(range(256)) * 4000)
    mlflow.log_text("Läufer", "texts/a.txt")
    mlflow.log_dict({"a": [1, 2]}, "b.json")
    mlflow.log_dict({"a": [1, 2]}, "b.yaml")
    mlflow.log_figure(figure, "plots/c.png")
    mlflow.log_image(np.zeros((4, 4, 3), dtype=np.uint8), "d.png")
    mlflow.log_table({"x": [1, 2], "y": ["p", "q"]}, "table.json")
    mlflow.log_table({"x": [3], "y": ["r"]}, "table.json")
    mlflow.log_artifact(str(folder / "one.txt"), "folder")
    mlflow.log_artifacts(str(folder), "all")


def datasets() -> Seen:
    experiment_id = experiment("datasets")
    frame, labels = rows()
    with mlflow.start_run() as run:
        mlflow.log_input(mlflow.data.from_pandas(frame, name="train"), context="training")
        targets = mlflow.data.from_numpy(labels, name="labels")
        mlflow.log_input(targets, context="validation", tags={"by": "hand"})
    found = mlflow.search_runs([experiment_id], "dataset.name = 'train' and dataset.context = 'training'")
    return {"run": seen(run.info.run_id), "n_found": len(found)}


def tracking_client() -> Seen:
    client = MlflowClient()
    experiment_id = client.create_experiment(f"client-{UNIQUE}", tags={"team": "risk"})
    client.set_experiment_tag(experiment_id, "stage", "first")
    client.rename_experiment(experiment_id, f"renamed-{UNIQUE}")
    named = client.get_experiment_by_name(f"renamed-{UNIQUE}")
    ids = [one_of_five(client, experiment_id, number) for number in range(5)]
    client.update_run(ids[0], status="KILLED", name="renamed")
    some = "params.depth != '3' and metrics.loss > 1"
    kept = client.search_runs([experiment_id], some, order_by=["start_time"])
    errors = errors_of_tracking(client, experiment_id, ids[0])
    client.delete_experiment(experiment_id)
    deleted = client.get_experiment(experiment_id).lifecycle_stage
    errors["deleted"] = refused(client.create_run, experiment_id)
    client.restore_experiment(experiment_id)
    found = client.search_experiments(filter_string=f"name LIKE '%{UNIQUE}'", view_type=ViewType.ALL)
    return {
        "experiment": {"experiment_id": named.experiment_id, "tags": named.tags},
        "runs": [seen(run_id) for run_id in ids[:2]],
        "loss": history(ids[4], "loss"),
        "pages": pages(client, experiment_id),
        "kept": [run.info.run_name for run in kept],
        "errors": errors,
        "deleted": deleted,
        "found": [one.name for one in found],
    }


def one_of_five(client: MlflowClient, experiment_id: str, number: int) -> str:
    begun = {"start_time": 1000 + number, "run_name": f"r{number}", "tags": {"n": str(number)}}
    run_id = client.create_run(experiment_id, **begun).info.run_id
    points = [Metric("loss", number + step / 10, 1000 + step, step) for step in range(3)]
    client.log_batch(run_id, points, [Param("depth", str(number))], [RunTag("b", "1")])
    client.set_terminated(run_id, "FAILED" if number == 0 else "FINISHED", end_time=2000)
    return run_id


def pages(client: MlflowClient, experiment_id: str) -> list[list[str]]:
    found, token = [], None
    while True:
        asked = {"order_by": ["metrics.loss DESC"], "max_results": 2, "page_token": token}
        page = client.search_runs([experiment_id], **asked)
        found.append([run.info.run_name for run in page])
        token = page.token
        if not token:
            return found


def errors_of_tracking(client: MlflowClient, experiment_id: str, run_id: str) -> dict[str, list[str]]:
    return {
        "missing run": refused(client.get_run, "0" * 32),
        "missing experiment": refused(client.get_experiment, "99999999"),
        "same name": refused(client.create_experiment, f"renamed-{UNIQUE}"),
        "other param": refused(client.log_param, run_id, "depth", "9"),
        "bad filter": refused(client.search_runs, [experiment_id], "loss >"),
        "bad metric": refused(client.log_metric, run_id, "a//b", 1.0),
        "missing tag": refused(client.delete_tag, run_id, "none"),
    }


def asynchronous() -> Seen:
    experiment("asynchronous")
    mlflow.set_system_metrics_sampling_interval(1)
    with mlflow.start_run(log_system_metrics=True) as run:
        mlflow.log_param("later", 1, synchronous=False)
        for step in range(30):
            mlflow.log_metric("loss", step / 10, step=step, synchronous=False)
        mlflow.log_metrics({"a": 1.0, "b": 2.0}, step=1, synchronous=False)
        mlflow.set_tags({"t": "1"}, synchronous=False).wait()
        mlflow.flush_async_logging()
        time.sleep(3)
    data = MlflowClient().get_run(run.info.run_id).data
    # A machine with a GPU has more of them.
    system = sorted(key for key in data.metrics if key.startswith("system/") and "gpu" not in key)
    return {
        "run_id": run.info.run_id,
        "params": data.params,
        "metrics": {key: value for key, value in data.metrics.items() if not key.startswith("system/")},
        "system": system,
        "loss": history(run.info.run_id, "loss"),
        "sampled": bool(history(run.info.run_id, system[0])),
    }
