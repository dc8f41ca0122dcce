"""Registered models: named, described, tagged, renamed, searched and deleted."""

from typing import Any

from tests.fronts.mlflow.steps import MUST, NO_SQL, Area, Step, delete, get, given, patch, post, scene

CREATE = post("registered-models/create", name="m-{u}")
READ = get("registered-models/get", name="m-{u}")
THREE = given(
    post("registered-models/create", name="{u}-apple", tags=[{"key": "team", "value": "risk"}]),
    post("registered-models/create", name="{u}-Banana", tags=[{"key": "team", "value": "growth"}]),
    post("registered-models/create", name="{u}-cherry", description="red"),
)
DETAILS = ("creation_timestamp", "description", "last_updated_timestamp", "tags", "workspace")


def search(filter: str | None = None, *, own: bool = True, **more: Any) -> Step:
    clauses = [*([filter] if filter else []), *(["name LIKE '{u}%'"] if own else [])]
    given = {"filter": " AND ".join(clauses)} if clauses else {}
    return get("registered-models/search", {**given, **more}).but(*DETAILS)


AREA = Area(
    "registered_models",
    MUST,
    (
        scene(
            "a model is registered and read",
            CREATE,
            READ,
            get("/ajax-api/2.0/mlflow/registered-models/get", name="m-{u}"),
            get("registered-models/search", filter="name = 'm-{u}'"),
        ),
        scene(
            "a model is registered with tags and a description",
            post(
                "registered-models/create",
                name="m-{u}",
                description="what it *is*",
                tags=[{"key": "team", "value": "risk"}, {"key": "empty", "value": ""}],
            ),
            READ,
        ),
        scene(
            "a name is given once",
            CREATE,
            CREATE.saying("already exists"),
            post("registered-models/create", name="other-{u}"),
            post("registered-models/rename", name="other-{u}", new_name="m-{u}").stricter(
                NO_SQL, code="RESOURCE_ALREADY_EXISTS"
            ),
        ),
        scene(
            "a name is no path",
            post("registered-models/create", name="a/b-{u}"),
            post("registered-models/create", name="a:b-{u}"),
            post("registered-models/create", name=""),
            post("registered-models/create"),
            post("registered-models/create", name=17),
            post("registered-models/create", name="n" * 257 + "{u}").stricter(
                "a name is also that of a stream of the ledger, which has 255 bytes"
            ),
            post("registered-models/create", name="a b.c_d'%e ü {u}"),
            get("registered-models/get", name="a b.c_d'%e ü {u}"),
            post("registered-models/create", name="dots.. {u}"),
        ),
        scene(
            "a description is changed",
            CREATE,
            patch("registered-models/update", name="m-{u}", description="first"),
            READ,
            patch("registered-models/update", name="m-{u}", description=""),
            READ,
            patch("registered-models/update", name="m-{u}"),
            patch("registered-models/update", description="of none"),
            patch("registered-models/update", name="none-{u}", description="of none"),
        ),
        scene(
            "a model is renamed",
            CREATE,
            post("registered-models/rename", name="m-{u}", new_name="n-{u}"),
            get("registered-models/get", name="n-{u}"),
            READ,
            post("registered-models/rename", name="n-{u}"),
            post("registered-models/rename", name="n-{u}", new_name=""),
            post("registered-models/rename", name="n-{u}", new_name="a/b"),
            post("registered-models/rename", name="none-{u}", new_name="x-{u}"),
        ),
        scene(
            "a tag of a model is set, replaced and deleted",
            CREATE,
            post("registered-models/set-tag", name="m-{u}", key="team", value="risk"),
            post("registered-models/set-tag", name="m-{u}", key="team", value="growth"),
            post("registered-models/set-tag", name="m-{u}", key="empty", value=""),
            READ,
            delete("registered-models/delete-tag", name="m-{u}", key="team"),
            delete("registered-models/delete-tag", name="m-{u}", key="team"),
            READ,
        ),
        scene(
            "tags of a model have their limits",
            CREATE,
            post("registered-models/set-tag", name="m-{u}", key="k" * 250, value="v"),
            post("registered-models/set-tag", name="m-{u}", key="k" * 251, value="v"),
            post("registered-models/set-tag", name="m-{u}", key="long", value="v" * 100_000),
            post("registered-models/set-tag", name="m-{u}", key="long", value="v" * 100_001),
            post("registered-models/set-tag", name="m-{u}", key="", value="v"),
            post("registered-models/set-tag", name="m-{u}", value="v"),
            post("registered-models/set-tag", name="m-{u}", key="none"),
            post("registered-models/set-tag", name="m-{u}", key="number", value=3),
            post("registered-models/set-tag", name="m-{u}", key="../up", value="v"),
            post("registered-models/set-tag", name="none-{u}", key="k", value="v"),
            delete("registered-models/delete-tag", name="none-{u}", key="k"),
        ),
        scene(
            "a deleted model is gone, and its name is free",
            CREATE,
            delete("registered-models/delete", name="m-{u}"),
            READ,
            delete("registered-models/delete", name="m-{u}"),
            delete("registered-models/delete"),
            CREATE,
            READ,
        ),
        scene(
            "a model that does not exist is not found",
            get("registered-models/get", name="none-{u}").saying("not found"),
            get("registered-models/get"),
            get("registered-models/get", name=""),
            get("registered-models/get", name="a/b"),
            post("registered-models/get-latest-versions", name="none-{u}"),
        ),
        scene(
            "models are compared by name",
            THREE,
            search("name = '{u}-apple'", own=False),
            search("name = '{u}-banana'", own=False),
            search("name LIKE '{u}-b%'", own=False),
            search("name ILIKE '{u}-b%'", own=False),
            search("name != '{u}-apple'"),
            search(),
            search("name IN ('{u}-apple')", own=False),
            search("name > '{u}'", own=False),
            search("attribute.name = '{u}-apple'", own=False),
            search("description = 'red'"),
        ),
        scene(
            "models are compared by tags",
            THREE,
            search("tags.team = 'risk'"),
            search("tags.team != 'risk'"),
            search("tag.team LIKE 'gr%'"),
            search("tags.team ILIKE 'GR%'"),
            search("tags.`team` = 'risk'"),
            search("tags.team = 'risk' AND tags.team = 'growth'"),
            search("tags.none = 'x'"),
            search("tags.team IS NULL"),
        ),
        scene(
            "a filter of models that says nothing sensible is refused",
            THREE,
            search("name", own=False),
            search("name = apple", own=False),
            search("name = '{u}' OR name = 'b'", own=False),
            search("colour = 'red'", own=False),
            search("metrics.loss > 1", own=False),
            search("name = '{u}'; DROP TABLE registered_models", own=False),
            search("run_id = 'x'", own=False),
        ),
        scene(
            "models are in the order asked for",
            THREE,
            search(order_by=["name"]),
            search(order_by=["name DESC"]),
            search(order_by=["timestamp"]),
            search(order_by=["last_updated_timestamp DESC", "name"]).but("registered_models"),
            search(order_by=["creation_timestamp ASC"]),
            search(order_by=["name", "name DESC"]),
            search(order_by=["colour"]),
            search(order_by=["name UP"]),
        ),
        scene(
            "models come page by page",
            THREE,
            search(max_results=2).keep(token="next_page_token"),
            search(max_results=2, page_token="{token}"),
            search(max_results=3),
            search(max_results=0).stricter("a page has at least one"),
            search(max_results=-1).stricter("a page has at least one"),
            search(max_results=1000),
            search(max_results=1001),
            search(max_results="many"),
            search(page_token="garbage"),
        ),
    ),
)
