"""What a run read and made: datasets, models in and out, and the old way to log a model."""

import json
from typing import Any

from tests.fronts.mlflow.steps import MUST, NO_SQL, SPOILT, STARTED, Area, Step, get, post, scene

READ = get("runs/get", run_id="{run}")


def dataset(
    name: str = "flights", digest: str = "d1", context: str | None = None, **more: Any
) -> dict[str, Any]:
    tags = [] if context is None else [{"key": "mlflow.data.context", "value": context}]
    described = {"name": name, "digest": digest, "source_type": "local", "source": '{"uri": "a.csv"}', **more}
    return {"tags": tags, "dataset": described}


def log(*datasets: dict[str, Any], **more: Any) -> Step:
    return post("runs/log-inputs", {"run_id": "{run}", "datasets": list(datasets), **more})


MODEL = post("logged-models", experiment_id="{e}", name="model", source_run_id="{run}").keep(
    model="model.info.model_id"
)
OLD_MODEL = {
    "artifact_path": "model",
    "flavors": {"python_function": {"loader_module": "mlflow.sklearn"}},
    "run_id": "{run}",
    "utc_time_created": "2020-01-01 00:00:00.000000",
}

AREA = Area(
    "inputs",
    MUST,
    (
        scene(
            "a dataset is an input of a run",
            STARTED,
            log(dataset(context="training", schema='{"columns": []}', profile='{"num_rows": 3}')),
            READ,
        ),
        scene(
            "a dataset logged twice is there once",
            STARTED,
            log(dataset(context="training")),
            log(dataset(context="training")),
            log(dataset(context="validation")),
            log(dataset(digest="d2")),
            READ,
        ),
        scene(
            "two runs may read one dataset",
            STARTED,
            log(dataset(context="training")),
            post("runs/create", experiment_id="{e}", start_time=2000, run_name="second").keep(
                second="run.info.run_id"
            ),
            post("runs/log-inputs", run_id="{second}", datasets=[dataset(context="test")]),
            READ,
            get("runs/get", run_id="{second}"),
        ),
        scene(
            "runs are found by their datasets",
            STARTED,
            log(dataset(context="training")),
            *(
                post("runs/search", experiment_ids=["{e}"], filter=text).but(
                    "data", "info", "inputs", "outputs"
                )
                for text in (
                    "dataset.name = 'flights'",
                    "datasets.name = 'flights'",
                    "dataset.name != 'flights'",
                    "dataset.name LIKE 'fl%'",
                    "dataset.name ILIKE 'FL%'",
                    "dataset.digest = 'd1'",
                    "dataset.digest IN ('d1', 'd2')",
                    "dataset.name NOT IN ('trains')",
                    "dataset.context = 'training'",
                    "dataset.context LIKE '%test%'",
                    "dataset.name = 'flights' AND dataset.digest = 'd2'",
                    "dataset.colour = 'red'",
                    "dataset.name > 'a'",
                    "dataset.name = flights",
                    "dataset.name IS NULL",
                )
            ),
        ),
        scene(
            "the page lists the datasets of experiments",
            STARTED,
            log(dataset(context="training")),
            post("/ajax-api/2.0/mlflow/experiments/search-datasets", experiment_ids=["{e}"]),
            post("/ajax-api/2.0/mlflow/experiments/search-datasets", experiment_ids=["99999999"]),
            post("/ajax-api/2.0/mlflow/experiments/search-datasets", experiment_ids=[]),
            post("/ajax-api/2.0/mlflow/experiments/search-datasets"),
        ),
        scene(
            "a dataset has a name, a digest and a source",
            STARTED,
            log({"tags": [], "dataset": {"name": "n"}}),
            log({"tags": [], "dataset": {"digest": "d", "source_type": "local", "source": "s"}}),
            log({"tags": []}),
            log({"dataset": {"name": "bare", "digest": "d", "source_type": "local", "source": "s"}}),
            log(dataset(name="")),
            log(dataset(digest="")),
            log(17).stricter(SPOILT),
            post("runs/log-inputs", run_id="{run}", datasets="flights"),
            post("runs/log-inputs", run_id="{run}"),
            post("runs/log-inputs", datasets=[dataset()]),
            post("runs/log-inputs", run_id="0" * 32, datasets=[dataset()]),
            READ,
        ),
        scene(
            "what describes a dataset has its limits",
            STARTED,
            log(dataset(name="n" * 500, digest="d" * 36)),
            log(dataset(name="n" * 501)),
            log(dataset(digest="d" * 37)),
            log(dataset(source="s" * 65_535)),
            log(dataset(source="s" * 65_536)),
            log(dataset(schema="s" * 1_048_576)),
            log({**dataset(), "tags": [{"key": "k" * 255, "value": "v" * 500}]}),
            log({**dataset(), "tags": [{"key": "k" * 256, "value": "v"}]}),
            log({**dataset(), "tags": [{"key": "k", "value": "v" * 501}]}),
        ),
        scene(
            "models are inputs and outputs of a run",
            STARTED,
            MODEL,
            post("runs/log-inputs", run_id="{run}", models=[{"model_id": "{model}"}]),
            post("runs/outputs", run_id="{run}", models=[{"model_id": "{model}", "step": 3}]),
            READ,
            post("runs/search", experiment_ids=["{e}"]),
        ),
        scene(
            "a model is an output of a run once",
            STARTED,
            MODEL,
            post("runs/outputs", run_id="{run}", models=[{"model_id": "{model}", "step": 1}]),
            post("runs/outputs", run_id="{run}", models=[{"model_id": "{model}", "step": 1}]).stricter(
                NO_SQL, code=None
            ),
            post("runs/outputs", run_id="{run}", models=[{"model_id": "{model}", "step": 2}]).stricter(
                NO_SQL, code=None
            ),
            READ,
        ),
        scene(
            "an output that does not exist is refused or kept",
            STARTED,
            post("runs/outputs", run_id="{run}", models=[{"model_id": "m-" + "0" * 32, "step": 0}]),
            post("runs/outputs", run_id="0" * 32, models=[{"model_id": "m-" + "0" * 32, "step": 0}]),
            post("runs/outputs", run_id="{run}"),
            post("runs/outputs", models=[]),
            READ,
        ),
        scene(
            "clients of 2.x log a model as a document",
            STARTED,
            post("runs/log-model", run_id="{run}", model_json=json.dumps(OLD_MODEL)),
            READ,
            post(
                "runs/log-model",
                run_id="{run}",
                model_json=json.dumps({**OLD_MODEL, "artifact_path": "second"}),
            ),
            READ,
        ),
        scene(
            "a document of a model has what is asked of it",
            STARTED,
            post("runs/log-model", run_id="{run}", model_json="not JSON"),
            post("runs/log-model", run_id="{run}", model_json="{}"),
            post("runs/log-model", run_id="{run}"),
            post("runs/log-model", run_id="0" * 32, model_json=json.dumps(OLD_MODEL)),
        ),
    ),
)
