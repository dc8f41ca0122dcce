"""Searching runs: every comparison of the filter's grammar, orders, pages, and what is refused."""

from typing import Any

from tests.fronts.mlflow.steps import (
    EXPERIMENT,
    MUST,
    NO_JSON,
    SPOILT,
    Area,
    Step,
    given,
    post,
    raw,
    scene,
)


def run(name: str, start: int, *, status: str = "", **data: Any) -> tuple[Step, ...]:
    created = post("runs/create", experiment_id="{e}", start_time=start, run_name=name).keep(
        **{name: "run.info.run_id"}
    )
    kinds = {"metrics": [], "params": [], "tags": []}
    for key, value in data.items():
        kind, named = key.split("_", 1)
        kinds[{"m": "metrics", "p": "params", "t": "tags"}[kind]].append({"key": named, "value": value})
    metrics = [{**given, "timestamp": 1, "step": 0} for given in kinds["metrics"]]
    logged = post("runs/log-batch", {**kinds, "metrics": metrics}, run_id=f"{{{name}}}")
    ended = post("runs/update", run_id=f"{{{name}}}", status=status, end_time=start + 500)
    return given(created, logged, ended) if status else given(created, logged)


# That a run is found with all that it has is the first scene; the others ask which are found, in which order.
DETAILS = (
    "artifact_uri",
    "data",
    "experiment_id",
    "inputs",
    "lifecycle_stage",
    "outputs",
    "run_uuid",
    "user_id",
)

FOUR = (
    *given(EXPERIMENT),
    *run("red", 1000, m_loss=0.5, m_auc=0.9, p_depth="3", t_team="risk", status="FINISHED"),
    *run("green", 2000, m_loss=0.25, p_depth="5", t_team="Risk", t_note="100% sure", status="FAILED"),
    *run("blue", 3000, m_loss="NaN", m_auc=0.7, p_depth="30", t_team="growth"),
    *run("black", 4000, p_kind="a_b", t_note="it's"),
)


def search(filter: str | None = None, *order_by: str, **more: Any) -> Step:
    given = {"experiment_ids": ["{e}"], **more}
    if filter is not None:
        given["filter"] = filter
    if order_by:
        given["order_by"] = list(order_by)
    return post("runs/search", given).but(*DETAILS)


AREA = Area(
    "search_runs",
    MUST,
    (
        scene(
            "a run is found with all that it has",
            EXPERIMENT,
            run("red", 1000, m_loss=0.5, p_depth="3", t_team="risk", status="FINISHED"),
            post("runs/search", experiment_ids=["{e}"]),
            post("/ajax-api/2.0/mlflow/runs/search", experiment_ids=["{e}"], filter=""),
        ),
        scene(
            "no run is found in no experiment",
            EXPERIMENT,
            post("runs/search", experiment_ids=["{e}"]),
            post("runs/search", experiment_ids=["99999999"]),
            post("runs/search", experiment_ids=[]),
            post("runs/search", {}),
        ),
        scene(
            "metrics are compared as numbers",
            FOUR,
            *(
                search(f"metrics.loss {operator} 0.5")
                for operator in (">", ">=", "<", "<=", "=", "==", "!=", "<>")
            ),
            search("metrics.loss > -1e3"),
            search("metrics.auc > 0.5 and metrics.loss < 1"),
            search("metrics.auc > 0.5 AND metrics.auc < 0.8"),
            search("metrics.none > 0"),
            search("metrics.none != 0"),
        ),
        scene(
            "params are compared as texts",
            FOUR,
            search("params.depth = '3'"),
            search("params.depth != '3'"),
            search("params.depth LIKE '3%'"),
            search("params.depth like '%0'"),
            search("params.depth ILIKE '3_'"),
            search("params.kind LIKE 'a_b'"),
            search("params.depth > '3'"),
            search("params.depth = 3"),
            search("params.none = 'x'"),
            search("params.depth IS NULL"),
            search("params.depth IS NOT NULL"),
            search("params.depth IN ('3', '5')"),
        ),
        scene(
            "tags are compared as texts, LIKE by case and ILIKE without",
            FOUR,
            search("tags.team = 'risk'"),
            search("tags.team != 'risk'"),
            search("tags.team LIKE 'risk'"),
            search("tags.team LIKE 'R%'"),
            search("tags.team ILIKE 'RISK'"),
            search("tags.team ILIKE '%O%'"),
            search("tags.note LIKE '100% sure'"),
            search("tags.note LIKE '%\\%%'"),
            search('tags.note = "it\'s"'),
            search("tags.note IS NULL"),
            search("tags.note IS NOT NULL"),
            search("tags.team IN ('risk', 'growth')"),
            search("tags.`team` = 'risk'"),
            search("tags.\"team\" = 'risk'"),
            search("tags.mlflow.runName = 'red'"),
        ),
        scene(
            "attributes are compared by their kind",
            FOUR,
            search("attributes.status = 'FINISHED'"),
            search("status != 'FINISHED'"),
            search("attributes.status IN ('FINISHED')"),
            search("attributes.run_name = 'red'"),
            search("run_name LIKE 'bl%'"),
            search("run_name ILIKE 'BL%'"),
            search("`run name` = 'red'"),
            search("Name = 'red'"),
            search("attributes.`Run name` = 'red'"),
            search("attributes.start_time >= 3000"),
            search("start_time = 2000"),
            search("start_time != 2000"),
            search("created > 3000"),
            search("Created > 3000"),
            search("end_time <= 1500"),
            search("attributes.run_id = '{red}'"),
            search("run_id != '{red}'"),
            search("run_id IN ('{red}', '{blue}')"),
            search("run_id NOT IN ('{red}', '{blue}')"),
            search("run_id IN ('{red}')"),
            search("run_id IN ()"),
            search("run_id LIKE '{red}'"),
            search("attributes.user_id = ''"),
            search("attributes.artifact_uri LIKE '%artifacts'"),
            search("attributes.lifecycle_stage = 'active'"),
            search("start_time > 'soon'"),
            search("start_time LIKE '1%'"),
        ),
        scene(
            "entities have other names",
            FOUR,
            search("metric.loss = 0.5"),
            search("param.depth = '3'"),
            search("parameter.depth = '3'"),
            search("parameters.depth = '3'"),
            search("tag.team = 'risk'"),
            search("attr.status = 'FINISHED'"),
            search("attribute.status = 'FINISHED'"),
            search("run.status = 'FINISHED'"),
            search("Metrics.loss = 0.5"),
            search("METRICS.loss = 0.5"),
        ),
        scene(
            "comparisons are joined by and",
            FOUR,
            search("metrics.loss > 0.3 and params.depth = '3' and tags.team = 'risk'"),
            search("metrics.loss > 0.3 and params.depth = '5'"),
            search("metrics.loss > 0.3 or params.depth = '5'"),
            search("(metrics.loss > 0.3)"),
            search("not metrics.loss > 0.3"),
            search("metrics.loss > 0.3 and"),
            search("and metrics.loss > 0.3"),
            search("metrics.loss > 0.3, params.depth = '3'"),
            search("metrics.loss > 0.3; params.depth = '3'"),
        ),
        scene(
            "keys with odd letters are quoted",
            EXPERIMENT,
            post("runs/create", experiment_id="{e}", start_time=1, run_name="odd").keep(
                odd="run.info.run_id"
            ),
            post(
                "runs/log-batch",
                run_id="{odd}",
                metrics=[{"key": "val/loss at 5", "value": 1.0, "timestamp": 1, "step": 0}],
                params=[{"key": "a.b-c", "value": "x"}],
            ),
            search("metrics.`val/loss at 5` = 1"),
            search('metrics."val/loss at 5" = 1'),
            search("params.`a.b-c` = 'x'"),
            search("params.a.b-c = 'x'"),
            search("metrics.val/loss at 5 = 1"),
        ),
        scene(
            "a filter that says nothing sensible is refused",
            FOUR,
            *(
                search(text)
                for text in (
                    "loss",
                    "metrics.loss",
                    "metrics.loss >",
                    "metrics.loss > 'high'",
                    "metrics.loss > high",
                    "metrics.loss LIKE '1'",
                    "metrics.loss IS NULL",
                    "metrics.loss IN (1)",
                    "metrics > 1",
                    "things.loss > 1",
                    "colour = 'red'",
                    'params.depth = "3',
                    "params.depth = '3",
                    "params.depth = three",
                    "1 = 1",
                    "metrics.loss > 1 > 2",
                    "metrics.loss => 1",
                    "metrics.loss ~ 1",
                    "'3' = params.depth",
                    "params.depth = '3'; DROP TABLE runs",
                    "params.depth = '3' -- more",
                    "attributes.status = FINISHED",
                    "tags.team BETWEEN 'a' AND 'z'",
                    "status IS NULL",
                )
            ),
            search("metrics. > 1").stricter("a comparison names a key"),
            search("params.depth = 'O''Brien'"),
            search("params.depth = ''"),
            search("   "),
        ),
        scene(
            "without an order the latest start comes first",
            FOUR,
            search(),
            search(""),
        ),
        scene(
            "the order is that asked for, and what is missing comes last",
            FOUR,
            search(None, "metrics.loss"),
            search(None, "metrics.loss ASC"),
            search(None, "metrics.loss DESC"),
            search(None, "metrics.auc desc"),
            search(None, "params.depth"),
            search(None, "params.depth DESC"),
            search(None, "tags.team"),
            search(None, "tag.team DESC"),
            search(None, "attributes.start_time"),
            search(None, "start_time ASC"),
            search(None, "status"),
            search(None, "status DESC", "start_time ASC"),
            search(None, "end_time DESC"),
            search(None, "run_name"),
            search(None, "attributes.run_name DESC"),
            search(None, "metrics.`loss`"),
            search(None, "metrics.none", "start_time ASC"),
            search("metrics.auc > 0", "metrics.auc"),
        ),
        scene(
            "an order that says nothing sensible is refused",
            FOUR,
            search(None, "loss"),
            search(None, "metrics.loss UP"),
            search(None, "metrics.loss", "metrics.loss DESC"),
            search(None, "start_time", "start_time"),
            search(None, "things.loss"),
            search(None, ""),
            search(None, "metrics.loss ASC DESC"),
            search(None, "metrics.loss; DROP TABLE runs"),
            search(order_by="metrics.loss"),
            search(None, "Created DESC"),
            search(None, "`Start Time` DESC"),
        ),
        scene(
            "runs come page by page",
            FOUR,
            search(max_results=3).keep(token="next_page_token"),
            search(max_results=3, page_token="{token}"),
            search(None, "start_time ASC", max_results=2).keep(token="next_page_token"),
            search(None, "start_time ASC", max_results=2, page_token="{token}"),
            search(max_results=4),
            search(max_results=1, page_token=""),
        ),
        scene(
            "a page has at least one run and at most 50000",
            FOUR,
            search(max_results=0),
            search(max_results=-1),
            search(max_results=50000),
            search(max_results=50001),
            search(max_results="2").keep(token="next_page_token"),
            search(max_results="many"),
            search(max_results=1.5).stricter(SPOILT),
        ),
        scene(
            "a page token is one that the server gave",
            FOUR,
            search(page_token="garbage"),
            search(page_token="eyJvZmZzZXQiOiAieCJ9"),
            search(page_token="e30="),
            search(page_token=17).stricter(SPOILT),
        ),
        scene(
            "deleted runs are found when asked for",
            FOUR,
            post("runs/delete", run_id="{red}"),
            search(),
            search(run_view_type="ACTIVE_ONLY"),
            search(run_view_type="DELETED_ONLY"),
            search(run_view_type="ALL"),
            search(run_view_type="SOME").stricter(SPOILT),
            search(run_view_type=2),
            search("lifecycle_stage = 'deleted'"),
        ),
        scene(
            "several experiments are searched at once",
            EXPERIMENT,
            run("one", 1000),
            post("experiments/create", name="f-{u}").keep(f="experiment_id"),
            post("runs/create", experiment_id="{f}", start_time=2000, run_name="two").keep(
                two="run.info.run_id"
            ),
            post("runs/search", experiment_ids=["{e}", "{f}"]),
            post("runs/search", experiment_ids=["{f}", "{f}"]),
            post("runs/search", experiment_ids="none"),
            post("runs/search", experiment_ids=[88888888]),
        ),
        scene(
            "runs of one start are in the order of their ids",
            EXPERIMENT,
            *(
                post("runs/create", experiment_id="{e}", start_time=1, run_name="twin").keep(
                    **{f"r{i}": "run.info.run_id"}
                )
                for i in range(3)
            ),
            search().but("run_id", *DETAILS),
            search(None, "metrics.none").but("run_id", *DETAILS),
        ),
        scene(
            "the latest value of a metric is the one compared",
            EXPERIMENT,
            run("red", 1000, m_loss=0.5),
            post("runs/log-metric", run_id="{red}", key="loss", value=0.1, timestamp=2, step=1),
            search("metrics.loss = 0.5"),
            search("metrics.loss < 0.2"),
        ),
        scene(
            "infinity is larger than any number",
            EXPERIMENT,
            run("plus", 1000, m_v="Infinity"),
            run("minus", 2000, m_v="-Infinity"),
            run("nan", 3000, m_v="NaN"),
            run("none", 4000),
            run("one", 5000, m_v=1),
            search("metrics.v > 1e308"),
            search("metrics.v < 0"),
            search(None, "metrics.v"),
            search(None, "metrics.v DESC"),
        ),
        scene(
            "a body that is no JSON is no search",
            raw("POST", "runs/search", "experiment_ids: [0]").stricter(NO_JSON, code=None),
            raw("POST", "runs/search", "").stricter(NO_JSON, code=None),
            raw("POST", "runs/search", "[]").stricter(NO_JSON, code=None),
        ),
    ),
)
