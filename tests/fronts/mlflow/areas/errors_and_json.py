"""The server itself, bodies that are none, types that are wrong, and addresses that lead nowhere."""

from tests.fronts.mlflow.steps import EXPERIMENT, MUST, NO_JSON, STARTED, Area, Step, get, post, raw, scene

SHALLOW = "values of a body are nested 32 deep at most"
# What a server may say of itself beside what clients ask for.
OPTIONAL = (
    "features_enabled",
    "model_artifact_presigned_downloads_supported",
    "presigned_upload_model_id_supported",
    "presigned_upload_run_id_supported",
    "skill_content_max_files",
    "skill_content_max_size",
    "trace_archival_enabled",
    "tracking_auth",
)
NAMED = '{"name": "{u}"}'

AREA = Area(
    "errors_and_json",
    MUST,
    (
        scene(
            "a server says that it is there",
            get("/version"),
            get("/api/3.0/mlflow/server-info").but(*OPTIONAL),
            get("/ajax-api/3.0/mlflow/server-info").but(*OPTIONAL),
        ),
        scene(
            "an address that leads nowhere is not found",
            get("/api/2.0/mlflow/nothing"),
            get("/api/2.0/nothing"),
            get("/api/2.0/mlflow/experiments"),
            post("/api/2.0/mlflow/experiments/get/", experiment_id="0"),
        ),
        scene(
            "an address takes the methods that it is for",
            get("runs/create"),
            post("runs/get", run_id="x"),
            Step("PUT", "experiments/create", json={"name": "{u}"}),
            Step("DELETE", "runs/delete", json={"run_id": "x"}),
            Step("PATCH", "runs/update", json={"run_id": "x"}),
            post("registered-models/update", name="x"),
            post("model-versions/delete", name="x", version="1"),
        ),
        scene(
            "a body is JSON and says so",
            raw("POST", "experiments/create", NAMED, "text/plain"),
            raw("POST", "experiments/create", NAMED, "application/x-www-form-urlencoded"),
            raw("POST", "experiments/create", NAMED, None),
            raw("POST", "experiments/create", NAMED, "application/json; charset=utf-8"),
            raw("POST", "experiments/create", '{"name": "{u}-2"}', "application/json;charset=UTF-8"),
        ),
        scene(
            "a body that is no JSON is refused",
            raw("POST", "experiments/create", "name: x"),
            raw("POST", "experiments/create", '{"name": '),
            raw("POST", "experiments/create", ""),
            raw("POST", "experiments/create", "[]"),
            raw("POST", "experiments/create", '"name"'),
            raw("POST", "experiments/create", "null"),
            raw("POST", "experiments/create", "17"),
            raw("POST", "experiments/create", b"\xff\xfe{}"),
            raw("POST", "experiments/create", "{'name': 'x'}"),
            raw("POST", "experiments/create", '{"name": "x",}'),
            raw("POST", "runs/log-batch", "no JSON"),
            raw("POST", "logged-models/search", "no JSON").stricter(NO_JSON, code=None),
        ),
        scene(
            "what the server does not know is left alone",
            EXPERIMENT,
            post("experiments/create", name="{u}", colour="red", nested={"a": [1]}),
            get("experiments/get", experiment_id="{e}", colour="red"),
            post("runs/create", experiment_id="{e}", start_time=1, run_name="r", lifetime=9),
        ),
        scene(
            "a key given twice has its last value",
            raw("POST", "experiments/create", '{"name": "{u}-a", "name": "{u}-b"}').keep(e="experiment_id"),
            get("experiments/get", experiment_id="{e}"),
        ),
        scene(
            "names of fields may be written in camels",
            EXPERIMENT,
            post("runs/create", experimentId="{e}", startTime=1000, runName="camel"),
            post("experiments/set-experiment-tag", experimentId="{e}", key="k", value="v").instead(
                "a name is taken in camels everywhere"
            ),
        ),
        scene(
            "whole numbers may come as texts and back come as numbers",
            EXPERIMENT,
            post("runs/create", experiment_id="{e}", start_time="1234567890123", run_name="text").keep(
                run="run.info.run_id"
            ),
            post("runs/update", run_id="{run}", status="FINISHED", end_time="1234567890999"),
            get("runs/get", run_id="{run}"),
        ),
        scene(
            "an id of an experiment may come as a number, or not",
            EXPERIMENT,
            post("runs/create", experiment_id=0, start_time=1000, run_name="number"),
            raw("POST", "experiments/set-experiment-tag", '{"experiment_id": {e}, "key": "k", "value": "v"}'),
        ),
        scene(
            "text of any language is kept as it is",
            EXPERIMENT,
            post(
                "experiments/set-experiment-tag",
                experiment_id="{e}",
                key="k",
                value='日本語 🏃 \u0000 \u202e \\ " </script>',
            ),
            post("experiments/set-experiment-tag", experiment_id="{e}", key="j", value="a\r\nb\tc"),
            get("experiments/get", experiment_id="{e}"),
            raw(
                "POST",
                "experiments/set-experiment-tag",
                '{"experiment_id": "{e}", "key": "s", "value": "\\ud800"}',
            ).stricter("half of a character is no text", code=None),
        ),
        scene(
            "a large body is taken",
            STARTED,
            post(
                "runs/log-batch",
                run_id="{run}",
                tags=[{"key": f"k{i}", "value": "v" * 8000} for i in range(100)],
            ),
            post("runs/log-batch", run_id="{run}", metrics=[], filler="x" * 1_200_000),
        ),
        scene(
            "a deep body is left alone",
            raw("POST", "runs/search", '{"x":' + "[" * 500 + "]" * 500 + "}").stricter(SHALLOW),
        ),
        scene(
            "answers say what they are",
            EXPERIMENT,
            get("experiments/get", experiment_id="{e}").showing("content-type"),
            get("experiments/get", experiment_id="99999999").showing("content-type"),
        ),
        scene(
            "a page of another site changes nothing",
            EXPERIMENT,
            post("experiments/set-experiment-tag", experiment_id="{e}", key="k", value="v").sending(
                origin="https://evil.example"
            ),
            get("experiments/get", experiment_id="{e}").sending(host="evil.example"),
            get("/version").sending(host="evil.example"),
        ),
        scene(
            "a client says who it is",
            EXPERIMENT,
            get("experiments/get", experiment_id="{e}").sending(
                user_agent="mlflow-python-client/3.18.0", x_mlflow_client_version="3.18.0"
            ),
        ),
    ),
)
