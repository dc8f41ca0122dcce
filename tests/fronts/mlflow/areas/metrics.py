"""Single metrics: which is the latest, what repeats, what is not a number, and whom a metric belongs to."""

from tests.fronts.mlflow.steps import MUST, SPOILT, STARTED, Area, Step, get, post, raw, scene


def log(key: str, value: object, timestamp: object = 1, step: object = 0, **more: object) -> Step:
    return post(
        "runs/log-metric", run_id="{run}", key=key, value=value, timestamp=timestamp, step=step, **more
    )


READ = get("runs/get", run_id="{run}")

# MLflow answers that all is well and keeps a value of nought at the time nought.
BARE = "a bare NaN, which no JSON has, is taken for what it says"
BARE_KEPT = {
    "run": {
        "data": {
            "metrics": [
                {"key": "d", "step": 0, "timestamp": 1, "value": "NaN"},
                {"key": "e", "step": 0, "timestamp": 1, "value": -1.7976931348623157e308},
            ],
            "tags": [{"key": "mlflow.runName", "value": "first"}],
        },
        "inputs": {},
        "outputs": {},
    }
}

AREA = Area(
    "metrics",
    MUST,
    (
        scene(
            "a metric is logged and read",
            STARTED,
            log("loss", 0.25),
            READ,
            get("metrics/get-history", run_id="{run}", metric_key="loss"),
            get("metrics/get-history", run_uuid="{run}", metric_key="loss"),
        ),
        scene(
            "numbers may come as texts",
            STARTED,
            log("loss", "0.5", "12", "3"),
            log("whole", 3),
            log("large", 1e300),
            log("small", 5e-324),
            log("exact", 0.1 + 0.2),
            log("minus nought", -0.0),
            READ,
        ),
        scene(
            "the latest point is that of the highest step, not the last to come",
            STARTED,
            log("loss", 0.3, 30, 3),
            log("loss", 0.1, 10, 1),
            log("loss", 0.2, 20, 2),
            READ,
            get("metrics/get-history", run_id="{run}", metric_key="loss"),
        ),
        scene(
            "at one step the latest time counts, and at one time the highest value",
            STARTED,
            log("loss", 0.3, 10, 1),
            log("loss", 0.1, 20, 1),
            log("loss", 0.2, 20, 1),
            log("loss", 0.9, 5, 1),
            READ,
            get("metrics/get-history", run_id="{run}", metric_key="loss"),
        ),
        scene(
            "an exact repeat is one point",
            STARTED,
            log("loss", 0.3, 10, 1),
            log("loss", 0.3, 10, 1),
            get("metrics/get-history", run_id="{run}", metric_key="loss"),
            READ,
        ),
        scene(
            "a step may lie before nought",
            STARTED,
            log("loss", 0.3, 10, -7),
            log("loss", 0.4, -10, -8),
            READ,
            get("metrics/get-history", run_id="{run}", metric_key="loss"),
        ),
        scene(
            "what is not a number is told in words",
            STARTED,
            log("a", "NaN"),
            log("b", "Infinity"),
            log("c", "-Infinity"),
            READ,
            get("metrics/get-history", run_id="{run}", metric_key="a"),
            get("metrics/get-history", run_id="{run}", metric_key="b"),
        ),
        scene(
            "a bare NaN is taken for what it says",
            STARTED,
            raw(
                "POST",
                "runs/log-metric",
                '{"run_id": "{run}", "key": "d", "value": NaN, "timestamp": 1, "step": 0}',
            ),
            raw(
                "POST",
                "runs/log-metric",
                '{"run_id": "{run}", "key": "e", "value": -Infinity, "timestamp": 1, "step": 0}',
            ),
            READ.but("info").instead(BARE, BARE_KEPT),
        ),
        scene(
            "no number at a higher step is the latest",
            STARTED,
            log("loss", 0.5, 1, 1),
            log("loss", "NaN", 2, 2),
            READ,
            log("loss", 0.4, 3, 3),
            READ,
            get("metrics/get-history", run_id="{run}", metric_key="loss"),
        ),
        scene(
            "a metric needs a key, a value and a time",
            STARTED,
            post("runs/log-metric", run_id="{run}", value=1.0, timestamp=1),
            post("runs/log-metric", run_id="{run}", key="", value=1.0, timestamp=1),
            post("runs/log-metric", run_id="{run}", key="k", timestamp=1),
            post("runs/log-metric", run_id="{run}", key="k", value=1.0),
            post("runs/log-metric", key="k", value=1.0, timestamp=1),
            post("runs/log-metric", run_id="{run}", key="no step", value=1.0, timestamp=1),
            READ,
        ),
        scene(
            "a value is a number",
            STARTED,
            log("k", "high"),
            log("k", True),
            log("k", None),
            log("k", [1.0]),
            log("k", 1.0, "soon"),
            log("k", 1.0, 1, "third"),
            READ,
        ),
        scene(
            "a number that no double holds is refused",
            STARTED,
            raw(
                "POST",
                "runs/log-metric",
                '{"run_id": "{run}", "key": "k", "value": 1e400, "timestamp": 1, "step": 0}',
            ).stricter(SPOILT),
            log("k", 1.0, 1, 1.5).stricter(SPOILT),
            log("k", 1.0, 2**63, 0).stricter(SPOILT),
        ),
        scene(
            "a key is a path of plain letters",
            STARTED,
            log("a/b.c-d_e f:g", 1),
            log("../up", 1),
            log("/rooted", 1),
            log("a//b", 1),
            log("a/./b", 1),
            log("ends/", 1),
            log("paren(t)", 1),
            log("läuft", 1),
            log("per%cent", 1),
            log("line\nbreak", 1),
            log(".", 1),
            log("k" * 250, 1),
            log("k" * 251, 1),
            READ,
        ),
        scene(
            "a metric of a run that does not exist is refused",
            post("runs/log-metric", run_id="0" * 32, key="k", value=1, timestamp=1),
            get("metrics/get-history", run_id="0" * 32, metric_key="k"),
        ),
        scene(
            "a run that has ended still takes metrics",
            STARTED,
            post("runs/update", run_id="{run}", status="FINISHED", end_time=2000),
            log("late", 1),
            READ,
        ),
        scene(
            "a metric says which dataset it is of",
            STARTED,
            log("loss", 0.5, 1, 0, dataset_name="train", dataset_digest="d1"),
            READ,
            get("metrics/get-history", run_id="{run}", metric_key="loss"),
        ),
        scene(
            "the page asks under its own address",
            STARTED,
            post(
                "/ajax-api/2.0/mlflow/runs/log-metric", run_id="{run}", key="k", value=2, timestamp=1, step=1
            ),
            get("/ajax-api/2.0/mlflow/metrics/get-history", run_id="{run}", metric_key="k"),
        ),
    ),
)
