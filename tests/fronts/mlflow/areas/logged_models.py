"""Logged models: created by a run, finalized, tagged, measured, searched and deleted."""

from typing import Any

from tests.fronts.mlflow.steps import (
    MUST,
    NO_SQL,
    SPOILT,
    STARTED,
    Area,
    Step,
    delete,
    get,
    given,
    patch,
    post,
    scene,
)


def model(name: str = "model", kept: str = "model", **more: Any) -> Step:
    return post("logged-models", {"experiment_id": "{e}", "name": name, **more}).keep(
        **{kept: "model.info.model_id"}
    )


def search(filter: str | None = None, **more: Any) -> Step:
    given = {"experiment_ids": ["{e}"], **({"filter": filter} if filter else {}), **more}
    return post("logged-models/search", given).but(*DETAILS)


# That a model is found with all that it has is asked once.
DETAILS = (
    "artifact_uri",
    "creation_timestamp_ms",
    "data",
    "experiment_id",
    "last_updated_timestamp_ms",
    "model_id",
    "source_run_id",
    "tags",
)
READ = get("logged-models/{model}")
NAMED = "the path names the model, so the body need not"
MEASURED = given(
    STARTED[0],
    STARTED[1],
    post(
        "runs/log-inputs",
        run_id="{run}",
        datasets=[
            {"tags": [], "dataset": {"name": "train", "digest": "d1", "source_type": "local", "source": "s"}}
        ],
    ),
    model(
        "first", "first", source_run_id="{run}", model_type="agent", params=[{"key": "depth", "value": "3"}]
    ),
    model("second", "second", source_run_id="{run}", tags=[{"key": "team", "value": "risk"}]),
    model("third", "third"),
    post(
        "runs/log-batch",
        run_id="{run}",
        metrics=[
            {"key": "loss", "value": 0.5, "timestamp": 1, "step": 0, "model_id": "{first}"},
            {
                "key": "loss",
                "value": 0.2,
                "timestamp": 2,
                "step": 1,
                "model_id": "{first}",
                "dataset_name": "train",
                "dataset_digest": "d1",
            },
            {"key": "loss", "value": 0.4, "timestamp": 1, "step": 0, "model_id": "{second}"},
        ],
    ),
    patch("logged-models/{first}", model_id="{first}", status="LOGGED_MODEL_READY"),
)

AREA = Area(
    "logged_models",
    MUST,
    (
        scene(
            "a model is created, read and finalized",
            STARTED,
            model(
                source_run_id="{run}",
                model_type="classifier",
                params=[{"key": "depth", "value": "3"}],
                tags=[{"key": "team", "value": "risk"}],
            ),
            READ,
            patch("logged-models/{model}", model_id="{model}", status="LOGGED_MODEL_READY"),
            READ,
            get("/ajax-api/2.0/mlflow/logged-models/{model}"),
        ),
        scene(
            "a model without a name is given one",
            STARTED,
            post("logged-models", experiment_id="{e}").keep(model="model.info.model_id"),
            READ,
        ),
        scene(
            "a model may fail",
            STARTED,
            model(),
            patch("logged-models/{model}", model_id="{model}", status="LOGGED_MODEL_UPLOAD_FAILED"),
            READ,
            patch("logged-models/{model}", model_id="{model}", status="LOGGED_MODEL_PENDING"),
            patch("logged-models/{model}", model_id="{model}", status="DONE").stricter(SPOILT),
            patch("logged-models/{model}", model_id="{model}"),
            patch("logged-models/{model}", status="LOGGED_MODEL_READY").but("model").instead(NAMED),
            post("logged-models/{model}/params", params=[{"key": "depth", "value": "3"}]).instead(NAMED),
            READ.but("model").instead(NAMED),
        ),
        scene(
            "params of a model are written, and tags replaced and deleted",
            STARTED,
            model(params=[{"key": "depth", "value": "3"}]),
            post(
                "logged-models/{model}/params", model_id="{model}", params=[{"key": "rate", "value": "0.1"}]
            ),
            patch(
                "logged-models/{model}/tags",
                tags=[{"key": "team", "value": "risk"}, {"key": "b", "value": "1"}],
            ),
            patch("logged-models/{model}/tags", tags=[{"key": "team", "value": "growth"}]),
            READ,
            delete("logged-models/{model}/tags/team"),
            READ,
            delete("logged-models/{model}/tags/team"),
        ),
        scene(
            "a param of a model is logged again",
            STARTED,
            model(params=[{"key": "depth", "value": "3"}]),
            post(
                "logged-models/{model}/params", model_id="{model}", params=[{"key": "depth", "value": "3"}]
            ).instead("a param may be logged again with the value that it has, as one of a run may"),
            post(
                "logged-models/{model}/params", model_id="{model}", params=[{"key": "depth", "value": "4"}]
            ).stricter(NO_SQL),
            READ,
        ),
        scene(
            "a name of a model is no path",
            STARTED,
            *(model(name, "none") for name in ("a/b", "a:b", "a.b", "a%b", 'a"b', "a'b", "n" * 300)),
            model("a b-c_d"),
            model("läuft"),
            model("model"),
            model("model"),
        ),
        scene(
            "a model belongs to an experiment and to a run that exist",
            STARTED,
            post("logged-models", name="m"),
            post("logged-models", experiment_id="99999999", name="m"),
            model("orphan", "orphan", source_run_id="0" * 32),
            post("logged-models", experiment_id="{e}", name=17),
            post("logged-models", experiment_id="{e}", name="m", params="none"),
            post("logged-models", experiment_id="{e}", name="m", params=[{"key": "k", "value": 3}]).stricter(
                SPOILT
            ),
        ),
        scene(
            "a model that does not exist is not found",
            get("logged-models/m-" + "0" * 32),
            get("logged-models/nonsense"),
            patch("logged-models/m-" + "0" * 32, model_id="m-" + "0" * 32, status="LOGGED_MODEL_READY"),
            post(
                "logged-models/m-" + "0" * 32 + "/params",
                model_id="m-" + "0" * 32,
                params=[{"key": "k", "value": "v"}],
            ),
            patch("logged-models/m-" + "0" * 32 + "/tags", tags=[{"key": "k", "value": "v"}]),
            delete("logged-models/m-" + "0" * 32 + "/tags/k"),
            delete("logged-models/m-" + "0" * 32),
            get("logged-models/m-" + "0" * 32 + "/artifacts/directories"),
        ),
        scene(
            "metrics of a model are those that a run logged with its id",
            MEASURED,
            get("logged-models/{first}"),
            get("logged-models/{second}"),
            get("runs/get", run_id="{run}"),
            get("metrics/get-history", run_id="{run}", metric_key="loss"),
            post(
                "runs/log-metric",
                run_id="{run}",
                key="auc",
                value=0.9,
                timestamp=5,
                step=0,
                model_id="{third}",
            ),
            get("logged-models/{third}"),
            post(
                "runs/log-metric", run_id="{run}", key="auc", value=0.9, timestamp=5, model_id="m-" + "0" * 32
            ).stricter(NO_SQL),
        ),
        scene(
            "a model is found with all that it has",
            MEASURED,
            post("logged-models/search", experiment_ids=["{e}"], filter="name = 'first'"),
        ),
        scene(
            "models are found, the youngest first",
            MEASURED,
            search().but("models"),
            search(order_by=[{"field_name": "name"}]),
            search(order_by=[{"field_name": "name", "ascending": False}]),
            post("logged-models/search", experiment_ids=[]),
            post("logged-models/search", {}),
            post("logged-models/search", experiment_ids=["99999999"]),
        ),
        scene(
            "models are compared by their attributes, params and tags",
            MEASURED,
            *(
                search(text, order_by=[{"field_name": "name"}])
                for text in (
                    "name = 'first'",
                    "name != 'first'",
                    "name LIKE 'f%'",
                    "name ILIKE 'F%'",
                    "name IN ('first', 'third')",
                    "attributes.name = 'first'",
                    "model_type = 'agent'",
                    "model_id = '{second}'",
                    "source_run_id = '{run}'",
                    "status = 'READY'",
                    "status = 'LOGGED_MODEL_READY'",
                    "creation_timestamp > 0",
                    "creation_time > 0",
                    "last_updated_timestamp < 1000",
                    "params.depth = '3'",
                    "params.depth != '3'",
                    "params.depth LIKE '3'",
                    "tags.team = 'risk'",
                    "tags.`team` = 'risk'",
                    "tags.team IS NULL",
                    "name = 'first' AND params.depth = '3'",
                    "name = 'first' OR name = 'second'",
                    "name",
                    "name = first",
                )
            ),
            search("colour = 'red'"),
        ),
        scene(
            "models are compared by their metrics, of a dataset or of any",
            MEASURED,
            search("metrics.loss < 0.3"),
            search("metrics.loss >= 0.4", order_by=[{"field_name": "name"}]),
            search("metrics.loss = 0.5"),
            search("metrics.loss > 0", datasets=[{"dataset_name": "train"}]).instead(
                "a dataset without a digest is meant with any",
                {
                    "models": [
                        {"info": {"model_type": "agent", "name": "first", "status": "LOGGED_MODEL_READY"}}
                    ]
                },
            ),
            search("metrics.loss > 0", datasets=[{"dataset_name": "train", "dataset_digest": "d1"}]),
            search("metrics.loss > 0", datasets=[{"dataset_name": "train", "dataset_digest": "other"}]),
            search("metrics.loss > 0", datasets=[{"dataset_name": "test"}]),
            search("metrics.none > 0"),
            search("metrics.loss LIKE '0%'"),
            search("metrics.loss > 0", datasets=[{}]),
        ),
        scene(
            "models are ordered by a metric, those without it last",
            MEASURED,
            search(order_by=[{"field_name": "metrics.loss"}, {"field_name": "name"}]),
            search(order_by=[{"field_name": "metrics.loss", "ascending": False}, {"field_name": "name"}]),
            search(
                order_by=[
                    {"field_name": "metrics.loss", "dataset_name": "train", "dataset_digest": "d1"},
                    {"field_name": "name"},
                ]
            ),
            search(order_by=[{"field_name": "creation_timestamp"}, {"field_name": "name"}]).but("models"),
            search(order_by=[{"field_name": "colour"}]),
            search(order_by=[{"field_name": "params.depth"}]),
            search(order_by=[{}]),
            search(order_by="name"),
            search(order_by=[{"field_name": "name", "dataset_name": "train"}]),
            search(order_by=[{"field_name": "metrics.loss", "dataset_digest": "d1"}]),
        ),
        scene(
            "models come page by page",
            MEASURED,
            search(order_by=[{"field_name": "name"}], max_results=2).keep(token="next_page_token"),
            search(order_by=[{"field_name": "name"}], max_results=2, page_token="{token}"),
            search(max_results=0).stricter("a page has at least one"),
            search(max_results=-1).stricter("a page has at least one"),
            search(max_results=51),
            search(max_results=1001),
            search(page_token="garbage"),
        ),
        scene(
            "a deleted model is not found any more",
            STARTED,
            model(),
            delete("logged-models/{model}"),
            READ,
            search(),
            delete("logged-models/{model}"),
            patch("logged-models/{model}", model_id="{model}", status="LOGGED_MODEL_READY").stricter(
                "what is deleted is not written to", 404, "RESOURCE_DOES_NOT_EXIST"
            ),
        ),
        scene(
            "files of a model are listed",
            STARTED,
            model(),
            Step(
                "PUT",
                "/api/2.0/mlflow-artifacts/artifacts/{e}/models/{model}/artifacts/MLmodel",
                content=b"flavors: {}\n",
            ),
            Step(
                "PUT",
                "/api/2.0/mlflow-artifacts/artifacts/{e}/models/{model}/artifacts/data/weights.bin",
                content=b"12345",
            ),
            get("logged-models/{model}/artifacts/directories"),
            get("logged-models/{model}/artifacts/directories", artifact_directory_path="data"),
            get("logged-models/{model}/artifacts/directories", artifact_directory_path="none"),
            get("logged-models/{model}/artifacts/directories", artifact_directory_path="../.."),
            get("/api/2.0/mlflow-artifacts/artifacts/{e}/models/{model}/artifacts/MLmodel"),
        ),
    ),
)
