"""Workflows of models: logged, registered, loaded again, and logged by autologging."""

from __future__ import annotations

import mlflow
import numpy as np
from mlflow import MlflowClient
from seeing import LOCAL_TAGS, UNIQUE, Seen, experiment, history, refused, rows, seen

AUTOLOG = {"log_datasets": True, "silent": True}


def registry() -> Seen:
    experiment("registry")
    client = MlflowClient()
    name, other = f"model-{UNIQUE}", f"other-{UNIQUE}"
    with mlflow.start_run() as run:
        mlflow.log_text("flavors: {}", "model/MLmodel")
    client.create_registered_model(name, tags={"team": "risk"}, description="first")
    for _ in range(3):
        client.create_model_version(name, f"runs:/{run.info.run_id}/model", run.info.run_id, tags={"k": "v"})
    describe(client, name)
    staged = client.transition_model_version_stage(name, "1", "Production", archive_existing_versions=True)
    champion = client.get_model_version_by_alias(name, "champion")
    errors = errors_of_the_registry(client, name)
    before = client.get_registered_model(name)
    uri = client.get_model_version_download_uri(name, "2")
    client.rename_registered_model(name, other)
    found = client.search_model_versions(f"name = '{other}'", order_by=["version_number ASC"])
    models = client.search_registered_models(f"name = '{other}'")
    client.delete_registered_model(other)
    return {
        "run": {"run_id": run.info.run_id, "uri": uri},
        "model": {"tags": before.tags, "aliases": before.aliases, "description": before.description},
        "champion": {"version": champion.version, "tags": champion.tags, "description": champion.description},
        "stage": staged.current_stage,
        # Without aliases, which only our answers have.
        "versions": [[one.version, one.current_stage, one.status, one.tags] for one in found],
        "models": [[one.name, one.aliases] for one in models],
        "errors": errors,
        "gone": refused(client.get_registered_model, other),
    }


def describe(client: MlflowClient, name: str) -> None:
    client.set_registered_model_alias(name, "champion", "1")
    client.set_registered_model_alias(name, "champion", "2")
    client.set_registered_model_alias(name, "challenger", "3")
    client.set_registered_model_tag(name, "a", "1")
    client.set_model_version_tag(name, "2", "b", "2")
    client.delete_model_version_tag(name, "1", "k")
    client.update_model_version(name, "2", description="the good one")
    client.update_registered_model(name, description="second")
    client.delete_registered_model_alias(name, "challenger")
    client.delete_model_version(name, "3")


def errors_of_the_registry(client: MlflowClient, name: str) -> dict[str, list[str]]:
    return {
        "same name": refused(client.create_registered_model, name),
        "missing version": refused(client.get_model_version, name, "9"),
        "missing alias": refused(client.get_model_version_by_alias, name, "none"),
        "missing model": refused(client.get_registered_model, "none"),
        "bad alias": refused(client.set_registered_model_alias, name, "latest", "1"),
        "bad name": refused(client.create_registered_model, "a/b"),
    }


def logged_model() -> Seen:
    from sklearn.linear_model import LogisticRegression

    experiment_id = experiment("logged-model")
    frame, labels = rows()
    fitted = LogisticRegression().fit(frame, labels)
    name = f"model-{UNIQUE}"
    given = {"input_example": frame.head(2), "registered_model_name": name, "params": {"depth": 3}, "step": 2}
    with mlflow.start_run() as run:
        logged = mlflow.sklearn.log_model(fitted, name="model", **given)
        mlflow.log_metric("accuracy", 0.9, step=2, model_id=logged.model_id)
    again = mlflow.register_model(f"models:/{logged.model_id}", name)
    client = MlflowClient()
    client.set_registered_model_alias(name, "champion", again.version)
    expected = fitted.predict(frame).tolist()
    same = {}
    for uri in (f"models:/{name}@champion", f"models:/{name}/1", f"models:/{name}/latest", logged.model_uri):
        same[uri] = mlflow.pyfunc.load_model(uri).predict(frame).tolist() == expected
    native = mlflow.sklearn.load_model(f"models:/{name}@champion").predict(frame).tolist() == expected
    mlflow.set_logged_model_tags(logged.model_id, {"team": "risk"})
    found = mlflow.search_logged_models([experiment_id], "metrics.accuracy > 0.5", output_format="list")
    version = client.get_model_version(name, "2")
    return {
        "run": seen(run.info.run_id),
        "model": seen_model(logged.model_id),
        "version": {"run_id": version.run_id, "source": version.source, "status": version.status},
        "same": list(same.values()),
        "native": native,
        "found": [one.model_id for one in found],
        "files": sorted(entry.path for entry in client.list_logged_model_artifacts(logged.model_id)),
    }


def seen_model(model_id: str) -> Seen:
    model = mlflow.get_logged_model(model_id)
    return {
        "model_id": model.model_id,
        "source_run_id": model.source_run_id,
        "name": model.name,
        "status": str(model.status),
        "params": model.params,
        "tags": {key: value for key, value in model.tags.items() if not key.startswith(LOCAL_TAGS)},
        "metrics": [[one.key, one.value, one.step] for one in model.metrics],
        "artifact_uri": model.artifact_location,
    }


def sklearn_autolog() -> Seen:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import GridSearchCV

    experiment_id = experiment("sklearn")
    mlflow.sklearn.autolog(max_tuning_runs=4, **AUTOLOG)
    frame, labels = rows()
    with mlflow.start_run() as one:
        forest = RandomForestClassifier(n_estimators=3, random_state=0, n_jobs=1).fit(frame, labels)
        forest.score(frame, labels)
    with mlflow.start_run() as grid:
        small = RandomForestClassifier(n_estimators=2, random_state=0)
        GridSearchCV(small, {"max_depth": [1, 2]}, cv=2).fit(frame, labels)
    children = mlflow.search_runs([experiment_id], f"tags.mlflow.parentRunId = '{grid.info.run_id}'")
    return {
        "one": seen(one.info.run_id),
        "grid": seen(grid.info.run_id),
        "children": sorted(children["params.max_depth"].tolist()),
    }


def boosters() -> Seen:
    import lightgbm
    import xgboost

    experiment("boosters")
    frame, labels = rows()
    mlflow.lightgbm.autolog(**AUTOLOG)
    mlflow.xgboost.autolog(**AUTOLOG)
    with mlflow.start_run() as light:
        data = lightgbm.Dataset(frame, labels)
        small = {"objective": "binary", "num_leaves": 3, "min_data_in_leaf": 5, "num_threads": 1}
        lightgbm.train(small | {"verbose": -1}, data, 4, valid_sets=[data])
    with mlflow.start_run() as extreme:
        matrix = xgboost.DMatrix(frame, labels)
        shallow = {"objective": "binary:logistic", "max_depth": 2, "nthread": 1}
        xgboost.train(shallow, matrix, 4, evals=[(matrix, "train")], verbose_eval=False)
    return {
        "light": seen(light.info.run_id),
        "extreme": seen(extreme.info.run_id),
        "logloss": history(extreme.info.run_id, "train-logloss"),
    }


def torch_steps() -> Seen:
    import torch

    experiment("torch")
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 1)
    example = np.zeros((1, 3), np.float32)
    with mlflow.start_run() as run:
        for step in range(2):
            logged = mlflow.pytorch.log_model(net, name=f"step{step}", step=step, input_example=example)
            mlflow.log_metric("loss", 1 / (step + 1), step=step, model_id=logged.model_id)
        found = mlflow.search_logged_models(
            filter_string="metrics.loss > 0", order_by=[{"field_name": "metrics.loss"}], output_format="list"
        )
    return {
        "run": seen(run.info.run_id),
        "loaded": mlflow.pyfunc.load_model(logged.model_uri).predict(example).shape,
        "best": [one.name for one in found],
    }
