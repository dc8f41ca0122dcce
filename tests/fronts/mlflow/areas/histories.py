"""Histories of metrics: their order, their pages, and the samples that a chart asks for."""

from typing import Any

from tests.fronts.mlflow.steps import EXPERIMENT, MUST, RUN, SPOILT, Area, Step, get, given, post, scene


def points(key: str, *given: tuple[int, int, Any], run: str = "{run}") -> Step:
    metrics = [{"key": key, "timestamp": at, "step": step, "value": value} for at, step, value in given]
    return post("runs/log-batch", run_id=run, metrics=metrics)


def history(key: str = "loss", **more: Any) -> Step:
    return get("metrics/get-history", run_id="{run}", metric_key=key, **more)


def samples(key: str = "loss", runs: Any = "{run}", **more: Any) -> Step:
    return get("metrics/get-history-bulk-interval", run_ids=runs, metric_key=key, **more)


TEN = given(EXPERIMENT, RUN, points("loss", *((1000 + i, i, i / 4) for i in range(10))))

AREA = Area(
    "histories",
    MUST,
    (
        scene(
            "a history is in the order of time, step and value",
            EXPERIMENT,
            RUN,
            points(
                "loss", (30, 1, 3.0), (10, 3, 1.0), (20, 2, 2.0), (10, 3, 0.5), (10, 2, 9.0), (10, 3, "NaN")
            ),
            history(),
        ),
        scene(
            "points that came in any order and request are one history",
            EXPERIMENT,
            RUN,
            points("loss", (3, 3, 3.0)),
            points("loss", (1, 1, 1.0), (2, 2, 2.0)),
            points("loss", (3, 3, 3.0), (4, 4, 4.0)),
            history(),
        ),
        scene(
            "a key without points has an empty history",
            EXPERIMENT,
            RUN,
            history("none"),
            get("metrics/get-history", run_id="{run}"),
            get("metrics/get-history", metric_key="loss"),
            get("metrics/get-history", run_id="{run}", metric_key=""),
        ),
        scene(
            "a history comes page by page if asked",
            TEN,
            history(max_results=4).keep(token="next_page_token"),
            history(max_results=4, page_token="{token}").keep(token="next_page_token"),
            history(max_results=4, page_token="{token}"),
            history(max_results=10),
            history(max_results=100),
        ),
        scene(
            "a page of a history has at least one point",
            TEN,
            history(max_results=0),
            history(max_results=-1),
            history(max_results=1),
            history(max_results="many").stricter(SPOILT),
            history(max_results=10_000_000),
            history(page_token="garbage"),
            history(max_results=2, page_token="garbage"),
        ),
        scene(
            "a chart asks for samples of a run",
            TEN,
            samples(),
            samples(max_results=3),
            samples(max_results=5),
            samples(max_results=10),
            samples(max_results=1),
            samples(start_step=2, end_step=5),
            samples(start_step=2, end_step=8, max_results=3),
            samples(start_step=20, end_step=30),
            samples("none"),
            get(
                "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval",
                run_ids="{run}",
                metric_key="loss",
                max_results=3,
            ),
        ),
        scene(
            "a chart asks for samples of several runs",
            TEN,
            post("runs/create", experiment_id="{e}", start_time=2000, run_name="second").keep(
                second="run.info.run_id"
            ),
            points("loss", (1, 0, 1.0), (2, 5, 2.0), (3, 20, 3.0), run="{second}"),
            samples(runs=["{run}", "{second}"]),
            samples(runs=["{run}", "{second}"], max_results=3),
            samples(runs=["{run}", "{second}"], start_step=4, end_step=6),
        ),
        scene(
            "a request for samples says what it wants",
            TEN,
            samples(start_step=2),
            samples(end_step=2),
            samples(start_step=5, end_step=2),
            samples(max_results=0),
            samples(max_results=-1),
            samples(max_results=2500),
            samples(max_results=2501),
            samples(max_results=50_000),
            samples(start_step="a", end_step="b"),
            get("metrics/get-history-bulk-interval", run_ids="{run}"),
            get("metrics/get-history-bulk-interval", metric_key="loss"),
            samples(runs=["0" * 32]),
            samples(runs=[f"{i:032x}" for i in range(101)]),
        ),
        scene(
            "the page asks for whole histories of several runs",
            TEN,
            get("/ajax-api/2.0/mlflow/metrics/get-history-bulk", run_id="{run}", metric_key="loss"),
            get(
                "/ajax-api/2.0/mlflow/metrics/get-history-bulk",
                run_id="{run}",
                metric_key="loss",
                max_results=3,
            ),
            get(
                "/ajax-api/2.0/mlflow/metrics/get-history-bulk", run_id=["{run}", "0" * 32], metric_key="loss"
            ),
            get("/ajax-api/2.0/mlflow/metrics/get-history-bulk", run_id="{run}"),
            get("/ajax-api/2.0/mlflow/metrics/get-history-bulk", metric_key="loss"),
        ),
        scene(
            "several points of one step are all kept",
            EXPERIMENT,
            RUN,
            points("loss", (1, 0, 1.0), (2, 0, 2.0), (3, 0, 3.0), (4, 1, 4.0)),
            history(),
            samples(max_results=2),
        ),
        scene(
            "a history of a deleted run is still read",
            TEN,
            post("runs/delete", run_id="{run}"),
            history(max_results=2),
            samples(max_results=2),
        ),
    ),
)
