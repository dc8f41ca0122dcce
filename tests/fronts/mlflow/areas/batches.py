"""Batches of metrics, params and tags: their limits, and that a batch is all or nothing with us."""

from typing import Any

from tests.fronts.mlflow.steps import (
    ATOMIC,
    MUST,
    SPOILT,
    STARTED,
    Area,
    Step,
    get,
    post,
    raw,
    scene,
)

READ = get("runs/get", run_id="{run}")


def batch(**parts: Any) -> Step:
    return post("runs/log-batch", run_id="{run}", **parts)


def metric(key: str, value: Any, timestamp: Any = 1, step: Any = 0, **more: Any) -> dict[str, Any]:
    return {"key": key, "value": value, "timestamp": timestamp, "step": step, **more}


def pair(key: str, value: Any) -> dict[str, Any]:
    return {"key": key, "value": value}


def pairs(n: int) -> list[dict[str, Any]]:
    return [pair(f"k{i}", "v") for i in range(n)]


NOTHING_STAYED = {
    "run": {
        "data": {"tags": [pair("mlflow.runName", "first")]},
        "info": {
            "artifact_uri": "mlflow-artifacts:/<e>/<run>/artifacts",
            "experiment_id": "<e>",
            "lifecycle_stage": "active",
            "run_id": "<run>",
            "run_name": "first",
            "run_uuid": "<run>",
            "start_time": 1000,
            "status": "RUNNING",
            "user_id": "",
        },
        "inputs": {},
        "outputs": {},
    }
}

AREA = Area(
    "batches",
    MUST,
    (
        scene(
            "a batch brings metrics, params and tags",
            STARTED,
            batch(
                metrics=[metric("loss", 0.5, 1, 0), metric("loss", 0.25, 2, 1), metric("auc", 0.75)],
                params=[pair("depth", "3"), pair("rate", "0.1")],
                tags=[pair("team", "risk")],
            ),
            READ,
            get("metrics/get-history", run_id="{run}", metric_key="loss"),
        ),
        scene(
            "an empty batch changes nothing",
            STARTED,
            batch(),
            batch(metrics=[], params=[], tags=[]),
            READ,
        ),
        scene(
            "a batch sent twice is there once",
            STARTED,
            batch(metrics=[metric("loss", 0.5)], params=[pair("depth", "3")], tags=[pair("t", "a")]),
            batch(metrics=[metric("loss", 0.5)], params=[pair("depth", "3")], tags=[pair("t", "b")]),
            READ,
            get("metrics/get-history", run_id="{run}", metric_key="loss"),
        ),
        scene(
            "a param of two values in one batch is refused",
            STARTED,
            batch(params=[pair("k", "1"), pair("k", "2")]).saying("Duplicate parameter keys"),
            batch(params=[pair("same", "1"), pair("same", "1")]),
            READ,
        ),
        scene(
            "a tag of two values in one batch has the last",
            STARTED,
            batch(tags=[pair("k", "1"), pair("k", "2")]),
            READ,
        ),
        scene(
            "a batch that changes a param leaves nothing",
            STARTED,
            batch(params=[pair("k", "1")]),
            batch(
                metrics=[metric("loss", 1.0)],
                params=[pair("k", "2"), pair("other", "1")],
                tags=[pair("t", "v")],
            ).saying("Changing param values is not allowed"),
            READ.but("metrics").instead(
                ATOMIC,
                {
                    "run": {
                        **NOTHING_STAYED["run"],
                        "data": {**NOTHING_STAYED["run"]["data"], "params": [pair("k", "1")]},
                    }
                },
            ),
            get("metrics/get-history", run_id="{run}", metric_key="loss").instead(ATOMIC, {}),
        ),
        scene(
            "a batch with a tag that is refused leaves nothing",
            STARTED,
            batch(metrics=[metric("loss", 1.0)], params=[pair("k", "1")], tags=[pair("../up", "v")]),
            READ.instead(ATOMIC, NOTHING_STAYED),
        ),
        scene(
            "a batch with a metric that is refused leaves nothing",
            STARTED,
            batch(metrics=[metric("good", 1.0), metric("../up", 1.0)], params=[pair("k", "1")]),
            batch(metrics=[metric("good", 1.0), metric("bad", "high")], params=[pair("k", "1")]).stricter(
                SPOILT
            ),
            READ.instead(ATOMIC, NOTHING_STAYED),
        ),
        scene(
            "one metric that cannot be read does not spoil the others in silence",
            STARTED,
            raw(
                "POST",
                "runs/log-batch",
                '{"run_id": "{run}", "metrics": [{"key": "a", "value": 1.0, "timestamp": 1, "step": 0},'
                ' {"key": "b", "value": 1e400, "timestamp": 1, "step": 0},'
                ' {"key": "c", "value": 3.0, "timestamp": 1, "step": 0}]}',
            ).stricter(SPOILT),
            READ.instead(SPOILT, NOTHING_STAYED),
            batch(metrics=[metric("a", 1.0, 1.5), metric("b", 2.0)]).stricter(SPOILT),
            READ.instead(SPOILT, NOTHING_STAYED),
        ),
        scene(
            "numbers of a batch may come as texts",
            STARTED,
            batch(
                metrics=[
                    metric("a", "0.5", "7", "2"),
                    metric("b", "NaN"),
                    metric("c", "Infinity"),
                    metric("d", 3),
                ]
            ),
            READ,
        ),
        scene(
            "each part of a metric is asked for",
            STARTED,
            batch(metrics=[{"value": 1.0, "timestamp": 1, "step": 0}]),
            batch(metrics=[{"key": "k", "timestamp": 1, "step": 0}]),
            batch(metrics=[{"key": "k", "value": 1.0, "step": 0}]),
            batch(metrics=[{"key": "no step", "value": 1.0, "timestamp": 1}]),
            batch(metrics=[metric("k", None)]),
            batch(metrics=[17]),
            batch(metrics=metric("k", 1.0)),
            batch(metrics="loss"),
            READ,
        ),
        scene(
            "each part of a param and of a tag is asked for",
            STARTED,
            batch(params=[{"value": "v"}]),
            batch(params=[{"key": "no value"}]),
            batch(params=[pair("", "v")]),
            batch(tags=[{"value": "v"}]),
            batch(tags=[{"key": "no value"}]),
            batch(tags=[pair("", "v")]),
            batch(tags={"team": "risk"}),
            READ,
        ),
        scene(
            "a param and a tag of a batch are texts",
            STARTED,
            batch(params=[pair("number", 3)]).stricter(SPOILT),
            batch(params=[pair(3, "three")]).stricter(SPOILT),
            batch(tags=[pair("number", 3), pair("team", "risk")]).stricter(SPOILT),
            batch(tags=[pair("true", True)]).stricter(SPOILT),
            READ.instead(SPOILT, NOTHING_STAYED),
        ),
        scene(
            "a batch has at most 1000 metrics",
            STARTED,
            batch(metrics=[metric("loss", 1.0, 1, i) for i in range(1000)]),
            READ,
            batch(metrics=[metric("loss", 1.0, 1, i) for i in range(1001)]),
        ),
        scene(
            "a batch has at most 100 params and 100 tags",
            STARTED,
            batch(params=pairs(100)),
            batch(params=pairs(101)),
            batch(tags=pairs(100)),
            batch(tags=pairs(101)),
        ),
        scene(
            "a batch has at most 1000 parts together",
            STARTED,
            batch(metrics=[metric("loss", 1.0, 1, i) for i in range(900)], params=pairs(50), tags=pairs(50)),
            batch(metrics=[metric("loss", 1.0, 2, i) for i in range(901)], params=pairs(50), tags=pairs(50)),
        ),
        scene(
            "long values of a batch are cut",
            STARTED,
            batch(params=[pair("long", "v" * 6001)], tags=[pair("long", "v" * 8001)]),
            READ,
            batch(params=[pair("k" * 251, "v")]),
            batch(tags=[pair("k" * 251, "v")]),
            batch(metrics=[metric("k" * 251, 1.0)]),
        ),
        scene(
            "a batch of a run that does not exist is refused",
            post("runs/log-batch", run_id="0" * 32, metrics=[metric("k", 1.0)]),
            post("runs/log-batch", metrics=[metric("k", 1.0)]),
            post("runs/log-batch", run_id="0" * 32),
            post("runs/log-batch", run_id=17),
        ),
        scene(
            "a batch names its run by run_id alone",
            STARTED,
            post("runs/log-batch", run_uuid="{run}", tags=[pair("t", "v")]),
        ),
        scene(
            "a batch renames a run by its tag",
            STARTED,
            batch(tags=[pair("mlflow.runName", "renamed")]),
            READ,
        ),
        scene(
            "in one batch the latest point is found too",
            STARTED,
            batch(
                metrics=[
                    metric("m", 3.0, 3, 3),
                    metric("m", 1.0, 9, 1),
                    metric("m", 2.0, 2, 3),
                    metric("m", "NaN", 3, 3),
                ]
            ),
            READ,
            get("metrics/get-history", run_id="{run}", metric_key="m"),
        ),
        scene(
            "metrics of a batch say which dataset they are of",
            STARTED,
            batch(
                metrics=[
                    metric("loss", 0.5, 1, 0, dataset_name="train", dataset_digest="d1"),
                    metric("loss", 0.25, 2, 1),
                ]
            ),
            READ,
            get("metrics/get-history", run_id="{run}", metric_key="loss"),
        ),
    ),
)
