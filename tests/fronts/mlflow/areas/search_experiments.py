"""Searching experiments; each scene looks at its own, whose names share a beginning."""

from typing import Any

from tests.fronts.mlflow.steps import MUST, NO_JSON, SPOILT, Area, Step, get, given, post, raw, scene

# That an experiment is found with all that it has is asked once.
DETAILS = ("artifact_location", "creation_time", "last_update_time", "lifecycle_stage", "tags", "workspace")

THREE = given(
    post("experiments/create", name="{u}-apple", tags=[{"key": "team", "value": "risk"}]).keep(
        a="experiment_id"
    ),
    post("experiments/create", name="{u}-Banana", tags=[{"key": "team", "value": "growth"}]).keep(
        b="experiment_id"
    ),
    post("experiments/create", name="{u}-cherry").keep(c="experiment_id"),
)


def search(filter: str | None = None, *order_by: str, own: bool = True, **more: Any) -> Step:
    clauses = [*([filter] if filter else []), *(["name LIKE '{u}%'"] if own else [])]
    given = {"max_results": 10, **({"filter": " AND ".join(clauses)} if clauses else {}), **more}
    if order_by:
        given["order_by"] = list(order_by)
    return post("experiments/search", given).but(*DETAILS)


AREA = Area(
    "search_experiments",
    MUST,
    (
        scene(
            "experiments are found, the youngest first",
            THREE,
            search().but("experiments"),
            search("name = '{u}-apple'", own=False),
            search(None, "name"),
            get("experiments/search", {"max_results": 1, "filter": "name = '{u}-cherry'"}),
            post("/ajax-api/2.0/mlflow/experiments/search", max_results=1, filter="name = '{u}-cherry'"),
        ),
        scene(
            "names are compared by case or without",
            THREE,
            search("name = '{u}-banana'"),
            search("name LIKE '{u}-b%'"),
            search("name ILIKE '{u}-b%'"),
            search("name != '{u}-apple'", "name"),
            search("attribute.name = '{u}-apple'"),
            search("attributes.name = '{u}-apple'"),
            search("attr.name = '{u}-apple'"),
            search("name IN ('{u}-apple')"),
            search("name > 'a'"),
            search("name = apple"),
        ),
        scene(
            "tags are compared",
            THREE,
            search("tags.team = 'risk'"),
            search("tag.team != 'risk'"),
            search("tags.team LIKE 'gr%'"),
            search("tags.team ILIKE 'GR%'"),
            search("tags.`team` = 'risk'"),
            search("tags.none = 'x'"),
            search("tags.team IS NULL", "name"),
            search("tags.team IS NOT NULL", "name"),
            search("tags.team = 3"),
        ),
        scene(
            "times and ids are compared",
            THREE,
            search("creation_time > 0", "name"),
            search("creation_time < 1000"),
            search("last_update_time >= 1000", "name"),
            search("experiment_id = '{a}'"),
            search("experiment_id != '{a}'", "name"),
            search("experiment_id IN ('{a}', '{c}')", "name"),
            search("experiment_id NOT IN ('{a}', '{c}')", "name"),
            search("experiment_id = 'x'"),
            search("creation_time = 'then'"),
            search("creation_time LIKE '1%'"),
        ),
        scene(
            "the order is that asked for",
            THREE,
            search(None, "name"),
            search(None, "name DESC"),
            search(None, "name ASC"),
            search(None, "attribute.name DESC"),
            search(None, "creation_time ASC", "name"),
            search(None, "last_update_time DESC", "name DESC"),
            search(None, "experiment_id ASC"),
            search(None, "colour"),
            search(None, "name UP"),
            search(None, "tags.team"),
        ),
        scene(
            "experiments come page by page",
            THREE,
            search(None, "name", max_results=2).keep(token="next_page_token"),
            search(None, "name", max_results=2, page_token="{token}"),
            search(None, "name", max_results=3),
            search(max_results=0),
            search(max_results=-1),
            search(max_results=50001),
            search(max_results="2", order_by=["name"]),
            search(page_token="garbage"),
            search(max_results="many"),
        ),
        scene(
            "a search without a size takes one of its own",
            THREE,
            post("experiments/search", filter="name = '{u}-apple'").instead(
                "max_results may be left out",
                {
                    "experiments": [
                        {
                            "artifact_location": "mlflow-artifacts:/<a>",
                            "creation_time": "<time>",
                            "experiment_id": "<a>",
                            "last_update_time": "<time>",
                            "lifecycle_stage": "active",
                            "name": "<u>-apple",
                            "tags": [{"key": "team", "value": "risk"}],
                            "workspace": "default",
                        }
                    ]
                },
            ),
        ),
        scene(
            "deleted experiments are found when asked for",
            THREE,
            post("experiments/delete", experiment_id="{a}"),
            search(None, "name"),
            search(None, "name", view_type="ACTIVE_ONLY"),
            search(None, "name", view_type="DELETED_ONLY"),
            search(None, "name", view_type="ALL"),
            search(None, "name", view_type="SOME").stricter(SPOILT),
        ),
        scene(
            "a filter that says nothing sensible is refused",
            *(
                search(text, own=False)
                for text in (
                    "name",
                    "name =",
                    "name = '{u}' OR name = 'b'",
                    "(name = '{u}')",
                    "colour = 'red'",
                    "metrics.loss > 1",
                    "name = '{u}'; DROP TABLE experiments",
                    "name = '{u}",
                    "name BETWEEN 'a' AND 'b'",
                )
            ),
            search("name = 'it''s {u}'", own=False),
            raw("POST", "experiments/search", "all of them").stricter(NO_JSON, code=None),
        ),
    ),
)
