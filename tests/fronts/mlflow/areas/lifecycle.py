"""What deleting does to what it contains: reads go on, writes are refused, and all comes back."""

from tests.fronts.mlflow.steps import MUST, STARTED, Area, get, post, scene

METRIC = {"key": "loss", "value": 1.0, "timestamp": 1, "step": 0}
DATASET = {"tags": [], "dataset": {"name": "n", "digest": "d", "source_type": "local", "source": "s"}}
WRITES = (
    post("runs/log-metric", METRIC, run_id="{run}"),
    post("runs/log-parameter", run_id="{run}", key="k", value="v"),
    post("runs/set-tag", run_id="{run}", key="k", value="v"),
    post("runs/delete-tag", run_id="{run}", key="mlflow.runName"),
    post("runs/log-batch", run_id="{run}", metrics=[METRIC]),
    post("runs/log-batch", run_id="{run}", params=[{"key": "k", "value": "v"}]),
    post("runs/log-batch", run_id="{run}", tags=[{"key": "k", "value": "v"}]),
    post("runs/update", run_id="{run}", status="FINISHED", end_time=2000),
    post("runs/log-inputs", run_id="{run}", datasets=[DATASET]),
)
READ = get("runs/get", run_id="{run}")

AREA = Area(
    "lifecycle",
    MUST,
    (
        scene(
            "a deleted run is read and takes nothing",
            STARTED,
            post("runs/delete", run_id="{run}"),
            *(
                step.saying("must be in the 'active' state") if number < 8 else step
                for number, step in enumerate(WRITES)
            ),
            READ,
            post("runs/restore", run_id="{run}"),
            post("runs/set-tag", run_id="{run}", key="k", value="v"),
            READ,
        ),
        scene(
            "a deleted experiment takes its runs along and brings them back",
            STARTED,
            post("experiments/delete", experiment_id="{e}"),
            READ,
            post("runs/search", experiment_ids=["{e}"]),
            post("runs/search", experiment_ids=["{e}"], run_view_type="ALL"),
            post("runs/create", experiment_id="{e}", start_time=2000, run_name="late"),
            post("runs/set-tag", run_id="{run}", key="k", value="v"),
            post("experiments/restore", experiment_id="{e}"),
            READ,
            post("runs/search", experiment_ids=["{e}"]),
        ),
        scene(
            "a run deleted before its experiment comes back with it",
            STARTED,
            post("runs/create", experiment_id="{e}", start_time=2000, run_name="second").keep(
                second="run.info.run_id"
            ),
            post("runs/delete", run_id="{run}"),
            post("experiments/delete", experiment_id="{e}"),
            post("experiments/restore", experiment_id="{e}"),
            READ,
            get("runs/get", run_id="{second}"),
        ),
        scene(
            "a run of a deleted experiment is not restored alone",
            STARTED,
            post("experiments/delete", experiment_id="{e}"),
            post("runs/restore", run_id="{run}"),
            READ,
        ),
        scene(
            "a model of a deleted experiment",
            STARTED,
            post("logged-models", experiment_id="{e}", name="m").keep(model="model.info.model_id"),
            post("experiments/delete", experiment_id="{e}"),
            get("logged-models/{model}"),
            post("logged-models/search", experiment_ids=["{e}"]),
            post("logged-models", experiment_id="{e}", name="late"),
        ),
        scene(
            "a version outlives its run",
            STARTED,
            post("registered-models/create", name="m-{u}"),
            post("model-versions/create", name="m-{u}", source="runs:/{run}/model", run_id="{run}"),
            post("runs/delete", run_id="{run}"),
            get("model-versions/get", name="m-{u}", version="1"),
            post("model-versions/create", name="m-{u}", source="runs:/{run}/model", run_id="{run}"),
        ),
        scene(
            "the default experiment",
            get("experiments/get", experiment_id="0").but("creation_time", "last_update_time", "tags"),
        ),
    ),
)
