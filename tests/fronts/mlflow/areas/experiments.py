"""Experiments by id and by name, their tags, and what renaming and deleting them does."""

from tests.fronts.mlflow.steps import (
    EXPERIMENT,
    MUST,
    NO_PATH,
    NO_SQL,
    Area,
    get,
    post,
    raw,
    scene,
)

LONG_NAME = "n" * 501

AREA = Area(
    "experiments",
    MUST,
    (
        scene(
            "an experiment is found by its id and by its name",
            EXPERIMENT,
            get("experiments/get", experiment_id="{e}"),
            get("experiments/get-by-name", experiment_name="e-{u}"),
            get("/ajax-api/2.0/mlflow/experiments/get", experiment_id="{e}"),
        ),
        scene(
            "the default experiment has the id 0",
            get("experiments/get-by-name", experiment_name="Default").but(
                "creation_time", "last_update_time", "tags"
            ),
        ),
        scene(
            "an experiment begins with tags",
            post(
                "experiments/create",
                name="e-{u}",
                tags=[{"key": "team", "value": "risk"}, {"key": "empty", "value": ""}],
            ).keep(e="experiment_id"),
            get("experiments/get", experiment_id="{e}"),
        ),
        scene(
            "a tag of an experiment is set, replaced and deleted",
            EXPERIMENT,
            post("experiments/set-experiment-tag", experiment_id="{e}", key="team", value="risk"),
            post("experiments/set-experiment-tag", experiment_id="{e}", key="team", value="growth"),
            post("experiments/set-experiment-tag", experiment_id="{e}", key="a b/c.d", value="quoted 'so'"),
            get("experiments/get", experiment_id="{e}"),
            post("experiments/delete-experiment-tag", experiment_id="{e}", key="team"),
            get("experiments/get", experiment_id="{e}"),
            post("experiments/delete-experiment-tag", experiment_id="{e}", key="team"),
        ),
        scene(
            "an experiment that does not exist is not found",
            get("experiments/get", experiment_id="99999999").saying("No Experiment with id="),
            get("experiments/get-by-name", experiment_name="none-{u}").saying(
                "Could not find experiment with name"
            ),
            post("experiments/update", experiment_id="99999999", new_name="x-{u}"),
            post("experiments/delete", experiment_id="99999999"),
            post("experiments/restore", experiment_id="99999999"),
            post("experiments/set-experiment-tag", experiment_id="99999999", key="k", value="v"),
        ),
        scene(
            "an id that is no number is not found either",
            get("experiments/get", experiment_id="nonsense"),
        ),
        scene(
            "a name is given once",
            EXPERIMENT,
            post("experiments/create", name="e-{u}").saying("already exists"),
            post("experiments/create", name="other-{u}").keep(other="experiment_id"),
            post("experiments/update", experiment_id="{other}", new_name="e-{u}").stricter(
                NO_SQL, code="RESOURCE_ALREADY_EXISTS"
            ),
        ),
        scene(
            "a rename keeps the id",
            EXPERIMENT,
            post("experiments/update", experiment_id="{e}", new_name="renamed-{u}"),
            get("experiments/get", experiment_id="{e}"),
            get("experiments/get-by-name", experiment_name="renamed-{u}"),
            get("experiments/get-by-name", experiment_name="e-{u}"),
        ),
        scene(
            "a rename needs a name",
            EXPERIMENT,
            post("experiments/update", experiment_id="{e}"),
            post("experiments/update", experiment_id="{e}", new_name=""),
        ),
        scene(
            "a deleted experiment is still read, keeps its name, and comes back",
            EXPERIMENT,
            post("experiments/delete", experiment_id="{e}"),
            get("experiments/get", experiment_id="{e}"),
            get("experiments/get-by-name", experiment_name="e-{u}"),
            post("experiments/create", name="e-{u}").saying("already exists"),
            post("experiments/update", experiment_id="{e}", new_name="r-{u}"),
            post("experiments/set-experiment-tag", experiment_id="{e}", key="k", value="v"),
            post("experiments/delete", experiment_id="{e}"),
            post("experiments/restore", experiment_id="{e}"),
            get("experiments/get", experiment_id="{e}"),
            post("experiments/restore", experiment_id="{e}"),
        ),
        scene(
            "what a new experiment needs is asked for",
            post("experiments/create"),
            post("experiments/create", name=""),
            post("experiments/create", name=17),
            post("experiments/create", name=LONG_NAME + "{u}"),
            post("experiments/create", name="e-{u}", tags="none"),
            raw("POST", "experiments/create", '{"name": "typed-{u}", "colour": "blue"}'),
            get("experiments/get"),
            get("experiments/get-by-name"),
            get("experiments/get", experiment_id=""),
        ),
        scene(
            "where artifacts lie is not for a client to choose",
            post("experiments/create", name="f-{u}", artifact_location="file:///etc").stricter(NO_PATH),
            post("experiments/create", name="h-{u}", artifact_location="http://169.254.169.254/").stricter(
                NO_PATH
            ),
            post("experiments/create", name="d-{u}", artifact_location="../../up").stricter(NO_PATH),
            post(
                "experiments/create", name="q-{u}", artifact_location="mlflow-artifacts:/x?y=../.."
            ).stricter(NO_PATH),
        ),
        scene(
            "tags of an experiment have their limits",
            EXPERIMENT,
            post("experiments/set-experiment-tag", experiment_id="{e}", key="k" * 250, value="v"),
            post("experiments/set-experiment-tag", experiment_id="{e}", key="k" * 251, value="v"),
            post("experiments/set-experiment-tag", experiment_id="{e}", key="long", value="v" * 5000),
            post("experiments/set-experiment-tag", experiment_id="{e}", key="longer", value="v" * 20001),
            post("experiments/set-experiment-tag", experiment_id="{e}", key="", value="v"),
            post("experiments/set-experiment-tag", experiment_id="{e}", value="v"),
            post("experiments/set-experiment-tag", experiment_id="{e}", key="no value"),
            post("experiments/set-experiment-tag", experiment_id="{e}", key="../up", value="v"),
            get("experiments/get", experiment_id="{e}"),
        ),
    ),
)
